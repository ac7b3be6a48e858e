// Root mean square normalisation: each row to root mean square 1 (torch.nn.RMSNorm over the last
// dimension). Every row is on its own: the result for a sample does not depend on the batch it is
// in. Zhang, Sennrich, "Root mean square layer normalization", 2019.
#ifndef LOCKSTEP_LAYERS_RMS_NORM_H_
#define LOCKSTEP_LAYERS_RMS_NORM_H_

#include <cstdint>
#include <memory>
#include <string>

#include "engine/layer.h"
#include "engine/parallel/shards.h"

namespace lockstep {

struct RmsNormOptions {
  double eps = 1.1920929e-7;  // as PyTorch where none is given: the spacing of fp32 at 1
  bool affine = true;         // learn gamma
};

// x (B, ..., C) -> y of the same shape. Parameters: weight (gamma) (C).
class RmsNorm final : public Layer {
 public:
  explicit RmsNorm(RmsNormOptions options = {}) : options_(options) {}

  std::string kind() const override { return "RMSNorm"; }
  Result<Bound> Bind(const Shape& in, Planner& plan) override;
  void Forward(const Step& step, ConstTensor x, Tensor y) override;
  void Backward(const Step& step, ConstTensor x, ConstTensor y, ConstTensor dy, Tensor dx) override;
  Result<Graph::Value> Export(const Step& step, Graph& graph, const Graph::Value& x) const override;

 private:
  RmsNormOptions options_;
  int64_t channels_ = 0;
  Parameter gamma_;
  Buffer<float> rstd_;
  Buffer<double> partials_;
  std::unique_ptr<RowGrid> grid_;
};

}  // namespace lockstep

#endif  // LOCKSTEP_LAYERS_RMS_NORM_H_
