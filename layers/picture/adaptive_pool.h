// Averages over as many windows as are wanted (torch.nn.AdaptiveAvgPool2d, AdaptiveAvgPool1d),
// channels last. Window i of n along H is [floor(i H / n), ceil((i + 1) H / n)).
#ifndef LOCKSTEP_LAYERS_PICTURE_ADAPTIVE_POOL_H_
#define LOCKSTEP_LAYERS_PICTURE_ADAPTIVE_POOL_H_

#include <cstdint>
#include <string>

#include "engine/layer.h"
#include "layers/conv/conv.h"

namespace lockstep::inline v0_1 {

// x (B, H, W, C) -> y (B, output.h, output.w, C); 0 stands for the extent of x (PyTorch's None).
// AdaptiveAvgPool2d(1) is the global average.
class AdaptiveAvgPool2d final : public Layer {
 public:
  explicit AdaptiveAvgPool2d(Window output) : output_(output) {}

  std::string kind() const override { return "AdaptiveAvgPool2d"; }
  Result<Value> Build(Graph& graph, Value x) const override;

 private:
  Window output_;
};

// x (B, L, C) -> y (B, output, C)
class AdaptiveAvgPool1d final : public Layer {
 public:
  explicit AdaptiveAvgPool1d(int64_t output) : output_(output) {}

  std::string kind() const override { return "AdaptiveAvgPool1d"; }
  Result<Value> Build(Graph& graph, Value x) const override;

 private:
  int64_t output_;
};

}  // namespace lockstep

#endif  // LOCKSTEP_LAYERS_PICTURE_ADAPTIVE_POOL_H_
