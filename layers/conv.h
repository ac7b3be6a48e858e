// Convolutions of pictures (torch.nn.Conv2d) and of signals (torch.nn.Conv1d), channels last.
#ifndef LOCKSTEP_LAYERS_CONV_H_
#define LOCKSTEP_LAYERS_CONV_H_

#include <cstdint>
#include <string>

#include "engine/layer.h"

namespace lockstep {

// Extents of a window, rows then columns. One number stands for both.
struct Window {
  int64_t h = 1, w = 1;
  constexpr Window(int64_t both = 1) : h(both), w(both) {}  // NOLINT: implicit, as in PyTorch
  constexpr Window(int64_t rows, int64_t columns) : h(rows), w(columns) {}
  bool operator==(const Window&) const = default;
};

struct Conv2dOptions {
  Window kernel = 3;
  Window stride = 1;
  Window padding = 0;  // on either side
  // out = ceil(in / stride), whatever `padding` says. Where the padding is odd, the extra line is
  // below and to the right (PyTorch's and TensorFlow's convention).
  bool same = false;
  Window dilation = 1;
  int64_t groups = 1;  // in and out channels are multiples; in_channels: depthwise
  bool bias = true;
  enum class WeightInit {
    kTorch,          // uniform on +-1/sqrt(fan in), bias likewise
    kKaimingNormal,  // He et al. 2015 by the fan out, as torchvision's ResNets; bias 0
  } init = WeightInit::kTorch;
  // F(4x4, 3x3) where it applies: faster, and less exact by the bound in engine/ops/winograd.h.
  bool winograd4 = false;
};

// x (B, H, W, C) -> y (B, H', W', out), H' = (H + 2 padding - dilation (kernel - 1) - 1) / stride + 1
// rounded down. Parameters: weight (out, kernel.h, kernel.w, C / groups), which files hold as
// PyTorch does, (out, C / groups, kernel.h, kernel.w); bias (out).
class Conv2d final : public Layer {
 public:
  explicit Conv2d(int64_t out, Conv2dOptions options = {}) : out_(out), options_(options) {}

  std::string kind() const override { return "Conv2d"; }
  Result<Value> Build(Graph& graph, Value x) const override;

 private:
  int64_t out_;
  Conv2dOptions options_;
};

}  // namespace lockstep

#endif  // LOCKSTEP_LAYERS_CONV_H_
