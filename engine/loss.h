// The interface every loss implements. A loss is a mean: a sum over the batch divided by a total
// weight, kept apart so that ranks and micro-batches can merge them.
#ifndef LOCKSTEP_ENGINE_LOSS_H_
#define LOCKSTEP_ENGINE_LOSS_H_

#include <span>
#include <string>

#include "engine/base/status.h"
#include "engine/plan/graph.h"

namespace lockstep::inline v0_1 {

struct LossSum {
  double sum = 0.0;
  double weight = 0.0;  // samples, or the sum of their weights; the loss is sum / weight
};

// Thread-compatible; like a layer it only describes.
class Loss {
 public:
  virtual ~Loss() = default;

  virtual std::string kind() const = 0;  // "CrossEntropyLoss", as PyTorch names it

  // What targets look like for an output of shape `out`: class ids (i32) or values (f32).
  virtual DType target_dtype() const = 0;
  virtual Shape target_shape(const Shape& out) const = 0;

  // Where y holds, in place of one value of each target, these of its quantiles, ascending and
  // beside one another (PinballLoss): which. Else empty.
  virtual std::span<const double> quantiles() const { return {}; }

  // Adds its LossOperation on y and target to the graph: Graph::AddLoss(name, ..., factor). An
  // error says why y does not fit.
  virtual Status Build(Graph& graph, const std::string& name, Value y, Value target,
                       double factor) const = 0;
};

// The loss of y against a new input of the network, which is named `target`. `factor`: its share
// where there are several losses. With `weights` that is the name of a further input behind it: of
// f32 (batch), what each sample counts for, so that the loss is sum_i w_i loss_i / sum_i w_i over
// the whole global batch.
Status AddLoss(Graph& graph, const std::string& target, const Loss& loss, Value y,
               double factor = 1.0, const std::string& weights = "");

}  // namespace lockstep

#endif  // LOCKSTEP_ENGINE_LOSS_H_
