// A fully connected layer (torch.nn.Linear): y = x W^T + b over the last dimension.
#ifndef LOCKSTEP_LAYERS_LINEAR_H_
#define LOCKSTEP_LAYERS_LINEAR_H_

#include <cstdint>
#include <string>

#include "engine/layer.h"

namespace lockstep::inline v0_1 {

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
  Result<Value> Build(Graph& graph, Value x) const override;

 private:
  int64_t out_;
  LinearOptions options_;
};

// y = x weight^T + bias, for layers that name these themselves: x (B, ..., in), weight (out, in),
// bias (out) or nothing. One weight may be read in several places (heads that are tied to an
// embedding).
Result<Value> AddProduct(Graph& graph, Value x, Value weight, Value bias = {});

}  // namespace lockstep

#endif  // LOCKSTEP_LAYERS_LINEAR_H_
