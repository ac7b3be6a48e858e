// Huber's loss (torch.nn.HuberLoss, reduction "mean"): squared near the target, linear beyond
// `delta`.
#ifndef LOCKSTEP_LAYERS_LOSS_HUBER_H_
#define LOCKSTEP_LAYERS_LOSS_HUBER_H_

#include <string>

#include "engine/loss.h"

namespace lockstep::inline v0_1 {

// y and targets (B, ...) of one shape, f32.
class HuberLoss final : public Loss {
 public:
  explicit HuberLoss(double delta = 1.0) : delta_(delta) {}

  std::string kind() const override { return "HuberLoss"; }
  DType target_dtype() const override { return DType::kF32; }
  Shape target_shape(const Shape& out) const override { return out; }
  Status Build(Graph& graph, const std::string& name, Value y, Value target,
               double factor) const override;

 private:
  double delta_;
};

}  // namespace lockstep

#endif  // LOCKSTEP_LAYERS_LOSS_HUBER_H_
