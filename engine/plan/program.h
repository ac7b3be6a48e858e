// A network that is ready to run: the operations of a graph in order, after fusion, each with the
// memory it works in. This is the only place that decides lifetimes.
//
// Time runs forward through the operations and backward through them in reverse (timetable.h). A
// value lives from the operation that computes it to the last that reads it, forward or backward;
// one that is not held until then has two lives, in the same place: forward, and from where it is
// computed again. A gradient lives from the first that writes it to the operation whose output it
// belongs to. What does not live at the same time shares memory (arena.h). Views and operations
// that may write over their input keep a value where it was. The first writer of a gradient
// overwrites, later ones add.
#ifndef LOCKSTEP_ENGINE_PLAN_PROGRAM_H_
#define LOCKSTEP_ENGINE_PLAN_PROGRAM_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "engine/parallel/function_ref.h"
#include "engine/plan/arena.h"
#include "engine/plan/gradient_flow.h"
#include "engine/plan/graph.h"
#include "engine/plan/rules.h"
#include "engine/plan/timetable.h"

namespace lockstep::inline v0_1 {

// Watches the layers of a step from outside: for timing, for statistics of activations and
// gradients, for finding where a NaN began. Called on the thread that drives the step, once for
// each operation; what was fused is seen as the layer that does the work, and what is computed again
// (timetable.h) as part of the Backward that it comes before.
class StepObserver {
 public:
  virtual ~StepObserver() = default;
  // `layer` is its path ("0", "3.body.1").
  virtual void Before(const std::string& layer, bool backward) = 0;
  // `result` is y after Forward, the gradient of x after Backward (empty where it was not wanted).
  virtual void After(const std::string& layer, bool backward, ConstTensor result) = 0;
};

struct ProgramOptions {
  Fusion fusion = Fusion::kAll;
  bool share_memory = true;  // false: every buffer has memory of its own, to test lifetimes
};

// Thread-compatible; borrows the graph's ParameterStore and the memory that Place hands it.
class Program {
 public:
  static Result<std::unique_ptr<Program>> Make(Graph graph, const ProgramOptions& options);

  // What it needs: memory of a step, whose content may be lost between steps (but for what outputs
  // hold), and memory that is its own for ever.
  int64_t step_bytes() const { return layout_.bytes; }
  int64_t kept_bytes() const { return layout_.kept_bytes + layout_.derived_bytes; }
  // Of that the last part, which is made of parameters and states alone (Refresh).
  int64_t derived_bytes() const { return layout_.derived_bytes; }
  int64_t unshared_bytes() const { return layout_.unshared_bytes; }
  // After the store has been allocated, before anything runs.
  void Place(std::byte* step_memory, std::byte* kept_memory);
  // From here on parameters are where the store has them now, and what is derived of them is there:
  // as Refresh left it, here or in another program of the same plan. Allocates nothing.
  void PlaceWeights(std::byte* derived_memory);

  const Graph& graph() const { return graph_; }
  const std::vector<std::string>& fusions() const { return fusions_; }
  // Of what Backward computes again because it was not held (Graph::Recomputed), at the largest
  // batch.
  double repeated_flops() const { return repeated_flops_; }

  // ---- One step, in this order. Nothing here allocates unless it fails.

  // The cut of the batch that comes.
  void SetCut(const BatchCut& cut);
  // Input i: as many samples as the cut has here, of the input's type. Borrowed.
  void SetInput(size_t i, ConstTensor x);
  // Output i goes there this time (samples, ...); an empty tensor: to memory of its own again.
  void SetOutput(size_t i, Tensor y);
  Result<Admission> Admit(const BatchCut& cut) const;
  Status Check(const Step& step, bool losses = true) const;
  double LossWeight(const Step& step, size_t loss) const;
  // With or without the losses (and then without their targets).
  void Forward(const Step& step, bool losses, StepObserver* observer = nullptr);
  // After Forward; where Step::backward_follows, after Backward.
  double LossSum(size_t loss) const;
  // factors: of each loss's sum in the whole. `final` is called with the number of each parameter
  // as soon as nothing more is added to its gradient, in the same order in every step.
  void Backward(const Step& step, std::span<const double> factors, StepObserver* observer = nullptr,
                const std::function<void(int parameter)>* final = nullptr);

  // The parameters as Backward calls `final` for them.
  std::vector<int> final_order() const;
  // Parameters of whose gradients no operation reports whether they are finite.
  const std::vector<int>& unreported_parameters() const { return unreported_parameters_; }
  // Whether an operation says that its states differ by rank.
  bool states_differ_by_rank() const;
  // Shared parameters to whose gradient several operations add in one place: sums over ranks or
  // parts of a batch would be others. None where PlanOptions says that there are such.
  const std::vector<int>& merged_parameters() const { return merged_parameters_; }

