// layers/huber.cc — y predictions, t targets.
//   forward   e = y - t,  loss = |e| <= delta ? e^2 / 2 : delta (|e| - delta / 2),  mean over all
//   elements backward  dy = scale * clamp(e, -delta, delta)
#include "layers/huber.h"

#include "engine/kernels/elementwise/losses.h"

namespace lockstep {

Status HuberLoss::Bind(const Shape& out, Planner& plan) {
  if (out.rank() < 1) return Status::Invalid("takes a batch, not a scalar");
  if (!(delta_ > 0.0))
    return Status::Invalid("delta must be positive, not " + std::to_string(delta_));
  columns_ = out.channels();
  blocks_.Bind(out, plan);
  return Status::Ok();
}

Result<LossSum> HuberLoss::Forward(const Step& step, ConstTensor y, ConstTensor target) {
  const double sum = blocks_.Sum(step, y.shape().batch(), y.size(), [&](IndexRange block) {
    const int64_t offset = block.begin * columns_;
    return kernels::Huber(y.f32() + offset, target.f32() + offset, block.size() * columns_,
                          static_cast<float>(delta_), 0.0f, nullptr);
  });
  return LossSum{.sum = sum, .weight = static_cast<double>(y.size())};
}

void HuberLoss::Backward(const Step& step, ConstTensor y, ConstTensor target, double scale,
                         Tensor dy) {
  blocks_.ForEach(step, y.shape().batch(), y.size(), [&](IndexRange block) {
    const int64_t offset = block.begin * columns_;
    kernels::Huber(y.f32() + offset, target.f32() + offset, block.size() * columns_,
                   static_cast<float>(delta_), static_cast<float>(scale), dy.f32() + offset);
  });
}

}  // namespace lockstep
