// Binary cross entropy of logits (torch.nn.BCEWithLogitsLoss, reduction "mean").
#ifndef LOCKSTEP_LAYERS_BCE_WITH_LOGITS_H_
#define LOCKSTEP_LAYERS_BCE_WITH_LOGITS_H_

#include <string>
#include <vector>

#include "engine/loss.h"
#include "layers/loss_blocks.h"

namespace lockstep {

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
  Status Bind(const Shape& out, Planner& plan) override;
  DType target_dtype() const override { return DType::kF32; }
  Shape target_shape(const Shape& out) const override { return out; }
  Result<LossSum> Forward(const Step& step, ConstTensor y, ConstTensor target) override;
  void Backward(const Step& step, ConstTensor y, ConstTensor target, double scale,
                Tensor dy) override;

 private:
  double Run(const Step& step, IndexRange block, ConstTensor y, ConstTensor target, float scale,
             float* dy) const;

  BceWithLogitsLossOptions options_;
  int64_t columns_ = 0;
  Buffer<float> weights_;  // (rows, columns), only where `weight` is given
  LossBlocks blocks_;
};

}  // namespace lockstep

#endif  // LOCKSTEP_LAYERS_BCE_WITH_LOGITS_H_
