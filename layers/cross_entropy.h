// Softmax cross entropy of class scores (torch.nn.CrossEntropyLoss, reduction "mean").
#ifndef LOCKSTEP_LAYERS_CROSS_ENTROPY_H_
#define LOCKSTEP_LAYERS_CROSS_ENTROPY_H_

#include <cstdint>
#include <string>
#include <vector>

#include "engine/loss.h"
#include "layers/loss_blocks.h"

namespace lockstep {

struct CrossEntropyLossOptions {
  double label_smoothing = 0.0;        // in [0, 1]
  std::vector<float> class_weights{};  // one for each class; empty: all ones
  int32_t ignored_index = -100;        // targets of this value count for nothing
};

// y (B, ..., C) scores, targets (B, ...) class ids in [0, C) as i32.
class CrossEntropyLoss final : public Loss {
 public:
  explicit CrossEntropyLoss(CrossEntropyLossOptions options = {}) : options_(std::move(options)) {}

  std::string kind() const override { return "CrossEntropyLoss"; }
  Status Bind(const Shape& out, Planner& plan) override;
  DType target_dtype() const override { return DType::kI32; }
  Shape target_shape(const Shape& out) const override {
    return Shape(out.dims().first(static_cast<size_t>(out.rank() - 1)));
  }
  Result<LossSum> Forward(const Step& step, ConstTensor y, ConstTensor target) override;
  void Backward(const Step& step, ConstTensor y, ConstTensor target, double scale,
                Tensor dy) override;

 private:
  CrossEntropyLossOptions options_;
  int64_t classes_ = 0;
  LossBlocks blocks_;
};

}  // namespace lockstep

#endif  // LOCKSTEP_LAYERS_CROSS_ENTROPY_H_
