// layers/mse.cc — y predictions, t targets.
//   forward   loss = (y - t)^2, mean over all elements
//   backward  dy   = scale * 2 (y - t)
#include "layers/mse.h"

#include "engine/kernels/elementwise/losses.h"

namespace lockstep {

Status MseLoss::Bind(const Shape& out, Planner& plan) {
  if (out.rank() < 1) return Status::Invalid("takes a batch, not a scalar");
  columns_ = out.channels();
  blocks_.Bind(out, plan);
  return Status::Ok();
}

Result<LossSum> MseLoss::Forward(const Step& step, ConstTensor y, ConstTensor target) {
  const double sum = blocks_.Sum(step, y.shape().batch(), y.size(), [&](IndexRange block) {
    const int64_t offset = block.begin * columns_;
    return kernels::SquaredError(y.f32() + offset, target.f32() + offset, block.size() * columns_,
                                 0.0f, nullptr);
  });
  return LossSum{.sum = sum, .weight = static_cast<double>(y.size())};
}

void MseLoss::Backward(const Step& step, ConstTensor y, ConstTensor target, double scale,
                       Tensor dy) {
  blocks_.ForEach(step, y.shape().batch(), y.size(), [&](IndexRange block) {
    const int64_t offset = block.begin * columns_;
    kernels::SquaredError(y.f32() + offset, target.f32() + offset, block.size() * columns_,
                          static_cast<float>(scale), dy.f32() + offset);
  });
}

}  // namespace lockstep
