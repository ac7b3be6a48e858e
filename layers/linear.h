// A fully connected layer (torch.nn.Linear): y = x W^T + b over the last dimension.
#ifndef LOCKSTEP_LAYERS_LINEAR_H_
#define LOCKSTEP_LAYERS_LINEAR_H_

#include <cstdint>
#include <string>
#include <vector>

#include "engine/layer.h"

namespace lockstep {

struct LinearOptions {
  bool bias = true;
  // How the weight begins; the default is PyTorch's: uniform on +-1/sqrt(in). The bias begins
  // likewise, or at zero where an initialisation is given.
  enum class WeightInit {
    kTorch,
    kKaimingNormal,
    kXavierUniform,
    kNormal
  } init = WeightInit::kTorch;
  float init_scale =
      1.0f;  // multiplies the bound or deviation above; the deviation itself for kNormal
};

// x (B, ..., in) -> y (B, ..., out). Parameters: weight (out, in), bias (out).
class Linear final : public Layer {
 public:
  explicit Linear(int64_t out, LinearOptions options = {}) : out_(out), options_(options) {}

  std::string kind() const override { return "Linear"; }
  Result<Bound> Bind(const Shape& in, Planner& plan) override;
  void Forward(const Step& step, ConstTensor x, Tensor y) override;
  void Backward(const Step& step, ConstTensor x, ConstTensor y, ConstTensor dy, Tensor dx) override;
  Result<Graph::Value> Export(const Step& step, Graph& graph, const Graph::Value& x) const override;

  bool FuseActivation(kernels::Activation activation) override;
  bool FuseNorm(ChannelNorm* norm) override;
  void ForwardFolded(const Step& step, ConstTensor x, kernels::Activation activation,
                     Tensor y) override;

 private:
  void FoldWeight(const Step& step);

  int64_t out_;
  LinearOptions options_;
  int64_t in_ = 0;
  kernels::Activation activation_ = kernels::Activation::kNone;
  ChannelNorm* norm_ = nullptr;  // borrowed: a sibling
  Parameter weight_, bias_;
  Buffer<float> scratch_;  // of the products
  int64_t scratch_floats_ = 0;
  Buffer<float> dz_;  // dy behind a fused activation
  Buffer<float> folded_weight_, folded_bias_, fold_scale_;
  uint64_t folded_version_ = ~uint64_t{0};
  std::vector<int64_t> shard_rows_;  // boundaries of the batch's shards, in rows
};

}  // namespace lockstep

#endif  // LOCKSTEP_LAYERS_LINEAR_H_
