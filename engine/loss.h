// The interface every loss implements. A loss is a mean: a sum over the batch divided by a total
// weight, kept apart so that ranks and micro-batches can merge them.
#ifndef LOCKSTEP_ENGINE_LOSS_H_
#define LOCKSTEP_ENGINE_LOSS_H_

#include <string>

#include "engine/base/status.h"
#include "engine/layer.h"
#include "engine/plan/planner.h"
#include "engine/tensor/tensor.h"

namespace lockstep {

struct LossSum {
  double sum = 0.0;
  double weight = 0.0;  // samples, or the sum of their weights; the loss is sum / weight
};

// Thread-compatible; bound at most once.
class Loss {
 public:
  virtual ~Loss() = default;

  virtual std::string kind() const = 0;  // "CrossEntropyLoss", as PyTorch names it

  // `out` is the shape of the network's output y. An error says why it does not fit.
  virtual Status Bind(const Shape& out, Planner& plan) = 0;
  // What targets look like for an output of shape `out`: class ids (i32) or values (f32).
  virtual DType target_dtype() const = 0;
  virtual Shape target_shape(const Shape& out) const = 0;

  // Not finite if any y that counts is not finite. A class id out of range is an error that names
  // it.
  virtual Result<LossSum> Forward(const Step& step, ConstTensor y, ConstTensor target) = 0;
  // After Forward with the same y and target: dy = scale * d(sum)/dy. For the mean, scale = 1 /
  // weight.
  virtual void Backward(const Step& step, ConstTensor y, ConstTensor target, double scale,
                        Tensor dy) = 0;
};

}  // namespace lockstep

#endif  // LOCKSTEP_ENGINE_LOSS_H_
