// Binary cross entropy of logits (torch.nn.BCEWithLogitsLoss, reduction "mean").
#ifndef LOCKSTEP_LAYERS_LOSS_BCE_WITH_LOGITS_H_
#define LOCKSTEP_LAYERS_LOSS_BCE_WITH_LOGITS_H_

#include <string>
#include <utility>
#include <vector>

#include "engine/loss.h"

namespace lockstep::inline v0_1 {

struct BceWithLogitsLossOptions {
  std::vector<float> weight{};      // of each output column, or one for all; empty: ones
  std::vector<float> pos_weight{};  // multiplies the loss of positives, by output column or one for
                                    // all; empty: ones
};

// y (B, ..., C) logits, targets of the same shape: probabilities in [0, 1] as f32.
class BceWithLogitsLoss final : public Loss {
 public:
  explicit BceWithLogitsLoss(BceWithLogitsLossOptions options = {})
      : options_(std::move(options)) {}

  std::string kind() const override { return "BCEWithLogitsLoss"; }
  DType target_dtype() const override { return DType::kF32; }
  Shape target_shape(const Shape& out) const override { return out; }
  Status Build(Graph& graph, const std::string& name, Value y, Value target,
               double factor) const override;

 private:
  BceWithLogitsLossOptions options_;
};

}  // namespace lockstep

#endif  // LOCKSTEP_LAYERS_LOSS_BCE_WITH_LOGITS_H_
