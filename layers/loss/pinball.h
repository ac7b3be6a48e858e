// The loss of quantiles (sklearn.metrics.mean_pinball_loss): Koenker and Bassett, "Regression
// Quantiles", 1978. What makes it least is, of each target, the number that it is below with
// probability q.
#ifndef LOCKSTEP_LAYERS_LOSS_PINBALL_H_
#define LOCKSTEP_LAYERS_LOSS_PINBALL_H_

#include <span>
#include <string>
#include <utility>
#include <vector>

#include "engine/loss.h"

namespace lockstep::inline v0_1 {

// y (B, ..., K Q) for targets (B, ..., K), both f32, of Q = quantiles.size() quantiles: those of
// one target stand together. Quantiles are in (0, 1), and ascend.
class PinballLoss final : public Loss {
 public:
  explicit PinballLoss(std::vector<double> quantiles) : quantiles_(std::move(quantiles)) {}

  std::string kind() const override { return "PinballLoss"; }
  DType target_dtype() const override { return DType::kF32; }
  Shape target_shape(const Shape& out) const override;
  std::span<const double> quantiles() const override { return quantiles_; }
  Status Build(Graph& graph, const std::string& name, Value y, Value target,
               double factor) const override;

 private:
  std::vector<double> quantiles_;
};

}  // namespace lockstep

#endif  // LOCKSTEP_LAYERS_LOSS_PINBALL_H_
