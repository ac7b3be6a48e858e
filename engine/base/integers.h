// The small integer arithmetic that everyone needs.
#ifndef LOCKSTEP_ENGINE_BASE_INTEGERS_H_
#define LOCKSTEP_ENGINE_BASE_INTEGERS_H_

#include <cstdint>

namespace lockstep::inline v0_1 {

// n / by, rounded up. n >= 0, by > 0.
constexpr int64_t CeilDiv(int64_t n, int64_t by) { return (n + by - 1) / by; }

// The smallest multiple of `multiple` that is at least n.
constexpr int64_t RoundUp(int64_t n, int64_t multiple) { return CeilDiv(n, multiple) * multiple; }

}  // namespace lockstep

#endif  // LOCKSTEP_ENGINE_BASE_INTEGERS_H_
