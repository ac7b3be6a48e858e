// Softmax cross entropy of class scores (torch.nn.CrossEntropyLoss, reduction "mean").
#ifndef LOCKSTEP_LAYERS_LOSS_CROSS_ENTROPY_H_
#define LOCKSTEP_LAYERS_LOSS_CROSS_ENTROPY_H_

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "engine/loss.h"

namespace lockstep::inline v0_1 {

struct CrossEntropyLossOptions {
  double label_smoothing = 0.0;        // in [0, 1]
  std::vector<float> class_weights{};  // one for each class; empty: all ones
  int32_t ignored_index = -100;        // targets of this value count for nothing
  // Targets are class probabilities and not class ids: of samples that were mixed, or not sure.
  bool probabilities = false;
};

// y (B, ..., C) scores, targets (B, ...) class ids in [0, C) as i32, or (B, ..., C) probabilities
// in [0, 1] as f32, where a row of zeros counts for nothing. A target out of range is an error,
// found before anything is computed.
class CrossEntropyLoss final : public Loss {
 public:
  explicit CrossEntropyLoss(CrossEntropyLossOptions options = {}) : options_(std::move(options)) {}

  std::string kind() const override { return "CrossEntropyLoss"; }
  DType target_dtype() const override { return options_.probabilities ? DType::kF32 : DType::kI32; }
  Shape target_shape(const Shape& out) const override {
    if (options_.probabilities) return out;
    return Shape(out.dims().first(static_cast<size_t>(out.rank() - 1)));
  }
  Status Build(Graph& graph, const std::string& name, Value y, Value target,
               double factor) const override;

 private:
  CrossEntropyLossOptions options_;
};

}  // namespace lockstep

#endif  // LOCKSTEP_LAYERS_LOSS_CROSS_ENTROPY_H_
