// Mean squared error (torch.nn.MSELoss, reduction "mean").
#ifndef LOCKSTEP_LAYERS_LOSS_MSE_H_
#define LOCKSTEP_LAYERS_LOSS_MSE_H_

#include <string>

#include "engine/loss.h"

namespace lockstep::inline v0_1 {

// y and targets (B, ...) of one shape, f32.
class MseLoss final : public Loss {
 public:
  std::string kind() const override { return "MSELoss"; }
  DType target_dtype() const override { return DType::kF32; }
  Shape target_shape(const Shape& out) const override { return out; }
  Status Build(Graph& graph, const std::string& name, Value y, Value target,
               double factor) const override;
};

}  // namespace lockstep

#endif  // LOCKSTEP_LAYERS_LOSS_MSE_H_
