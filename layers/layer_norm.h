// Layer normalisation: each row to mean 0 and deviation 1 (torch.nn.LayerNorm over the last
// dimension). Every row is on its own: the result for a sample does not depend on the batch it is
// in. Ba, Kiros, Hinton, "Layer normalization", 2016.
#ifndef LOCKSTEP_LAYERS_LAYER_NORM_H_
#define LOCKSTEP_LAYERS_LAYER_NORM_H_

#include <cstdint>
#include <memory>
#include <string>

#include "engine/layer.h"
#include "engine/parallel/shards.h"

namespace lockstep {

struct LayerNormOptions {
  double eps = 1e-5;
  bool affine = true;  // learn gamma and beta
};

// x (B, ..., C) -> y of the same shape. Parameters: weight (gamma), bias (beta) (C).
class LayerNorm final : public Layer {
 public:
  explicit LayerNorm(LayerNormOptions options = {}) : options_(options) {}

  std::string kind() const override { return "LayerNorm"; }
  Result<Bound> Bind(const Shape& in, Planner& plan) override;
  void Forward(const Step& step, ConstTensor x, Tensor y) override;
  void Backward(const Step& step, ConstTensor x, ConstTensor y, ConstTensor dy, Tensor dx) override;
  Result<Graph::Value> Export(const Step& step, Graph& graph, const Graph::Value& x) const override;

 private:
  LayerNormOptions options_;
  int64_t channels_ = 0;
  Parameter gamma_, beta_;
  Buffer<float> mean_, mean_low_, rstd_;
  Buffer<double> partials_;
  std::unique_ptr<RowGrid> grid_;
};

}  // namespace lockstep

#endif  // LOCKSTEP_LAYERS_LAYER_NORM_H_
