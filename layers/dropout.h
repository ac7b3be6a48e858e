// Dropout (torch.nn.Dropout): in training each element is zeroed with probability p and the rest
// are scaled by 1 / (1 - p); in evaluation nothing happens. Srivastava et al., 2014.
//
// The mask is a pure function of (seed, layer, step, sample, place): nothing is stored, and a run's
// bits depend neither on threads nor on how the batch is spread over ranks.
#ifndef LOCKSTEP_LAYERS_DROPOUT_H_
#define LOCKSTEP_LAYERS_DROPOUT_H_

#include <cstdint>
#include <string>

#include "engine/layer.h"

namespace lockstep {

class Dropout final : public Layer {
 public:
  explicit Dropout(double p = 0.5) : p_(p) {}

  std::string kind() const override { return "Dropout"; }
  Result<Bound> Bind(const Shape& in, Planner& plan) override;
  void Forward(const Step& step, ConstTensor x, Tensor y) override;
  void Backward(const Step& step, ConstTensor x, ConstTensor y, ConstTensor dy, Tensor dx) override;
  Result<Graph::Value> Export(const Step& step, Graph& graph, const Graph::Value& x) const override;

 private:
  void Apply(const Step& step, ConstTensor x, Tensor y) const;

  double p_;
  uint64_t stream_ = 0;
};

}  // namespace lockstep

#endif  // LOCKSTEP_LAYERS_DROPOUT_H_
