// Layer normalisation: each row to mean 0 and deviation 1 (torch.nn.LayerNorm over the last
// dimension). Every row is on its own: the result for a sample does not depend on the batch it is
// in. Ba, Kiros, Hinton, "Layer normalization", 2016.
#ifndef LOCKSTEP_LAYERS_NORM_LAYER_NORM_H_
#define LOCKSTEP_LAYERS_NORM_LAYER_NORM_H_

#include <string>

#include "engine/layer.h"

namespace lockstep::inline v0_1 {

struct LayerNormOptions {
  double eps = 1e-5;
  bool affine = true;  // learn gamma and beta
};

// x (B, ..., C) -> y of the same shape. Parameters: weight (gamma), bias (beta) (C).
class LayerNorm final : public Layer {
 public:
  explicit LayerNorm(LayerNormOptions options = {}) : options_(options) {}

  std::string kind() const override { return "LayerNorm"; }
  Result<Value> Build(Graph& graph, Value x) const override;

 private:
  LayerNormOptions options_;
};

}  // namespace lockstep

#endif  // LOCKSTEP_LAYERS_NORM_LAYER_NORM_H_
