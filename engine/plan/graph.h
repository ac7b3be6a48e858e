// A network as a graph: values, and the operations that make one of others. Layers add operations
// to it in the order in which they are to run; a Program (program.h) is made of the finished graph.
//
//   Result<Value> Build(Graph& g, Value x) const override {
//     LOCKSTEP_TRY_ASSIGN(const Value y, Apply(g, "body", *body_, x));
//     return g.Add(Sum(), {y, x});
//   }
#ifndef LOCKSTEP_ENGINE_PLAN_GRAPH_H_
#define LOCKSTEP_ENGINE_PLAN_GRAPH_H_

#include <concepts>
#include <cstdint>
#include <initializer_list>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "engine/plan/operation.h"
#include "engine/plan/parameters.h"

namespace lockstep::inline v0_1 {

// A value of one graph, which no other graph takes. A default-made one stands for nothing: an input
// that is left out.
struct Value {
  int id = -1;
  const void* graph = nullptr;  // stands for the graph that gave it; null: whoever asks knows it
  bool valid() const { return id >= 0; }
  bool operator==(const Value& other) const { return id == other.id; }
};

// One row of what `lockstep plan` prints.
struct LayerReport {
  std::string path{};  // "0", "3.body.1"; empty for the whole network
  std::string kind{};
  int depth = 0;
  Shape in{}, out{};
  int64_t parameters = 0;           // elements, inner layers included
  double flops = 0.0;               // of one forward pass at the bound batch, inner layers included
  int64_t bytes = 0;                // booked by this layer itself: activations, statistics, scratch
  bool bias_has_no_effect = false;  // the norm behind it takes it away again
  int bias_before_norm = -1;  // a parameter: the bias of what a norm alone reads, if it has one
  std::vector<std::string> notes{};  // what the user should know
};

// What a layer wants to be remembered of it in every checkpoint, because a model must not be read
// into a layer that computes otherwise: {"batch_norm.1", "torch momentum=0.1 eps=1e-05"}.
using LayerTraits = std::map<std::string, std::string>;

// Thread-compatible. Borrows the store.
class Graph {
 public:
  struct Node {
    std::unique_ptr<Operation> operation;
    std::vector<Value> inputs{}, outputs{};
    Declaration declared{};
    Fused fused{};
    std::string path{};       // of the layer that added it
    size_t report = 0;        // that layer's row
    int loss = -1;            // its number among the losses
    int region = -1;          // of what is computed again before Backward, see Graph::Recomputed
    bool has_states = false;  // it is of a layer that has: then it does not run twice
  };
  struct ValueInfo {
    TensorSpec spec{};
    int node = -1;       // that computes it; -1: comes from outside
    int input = -1;      // its number among the inputs; -1: is none
    int parameter = -1;  // its number in the store; -1: is none
  };
  struct Input {
    std::string name;
    Value value;
    bool wants_gradient = false;
  };
  struct Named {
    std::string name;
    Value value;  // none: this graph leaves it out
    bool always = false;
  };
  struct Loss {
    std::string name;
    int node = -1;
    double factor = 1.0;
    bool weighted = false;  // by SetSampleWeights
  };

  // `frozen`: shell patterns on names of parameters ("body.*").
  Graph(ParameterStore& store, PlanOptions options, std::vector<std::string> frozen = {});
  Graph(Graph&&) = default;

  // ---- What layers and models call.

  const PlanOptions& options() const { return options_; }
  // Whether layers compute as in training: by the batch's statistics, with dropout.
  bool training() const { return options_.training && !options_.evaluates; }
  int64_t batch() const { return options_.samples; }  // the first extent of every input

  // A tensor that comes with each step, with batch() in front. Names are distinct.
  Result<Value> AddInput(const std::string& name, const Shape& shape, DType dtype = DType::kF32,
                         bool wants_gradient = false);
  // Names are completed by the path: "weight" becomes "3.body.weight". A layer that is built again
  // under the same name shares what it named before.
  Result<Value> AddParameter(const std::string& name, const Shape& shape, Init init, Decay decay,
                             FileLayout layout = {});
  Result<State> AddState(const std::string& name, const Shape& shape, DType dtype, double initial,
                         FileLayout layout = {});
  // Whether what this layer would name so is not to change in training.
  bool IsFrozen(const std::string& name) const;

  // One operation on `inputs`, among which those that are left out are Value(). The error says why
  // the inputs do not fit.
  Result<std::vector<Value>> AddOperation(std::unique_ptr<Operation> operation,
                                          std::vector<Value> inputs);
  // The same for one output.
  template <std::derived_from<Operation> O>
  Result<Value> Add(O operation, std::initializer_list<Value> inputs) {
    LOCKSTEP_TRY_ASSIGN(const std::vector<Value> outputs,
                        AddOperation(std::make_unique<O>(std::move(operation)), inputs));
    return outputs.front();
  }

  // A value that can be read after a step. Names are distinct. A training step may leave one out
  // that only its loss needs, and that a part at a time, unless it is wanted `always`.
  Status AddOutput(const std::string& name, Value value, bool always = false);
  // What training makes small: the sum over all losses of factor * sum / weight.
  template <std::derived_from<LossOperation> O>
  Status AddLoss(const std::string& name, O operation, std::initializer_list<Value> inputs,
                 double factor = 1.0) {
    return AddLossOperation(name, std::make_unique<O>(std::move(operation)), inputs, factor);
  }
  // Losses that are added from now on weigh each sample: f32 (batch); or no longer: Value(). A loss
  // whose operation cannot (LossOperation::takes_weights) is then an error.
  void SetSampleWeights(Value weights) { sample_weights_ = weights; }
  // For who differentiates what a finished model gives: its losses go, and this input's gradient,
  // of those that are added now, is wanted.
  void DropLosses();
  void WantGradient(size_t input) { inputs_[input].wants_gradient = true; }

