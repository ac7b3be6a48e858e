// Dropout (torch.nn.Dropout): in training each element is zeroed with probability p and the rest
// are scaled by 1 / (1 - p); in evaluation nothing happens. Srivastava et al., 2014.
//
// The mask is a pure function of (seed, layer, step, sample, place): nothing is stored, and a run's
// bits depend neither on threads nor on how the batch is spread over ranks.
#ifndef LOCKSTEP_LAYERS_DROPOUT_H_
#define LOCKSTEP_LAYERS_DROPOUT_H_

#include <string>

#include "engine/layer.h"

namespace lockstep::inline v0_1 {

class Dropout final : public Layer {
 public:
  explicit Dropout(double p = 0.5) : p_(p) {}

  std::string kind() const override { return "Dropout"; }
  Result<Value> Build(Graph& graph, Value x) const override;

 private:
  double p_;
};

}  // namespace lockstep

#endif  // LOCKSTEP_LAYERS_DROPOUT_H_
