// The interface every optimizer implements: one update of all parameters from their gradients.
#ifndef LOCKSTEP_ENGINE_OPTIM_OPTIMIZER_H_
#define LOCKSTEP_ENGINE_OPTIM_OPTIMIZER_H_

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/status.h"
#include "engine/parallel/context.h"
#include "engine/parallel/shards.h"
#include "engine/plan/parameters.h"
#include "engine/tensor/tensor.h"

namespace lockstep::inline v0_1 {

// Settings of some parameters that differ from the optimizer's own. The first group that matches a
// name decides.
struct ParameterGroup {
  std::vector<std::string> patterns = {};  // shell patterns on full names: "*.bias", "0.*"
  double learning_rate_scale = 1.0;
  // Negative: the optimizer's own, and none for parameters declared Decay::kNo. Otherwise it holds
  // for every parameter of the group.
  double weight_decay = -1.0;
};

// One piece of optimizer state of one parameter: ("0.weight", "exp_avg").
struct OptimizerState {
  std::string parameter;
  std::string name;
  Tensor tensor;      // of the parameter's shape, or, flat, the elements that are held here
  Shape whole{};      // the parameter's shape
  int64_t begin = 0;  // of the first element held here, within the parameter
};

// Thread-compatible. Holds its states; borrows the parameters only during calls. Belongs to the
// network it was bound to: another network has an optimizer of its own.
//
// A learning rate that changes from step to step, by hand or by a schedule (schedule.h):
//
//   LOCKSTEP_TRY(adam.set_learning_rate(1e-3 * ScheduleFactor(schedule, step, steps)));
//   LOCKSTEP_TRY(net.TrainStep(x, target, adam).status());
class Optimizer {
 public:
  virtual ~Optimizer() = default;

  virtual std::string kind() const = 0;  // "AdamW", as PyTorch names it

  // Makes the states for ranges of the flat arrays of these parameters (all of them by default),
  // and holds to these from then on: several processes can each update a part. The ranges are in
  // order and do not overlap. Once, before the first Update. Options that make no sense, and groups
  // that match no parameter, are errors.
  virtual Status Bind(Context& ctx, const ParameterSet& parameters,
                      std::span<const IndexRange> floats) = 0;
  Status Bind(Context& ctx, const ParameterSet& parameters) {
    const IndexRange all{0, static_cast<int64_t>(parameters.values.size())};
    return Bind(ctx, parameters, std::span(&all, 1));
  }
  virtual bool bound() const = 0;
  // What Update would refuse of these parameters and this learning rate, whatever the gradients: it
  // was bound to another network, the rate makes no sense.
  virtual Status CheckUpdate(const ParameterSet& parameters, double learning_rate) const {
    (void)parameters, (void)learning_rate;
    return Status::Ok();
  }
  // The ranges it was bound to.
  virtual std::span<const IndexRange> held() const = 0;

  // One update at `learning_rate`, with gradients times `grad_scale` (what clipping asks for);
  // counts steps from one. Frozen parameters stay. Allocates nothing. Errors: what CheckUpdate
  // says; a gradient that is not finite, which is found on the way, so that its parameter is lost,
  // and others may have been updated: who cannot have that looks first, as a training step does.
  virtual Status Update(Context& ctx, const ParameterSet& parameters, double learning_rate,
                        double grad_scale = 1.0) = 0;

  // Whether Update, given finite gradients and what CheckUpdate lets through, cannot fail. A
  // training step copies parameters and states before the update of an optimizer that can, so as
  // to put them back.
  virtual bool never_fails() const { return false; }

  // The learning rate of Network::TrainStep, and the one that a Trainer's schedule scales. It can
  // be set between any two steps; checkpoints do not hold it. An error if it is not 0 or more.
  virtual double learning_rate() const = 0;
  virtual Status set_learning_rate(double learning_rate) = 0;
  // Updates made so far; set when a run is resumed.
  virtual int64_t step_count() const = 0;
  virtual void set_step_count(int64_t count) = 0;
  // For checkpoints: views of all states, named as PyTorch names them. Of a state of which nothing
  // is held here an empty one, so that all processes name the same states in the same order.
  virtual std::vector<OptimizerState> states() const = 0;
};

}  // namespace lockstep

#endif  // LOCKSTEP_ENGINE_OPTIM_OPTIMIZER_H_
