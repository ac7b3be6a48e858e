// The interface every layer implements: Bind once, then Forward and Backward in every step.
//
// Data flows x -> y and, backward, dy -> dx. Tensors are dense and row-major, the batch first and
// the channels last. A layer is bound at the largest batch; a step may bring fewer samples.
#ifndef LOCKSTEP_ENGINE_LAYER_H_
#define LOCKSTEP_ENGINE_LAYER_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "engine/base/status.h"
#include "engine/kernels/elementwise/activation_kind.h"
#include "engine/parallel/context.h"
#include "engine/plan/planner.h"
#include "engine/plan/workspace.h"
#include "engine/tensor/graph.h"
#include "engine/tensor/tensor.h"

namespace lockstep {

enum class Mode { kTrain, kEvaluate };

// Watches the layers of a step from outside: for timing, for statistics of activations and
// gradients, for finding where a NaN began. Called on the thread that drives the step.
class StepObserver {
 public:
  virtual ~StepObserver() = default;
  // `layer` is its path ("0", "3.body.1"). Layers that hold others are seen around them.
  virtual void Before(const std::string& layer, bool backward) = 0;
  // `result` is y after Forward, dx after Backward (empty where it was not wanted).
  virtual void After(const std::string& layer, bool backward, ConstTensor result) = 0;
};

// What travels with one step. Handles that a layer booked at Bind become pointers here:
// step[buffer].
struct Step {
  Context& ctx;
  const Workspace& workspace;
  Mode mode = Mode::kEvaluate;
  uint64_t seed = 0;
  uint64_t index = 0;        // of the step in the run: random layers draw from (seed, index, place)
  int64_t first_sample = 0;  // of this process, within the global batch
  uint64_t version = 0;      // changes whenever parameters or states may have: marks what is stale
  StepObserver* observer = nullptr;
  bool accumulate =
      false;  // Backward adds to the parameter gradients, otherwise it overwrites them

  bool training() const { return mode == Mode::kTrain; }
  template <class T>
  T* operator[](Buffer<T> buffer) const {
    return workspace.at(buffer);
  }
  float* operator[](State state) const { return workspace.at(state); }
  float* value(Parameter p) const { return p.valid() ? workspace.value(p) : nullptr; }
  float* gradient(Parameter p) const { return p.valid() ? workspace.gradient(p) : nullptr; }
};

// What Bind tells the layer around this one.
struct Bound {
  Shape out{};
  bool needs_x = false;       // Backward reads x: keep it until then
  bool needs_y = false;       // Backward reads y
  bool view = false;          // y is x under another shape; copies only where the memory differs
  bool y_may_be_x = false;    // Forward may write y over x
  bool dx_may_be_dy = false;  // Backward may write dx over dy
  double flops = 0.0;         // of one forward pass at the bound batch
};

// Whether a step may run with this many samples.
enum class Admission { kRun, kSkip };

// The face of a batch norm towards the layer in front of it, which can save it two passes over
// memory: in training it hands over finished blocks of its output while they are in cache, and in
// evaluation it folds the normalisation into its weights.
class ChannelNorm {
 public:
  virtual ~ChannelNorm() = default;
  // Row boundaries of the blocks that moments are taken in, for `samples` samples. Empty: no
  // moments are wanted this step.
  virtual std::span<const int64_t> MomentRows(const Step& step, int64_t samples) = 0;
  // Takes the moments of rows [row_begin, row_end) x channels [col_begin, col_end) of y, a (rows,
  // channels) matrix. Rows are whole blocks of MomentRows. Called once for every place, from any
  // thread.
  virtual void TakeMoments(const Step& step, const float* y, int64_t row_begin, int64_t row_end,
                           int64_t col_begin, int64_t col_end) = 0;
  // Evaluation: the norm as y = scale * x + shift for each channel, from the running statistics.
  virtual void Fold(const Step& step, float* scale, float* shift) const = 0;
};

// Ownership: whoever holds the layer; Sequential and Network own theirs. A layer is bound at most
// once. Thread-compatible.
class Layer {
 public:
  virtual ~Layer() = default;

  virtual std::string kind() const = 0;  // "Linear", as PyTorch names it

  // Infers shapes, names parameters and states, books memory. An error says which shapes do not
  // fit, and why.
  virtual Result<Bound> Bind(const Shape& in, Planner& plan) = 0;

  // x.shape().batch() is the number of samples of this step. y is overwritten.
  virtual void Forward(const Step& step, ConstTensor x, Tensor y) = 0;

  // After Forward in mode kTrain with the same x. x and y are empty unless Bind asked for them. dx
  // is overwritten, or not wanted where it is empty; parameter gradients follow step.accumulate. dy
  // may be used as scratch only where in_place.
  virtual void Backward(const Step& step, ConstTensor x, ConstTensor y, ConstTensor dy,
                        Tensor dx) = 0;

  // Asked before a step with `samples` samples; an error says why the layer cannot run it.
  virtual Result<Admission> Admit(int64_t samples, Mode mode) const {
    (void)samples, (void)mode;
    return Admission::kRun;
  }

  // Adds to `graph` what this layer computes in evaluation mode, from x on, and returns y. After
  // Bind. A layer is exported as itself, whatever was fused with it: a neighbour that it works for
  // comes as a node of its own, but for batch norms where graph.fold_norms().
  virtual Result<Graph::Value> Export(const Step& step, Graph& graph, const Graph::Value& x) const;

  // --- Fusion. Asked by the layer around this one before Bind; a layer that agrees does the
  // neighbour's work as well.

  // The activation that this layer is, if it is nothing else and others know how to apply it.
  virtual std::optional<kernels::Activation> AsActivation() const { return std::nullopt; }
  // Agrees to apply `activation` to its output, and to differentiate through it.
  virtual bool FuseActivation(kernels::Activation activation) {
    (void)activation;
    return false;
  }
  // This layer as a batch norm, if it is one.
  virtual ChannelNorm* AsChannelNorm() { return nullptr; }
  // Agrees to serve the batch norm behind it. `norm` outlives this layer's use of it.
  virtual bool FuseNorm(ChannelNorm* norm) {
    (void)norm;
    return false;
  }
  // Evaluation, after FuseNorm agreed: y = the folded norm (and its activation) of what Forward
  // would give.
  virtual void ForwardFolded(const Step& step, ConstTensor x, kernels::Activation activation,
                             Tensor y) {
    (void)step, (void)x, (void)activation, (void)y;
  }
  // Agrees to add a tensor of its output's shape before its activation, through the two calls
  // below.
  virtual bool FuseAdd() { return false; }
  // y = activation(layer(x) + add)
  virtual void ForwardAdd(const Step& step, ConstTensor x, ConstTensor add, Tensor y) {
    (void)step, (void)x, (void)add, (void)y;
  }
  // As Backward; d_add is the gradient of `add`, overwritten.
  virtual void BackwardAdd(const Step& step, ConstTensor x, ConstTensor y, ConstTensor dy,
                           Tensor dx, Tensor d_add) {
    (void)step, (void)x, (void)y, (void)dy, (void)dx, (void)d_add;
  }
};

// Binds `layer` under `name` in a scope of its own: what a layer that holds others calls for each
// of them.
struct BoundIn {
  Bound bound;
  int begin = 0, end = 0;  // ticks of the plan
};
Result<BoundIn> BindInScope(Layer& layer, const std::string& name, const Shape& in, Planner& plan);

}  // namespace lockstep

#endif  // LOCKSTEP_ENGINE_LAYER_H_
