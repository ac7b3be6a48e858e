// Maxima and averages over sliding windows of pictures (torch.nn.MaxPool2d, AvgPool2d) and of
// signals (torch.nn.MaxPool1d, AvgPool1d), channels last.
//
// x (B, H, W, C) -> y (B, H', W', C), signals (B, L, C) -> (B, L', C), where
//   H' = (H + 2 padding - dilation (kernel - 1) - 1) / stride + 1
// rounded down, or with ceil_mode up; but a window that would begin in the padding on the right is
// left out. The padding is at most half of the kernel.
#ifndef LOCKSTEP_LAYERS_PICTURE_POOL_H_
#define LOCKSTEP_LAYERS_PICTURE_POOL_H_

#include <cstdint>
#include <optional>
#include <string>

#include "engine/layer.h"
#include "layers/conv/conv.h"

namespace lockstep::inline v0_1 {

struct MaxPoolOptions {
  std::optional<Window> stride{};  // the kernel's
  Window padding = 0;              // on either side; never the largest, whatever x is
  Window dilation = 1;
  bool ceil_mode = false;
};

// The largest of each window; NaN where one is. The gradient goes to the one place that was taken:
// of equal ones the first by rows, of several NaN the last.
class MaxPool2d final : public Layer {
 public:
  explicit MaxPool2d(Window kernel, MaxPoolOptions options = {})
      : kernel_(kernel), options_(options) {}

  std::string kind() const override { return "MaxPool2d"; }
  Result<Value> Build(Graph& graph, Value x) const override;

 private:
  Window kernel_;
  MaxPoolOptions options_;
};

struct AvgPoolOptions {
  std::optional<Window> stride{};  // the kernel's
  Window padding = 0;              // on either side, of zeros
  bool ceil_mode = false;
  // Divide by the number of places in x and its padding (what ceil_mode adds beyond it counts for
  // nothing); otherwise of those in x alone.
  bool count_include_pad = true;
  std::optional<int64_t> divisor_override{};  // divide by this
};

class AvgPool2d final : public Layer {
 public:
  explicit AvgPool2d(Window kernel, AvgPoolOptions options = {})
      : kernel_(kernel), options_(options) {}

  std::string kind() const override { return "AvgPool2d"; }
  Result<Value> Build(Graph& graph, Value x) const override;

 private:
  Window kernel_;
  AvgPoolOptions options_;
};

struct MaxPool1dOptions {
  std::optional<int64_t> stride{};
  int64_t padding = 0;
  int64_t dilation = 1;
  bool ceil_mode = false;
};

class MaxPool1d final : public Layer {
 public:
  explicit MaxPool1d(int64_t kernel, MaxPool1dOptions options = {})
      : kernel_(kernel), options_(options) {}

  std::string kind() const override { return "MaxPool1d"; }
  Result<Value> Build(Graph& graph, Value x) const override;

 private:
  int64_t kernel_;
  MaxPool1dOptions options_;
};

struct AvgPool1dOptions {
  std::optional<int64_t> stride{};
  int64_t padding = 0;
  bool ceil_mode = false;
  bool count_include_pad = true;
};

class AvgPool1d final : public Layer {
 public:
  explicit AvgPool1d(int64_t kernel, AvgPool1dOptions options = {})
      : kernel_(kernel), options_(options) {}

  std::string kind() const override { return "AvgPool1d"; }
  Result<Value> Build(Graph& graph, Value x) const override;

 private:
  int64_t kernel_;
  AvgPool1dOptions options_;
};

}  // namespace lockstep

#endif  // LOCKSTEP_LAYERS_PICTURE_POOL_H_
