// Runs a kernel over [0, n) in fixed stretches, spread over the threads of a Context. Each element
// is computed alone, so how the range is cut shows nowhere in the result.
#ifndef LOCKSTEP_ENGINE_OPS_ELEMENTWISE_H_
#define LOCKSTEP_ENGINE_OPS_ELEMENTWISE_H_

#include <algorithm>
#include <cstdint>

#include "engine/kernels/elementwise/elementwise.h"
#include "engine/parallel/context.h"

namespace lockstep::inline v0_1::ops {

// body(begin, end) for stretches that together cover [0, n) once. `work_per_element` as in
// Context::For.
template <class Body>
void ForStretches(Context& ctx, int64_t n, int64_t work_per_element, Body&& body) {
  constexpr int64_t kStretch =
      8192;  // 32 KB of floats: short enough to balance, long enough to stream
  ctx.For((n + kStretch - 1) / kStretch, n * work_per_element,
          [&](int64_t i) { body(i * kStretch, std::min(n, (i + 1) * kStretch)); });
}

// to = from, or to += from where `accumulate`: how a gradient is passed on. Arrays of n floats.
inline void CopyOrAdd(Context& ctx, const float* from, int64_t n, bool accumulate, float* to) {
  ForStretches(ctx, n, 1, [&](int64_t begin, int64_t end) {
    if (accumulate) {
      kernels::AddTo(from + begin, to + begin, end - begin);
    } else {
      std::copy(from + begin, from + end, to + begin);
    }
  });
}

}  // namespace lockstep::ops

#endif  // LOCKSTEP_ENGINE_OPS_ELEMENTWISE_H_