  // Outputs and gradients of inputs hold until the next step; an output that is left out is empty.
  ConstTensor value(Value value) const { return values_[Id(value)]; }
  ConstTensor output(size_t i) const {
    const Value output = graph_.outputs()[i].value;
    return output.valid() ? ConstTensor(value(output)) : ConstTensor();
  }
  ConstTensor input_gradient(size_t i) const { return gradients_[Id(graph_.inputs()[i].value)]; }

  // The operands of a node's Forward: for what looks at a program from outside (export).
  Operands ForwardOperands(size_t node) const { return {runs_[node].forward, false}; }
  // Makes what is derived from parameters, if they have changed.
  void Refresh(const Step& step);

  const RowGrid& rows(int id) const { return *rows_[static_cast<size_t>(id)]; }
  std::byte* buffer(int id) const { return buffers_[static_cast<size_t>(id)]; }
  int64_t state_offset(int id) const {
    return graph_.store().states()[static_cast<size_t>(id)].offset;
  }

 private:
  class NodeBooking;
  // How one operation runs.
  struct Run {
    Operands::Arrays forward, backward;
    struct Sum {  // a gradient that the operation cannot add to: it writes `from`, the plan adds
      Tensor from;
      const Tensor* into = nullptr;
      int value = -1;
      bool first = false;  // nothing is there yet, unless gradients of parameters are accumulated
    };
    std::vector<Sum> sums;
    std::vector<int> sum_inputs, sum_buffers;  // of each: which input, and where `from` lies
    struct Further {  // a gradient of a shared parameter that is added up by itself
      int input = -1;
      int number = -1;  // in the store
      Tensor gradient{};
    };
    std::vector<Further> further;
    std::vector<int> final_parameters;  // whose last writer it is
  };
  // Where a value or a gradient lies.
  struct Home {
    enum class Kind { kNone, kBuffer, kInput, kParameter };
    Kind kind = Kind::kNone;
    int group = -1;   // values of one group are the same memory
    int buffer = -1;  // of the arena
  };

  Program(Graph graph, const ProgramOptions& options)
      : graph_(std::move(graph)), options_(options) {}

  static size_t Id(Value value) { return static_cast<size_t>(value.id); }
  int nodes() const { return static_cast<int>(graph_.nodes().size()); }

  bool HasGradient(size_t value) const { return flow_.reaches({static_cast<int>(value)}); }
  bool WantsGradient(int node, size_t input) const { return flow_.wants_dx(graph_, node, input); }
  void PlaceValues();
  void PlaceGradients();
  void BookOperations();
  void MakeOperands();
  void RunForward(const Step& step, size_t node, StepObserver* observer);
  void SetShape(Tensor& tensor, const TensorSpec& spec) const;
  std::byte* Address(int buffer) const;
  std::byte* ParameterAt(size_t value) const;
  void SetAddress(std::span<const size_t> values, void* data);

  Graph graph_;
  ProgramOptions options_;
  std::vector<std::string> fusions_;
  GradientFlow flow_;
  Timetable times_;
  double repeated_flops_ = 0.0;
  std::vector<Home> value_homes_, gradient_homes_;
  std::vector<std::vector<size_t>> members_;  // by group: its values
  std::vector<int> owners_;                   // by buffer: the report's row
  ArenaPlan arena_;
  ArenaPlan::Layout layout_;
  std::vector<std::unique_ptr<RowGrid>> rows_;
  std::vector<std::pair<int64_t, int64_t>> row_cuts_;  // of each: rows per sample, rows per line
  BatchCut cut_{.global_samples = -1};
  int64_t samples_ = -1;
  std::byte *step_memory_ = nullptr, *kept_memory_ = nullptr, *derived_memory_ = nullptr;
  std::vector<std::byte*> buffers_;
  std::vector<Tensor> values_, gradients_;  // by value
  std::vector<double> loss_seeds_;
  std::vector<int> unreported_parameters_, merged_parameters_;
  std::vector<Run> runs_;  // by node
  // What a step goes through: all but what is derived from parameters; and those that read an
  // input, which they may check.
  std::vector<size_t> in_order_, checks_;
  std::vector<Tensor> redirected_;  // by output: where the caller wants it
  uint64_t derived_version_ = 0;
};

}  // namespace lockstep

#endif  // LOCKSTEP_ENGINE_PLAN_PROGRAM_H_
