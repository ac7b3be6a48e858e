// Root mean square normalisation: each row to root mean square 1 (torch.nn.RMSNorm over the last
// dimension). Every row is on its own: the result for a sample does not depend on the batch it is
// in. Zhang, Sennrich, "Root mean square layer normalization", 2019.
#ifndef LOCKSTEP_LAYERS_NORM_RMS_NORM_H_
#define LOCKSTEP_LAYERS_NORM_RMS_NORM_H_

#include <string>

#include "engine/layer.h"

namespace lockstep::inline v0_1 {

struct RmsNormOptions {
  double eps = 1.1920929e-7;  // as PyTorch where none is given: the spacing of fp32 at 1
  bool affine = true;         // learn gamma
};

// x (B, ..., C) -> y of the same shape. Parameters: weight (gamma) (C).
class RmsNorm final : public Layer {
 public:
  explicit RmsNorm(RmsNormOptions options = {}) : options_(options) {}

  std::string kind() const override { return "RMSNorm"; }
  Result<Value> Build(Graph& graph, Value x) const override;

 private:
  RmsNormOptions options_;
};

}  // namespace lockstep

#endif  // LOCKSTEP_LAYERS_NORM_RMS_NORM_H_
