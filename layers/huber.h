// Huber's loss (torch.nn.HuberLoss, reduction "mean"): squared near the target, linear beyond
// `delta`.
#ifndef LOCKSTEP_LAYERS_HUBER_H_
#define LOCKSTEP_LAYERS_HUBER_H_

#include <string>

#include "engine/loss.h"
#include "layers/loss_blocks.h"

namespace lockstep {

// y and targets (B, ...) of one shape, f32.
class HuberLoss final : public Loss {
 public:
  explicit HuberLoss(double delta = 1.0) : delta_(delta) {}

  std::string kind() const override { return "HuberLoss"; }
  Status Bind(const Shape& out, Planner& plan) override;
  DType target_dtype() const override { return DType::kF32; }
  Shape target_shape(const Shape& out) const override { return out; }
  Result<LossSum> Forward(const Step& step, ConstTensor y, ConstTensor target) override;
  void Backward(const Step& step, ConstTensor y, ConstTensor target, double scale,
                Tensor dy) override;

 private:
  double delta_;
  int64_t columns_ = 0;
  LossBlocks blocks_;
};

}  // namespace lockstep

#endif  // LOCKSTEP_LAYERS_HUBER_H_