  // Whether this graph has given the value.
  bool Has(Value value) const {
    return value.valid() && static_cast<size_t>(value.id) < values_.size() &&
           (value.graph == nullptr || value.graph == identity_.get());
  }
  const TensorSpec& spec(Value value) const {
    LOCKSTEP_CHECK(Has(value), "a value of another graph, or of none");
    return info(value).spec;
  }
  const Shape& shape(Value value) const { return spec(value).shape; }

  // While it lives, names begin with `name` as well. `layer` is who builds: another layer of the
  // same name in the same place is an error, see status(). What a layer builds when it is built
  // again goes by the names it had, though it may be made anew.
  class Scope {
   public:
    Scope(Graph& graph, const std::string& name, const std::string& kind, const void* layer,
          const Shape& in = {});
    ~Scope();
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;
    Status status() const { return status_; }
    void SetOutput(const Shape& out);  // for the report

   private:
    Graph& graph_;
    size_t report_;
    std::string outer_path_;
    Status status_;
    bool again_ = false;  // this layer was built here before
  };
  // While it lives, what is added is of one region: in training, what it computes for its own
  // Backward is not held until then, but computed again from the region's inputs
  // (torch.utils.checkpoint; see timetable.h). Less memory, more time, the same bits. Within
  // another region it changes nothing.
  class Recomputed {
   public:
    explicit Recomputed(Graph& graph);
    ~Recomputed();
    Recomputed(const Recomputed&) = delete;
    Recomputed& operator=(const Recomputed&) = delete;

   private:
    Graph& graph_;
    const bool outermost_;
  };
  const std::string& path() const { return path_; }
  // A stream of random numbers that belongs to this layer, and to this use of it.
  uint64_t NewStream(const std::string& purpose);
  // Adds a remark to the report of the layer that is being built.
  void Note(const std::string& text) { report_[open_.back()].notes.push_back(text); }
  void SetTrait(const std::string& kind, const std::string& text);
  // What the layers of this path gave: for outputs of inner layers, by name.
  void SetLayerOutput(Value value) { layer_outputs_[path_] = value; }

  // ---- What the plan reads and the fusion rules change.

  std::vector<Node>& nodes() { return nodes_; }
  const std::vector<Node>& nodes() const { return nodes_; }
  const ValueInfo& info(Value value) const { return values_[static_cast<size_t>(value.id)]; }
  size_t value_count() const { return values_.size(); }
  const std::vector<Input>& inputs() const { return inputs_; }
  const std::vector<Named>& outputs() const { return outputs_; }
  const std::vector<Loss>& losses() const { return losses_; }
  const std::map<std::string, Value>& layer_outputs() const { return layer_outputs_; }
  std::vector<LayerReport>& report() { return report_; }
  const std::vector<LayerReport>& report() const { return report_; }
  const LayerTraits& traits() const { return traits_; }
  ParameterStore& store() const { return *store_; }

  // Whether an input is nothing but what losses compare with, or weigh by.
  bool IsTarget(size_t input) const;
  // A further value that `node` computes, or that becomes of its inputs what Declare says now.
  Value NewValue(const TensorSpec& spec, int node);
  // How many operations and outputs read a value.
  int Readers(Value value) const;
  // Removes node `from`, whose one output is from now on computed by node `to`.
  void TakeOver(int to, int from);
  // Removes a node whose outputs nothing reads any more: outputs of the graph are left out.
  void Remove(int node);
  // Puts a node, with outputs that nothing computes yet, at place `at`.
  void Insert(int at, Node node);
  // The specs of a node's inputs.
  std::vector<TensorSpec> InputSpecs(const Node& node) const;
  // "0 Linear"
  std::string NameOf(const Node& node) const;

 private:
  Status AddLossOperation(const std::string& name, std::unique_ptr<Operation> operation,
                          std::vector<Value> inputs, double factor);
  void Erase(int node);
  std::string FullName(const std::string& name) const {
    return path_.empty() ? name : path_ + "." + name;
  }

  ParameterStore* store_;
  std::unique_ptr<char> identity_ = std::make_unique<char>();  // its address is in every Value
  PlanOptions options_;
  std::vector<std::string> frozen_;
  std::string path_;
  int built_again_ = 0;                // open scopes of layers that were built before
  std::vector<size_t> open_ = {0};     // rows of the report of the layers that are being built
  int region_ = -1, regions_ = 0;      // the one that is open, and how many there have been
  std::map<size_t, int> with_states_;  // rows of the report, and the region that was open then
  std::vector<Node> nodes_;
  std::vector<ValueInfo> values_;
  std::vector<Input> inputs_;
  std::vector<Named> outputs_;
  std::vector<Loss> losses_;
  Value sample_weights_;
  std::vector<LayerReport> report_;
  LayerTraits traits_;
  std::map<std::string, Value> layer_outputs_;
  std::map<int, Value> parameter_values_;
  std::map<std::string, const void*> layers_;  // who was built under a path
  std::map<std::string, int> streams_;
};

}  // namespace lockstep

#endif  // LOCKSTEP_ENGINE_PLAN_GRAPH_H_
