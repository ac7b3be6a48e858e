// Pictures and signals of another size (torch.nn.Upsample), channels last.
#ifndef LOCKSTEP_LAYERS_PICTURE_UPSAMPLE_H_
#define LOCKSTEP_LAYERS_PICTURE_UPSAMPLE_H_

#include <cstdint>
#include <optional>
#include <string>

#include "engine/layer.h"
#include "layers/conv/conv.h"

namespace lockstep::inline v0_1 {

struct UpsampleOptions {
  // Rows, then columns; one number stands for both.
  struct Factor {
    double h = 1.0, w = 1.0;
    constexpr Factor(double both = 1.0) : h(both), w(both) {}  // NOLINT: implicit, as in PyTorch
    constexpr Factor(double rows, double columns) : h(rows), w(columns) {}
  };
  // One of these two. With a factor, H' = floor(H * factor).
  std::optional<Window> size{};
  std::optional<Factor> scale_factor{};
  // kLinear: "bilinear" of pictures, "linear" of signals.
  enum class Mode { kNearest, kLinear } mode = Mode::kNearest;
  // kLinear alone: the pixels in the corners keep their values, the others lie evenly between.
  bool align_corners = false;
};

// x (B, H, W, C) -> y (B, H', W', C), or (B, L, C) -> (B, L', C), for which the columns' numbers
// count.
class Upsample final : public Layer {
 public:
  explicit Upsample(UpsampleOptions options) : options_(options) {}

  std::string kind() const override { return "Upsample"; }
  Result<Value> Build(Graph& graph, Value x) const override;

 private:
  UpsampleOptions options_;
};

}  // namespace lockstep

#endif  // LOCKSTEP_LAYERS_PICTURE_UPSAMPLE_H_
