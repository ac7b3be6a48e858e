// The weight of a product as products read it in place.
#ifndef LOCKSTEP_LAYERS_TRANSPOSED_WEIGHT_H_
#define LOCKSTEP_LAYERS_TRANSPOSED_WEIGHT_H_

#include <algorithm>
#include <cstdint>
#include <span>

#include "engine/plan/operation.h"

namespace lockstep::inline v0_1 {

// Weights beyond the caches, of more elements than this, are best left as they are: a row times W
// comes from memory as fast one way as the other, and then W is held once. (Sapphire Rapids, one
// row, as shares of what reading W takes: 0.87 as it is, 0.76 turned; 4 MB and more.)
inline constexpr int64_t kLargestTransposedWeight = int64_t{1} << 18;

// W^T, kept between steps: a product reads it in place. Where a network only predicts, a single
// sample must not wait for W to be rearranged.
class TransposedWeight final : public Operation {
 public:
  Result<Declaration> Declare(std::span<const TensorSpec> w, const Fused&,
                              const PlanOptions&) const override {
    return Declaration{.outputs = {{Shape{w[0].shape[1], w[0].shape[0]}}}, .from_parameters = true};
  }
  void Forward(const Step& step, const Operands& o) override {
    const int64_t out = o.x(0).shape()[0], in = o.x(0).shape()[1];
    const float* w = o.x_f32(0);
    float* transposed = o.y_f32();
    constexpr int64_t kLine = 16;
    step.ctx.For((out + kLine - 1) / kLine, out * in, [&](int64_t line) {
      const int64_t begin = line * kLine, end = std::min(begin + kLine, out);
      for (int64_t k = 0; k < in; ++k) {
        for (int64_t n = begin; n < end; ++n) transposed[k * out + n] = w[n * in + k];
      }
    });
  }
};

}  // namespace lockstep

#endif  // LOCKSTEP_LAYERS_TRANSPOSED_WEIGHT_H_
