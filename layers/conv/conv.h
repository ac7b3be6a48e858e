// Convolutions of pictures (torch.nn.Conv2d) and of signals (torch.nn.Conv1d), channels last.
#ifndef LOCKSTEP_LAYERS_CONV_CONV_H_
#define LOCKSTEP_LAYERS_CONV_CONV_H_

#include <cstdint>
#include <string>

#include "engine/layer.h"
#include "engine/ops/conv.h"

namespace lockstep::inline v0_1 {

// Extents of a window, rows then columns. One number stands for both.
struct Window {
  int64_t h = 1, w = 1;
  constexpr Window(int64_t both = 1) : h(both), w(both) {}  // NOLINT: implicit, as in PyTorch
  constexpr Window(int64_t rows, int64_t columns) : h(rows), w(columns) {}
  bool operator==(const Window&) const = default;
};

enum class ConvInit {
  kTorch,          // uniform on +-1/sqrt(fan in), bias likewise
  kKaimingNormal,  // He et al. 2015 by the fan out, as torchvision's ResNets; bias 0
};

struct Conv2dOptions {
  Window kernel = 3;
  Window stride = 1;
  Window padding = 0;  // on either side
  // out = ceil(in / stride), whatever `padding` says. Where the padding is odd, the extra line is
  // below and to the right (PyTorch's and TensorFlow's convention; PyTorch has no such form for a
  // stride above 1, TensorFlow has, and pads by what the picture needs: 0 above and 1 below for a
  // kernel of 3 with stride 2 on an even extent, where padding = 1 is 1 above and 0 below).
  bool same = false;
  Window dilation = 1;
  int64_t groups = 1;  // in and out channels are multiples; in_channels: depthwise
  bool bias = true;
  using WeightInit = ConvInit;
  WeightInit init = WeightInit::kTorch;
  // The fastest that may be used; it is where the shape says that it pays. F(4x4, 3x3) is less
  // exact than the others by what engine/ops/winograd.h states.
  ops::ConvAlgorithm algorithm = ops::ConvAlgorithm::kWinograd2;
};

// x (B, H, W, C) -> y (B, H', W', out),
// H' = (H + 2 padding - dilation (kernel - 1) - 1) / stride + 1, rounded down.
// Parameters: weight (out, kernel.h, kernel.w, C / groups), which files hold as
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

struct Conv1dOptions {  // as of Conv2d
  int64_t kernel = 3;
  int64_t stride = 1;
  int64_t padding = 0;
  bool same = false;
  int64_t dilation = 1;
  int64_t groups = 1;
  bool bias = true;
  ConvInit init = ConvInit::kTorch;
};

// x (B, T, C) -> y (B, T', out). Parameters: weight (out, kernel, C / groups), in files
// (out, C / groups, kernel); bias (out).
class Conv1d final : public Layer {
 public:
  explicit Conv1d(int64_t out, Conv1dOptions options = {}) : out_(out), options_(options) {}

  std::string kind() const override { return "Conv1d"; }
  Result<Value> Build(Graph& graph, Value x) const override;

 private:
  int64_t out_;
  Conv1dOptions options_;
};

}  // namespace lockstep

#endif  // LOCKSTEP_LAYERS_CONV_CONV_H_
