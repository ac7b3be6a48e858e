#include "engine/plan/graph.h"

#include <fnmatch.h>

#include <algorithm>

#include "engine/base/check.h"
#include "engine/base/random.h"

namespace lockstep::inline v0_1 {
namespace {

// So that what is booked for all values of a network, in bytes, can be counted.
constexpr int64_t kMostElements = int64_t{1} << 50;

Status CheckSize(const char* what, const Shape& shape) {
  if (shape.size() <= kMostElements) return Status::Ok();
  return Status::Invalid(std::string(what) + " of shape " + shape.ToString() + " has more than " +
                         std::to_string(kMostElements) + " elements, which no machine can hold");
}

}  // namespace

Graph::Graph(ParameterStore& store, PlanOptions options, std::vector<std::string> frozen)
    : store_(&store), options_(options), frozen_(std::move(frozen)) {
  report_.push_back({.kind = "model"});
}

Graph::Scope::Scope(Graph& graph, const std::string& name, const std::string& kind,
                    const void* layer, const Shape& in)
    : graph_(graph), report_(graph.report_.size()), outer_path_(graph.path_) {
  const bool whole = name.empty() && graph.path_.empty();
  if (!name.empty()) graph.path_ = graph.FullName(name);
  const auto [known, first] = graph.layers_.emplace(graph.path_, layer);
  again_ = !first && known->second == layer && !whole;
  graph.built_again_ += again_;
  if (!first && known->second != layer && !whole && graph.built_again_ == 0) {
    status_ = Status::Invalid("two layers are named " + graph.path_ +
                              "; give each a name of its own, or build one and the same layer "
                              "again where they are to share parameters");
  }
  const int depth = static_cast<int>(graph.open_.size()) - 1;
  graph.report_.push_back({.path = graph.path_, .kind = kind, .depth = depth, .in = in});
  graph.open_.push_back(report_);
}

Graph::Scope::~Scope() {
  graph_.built_again_ -= again_;
  graph_.path_ = outer_path_;
  graph_.open_.pop_back();
}

Graph::Recomputed::Recomputed(Graph& graph) : graph_(graph), outermost_(graph.region_ < 0) {
  if (!outermost_) return;
  graph.region_ = graph.regions_++;
}

Graph::Recomputed::~Recomputed() {
  if (outermost_) graph_.region_ = -1;
}

void Graph::Scope::SetOutput(const Shape& out) { graph_.report_[report_].out = out; }

Result<Value> Graph::AddInput(const std::string& name, const Shape& shape, DType dtype,
                              bool wants_gradient) {
  if (shape.rank() < 1 || shape.size() <= 0)
    return Status::Invalid("the input shape " + shape.ToString() + " holds nothing");
  LOCKSTEP_TRY(CheckSize("an input", shape));
  if (shape.batch() != batch()) {
    return Status::Invalid("input " + name + " has the shape " + shape.ToString() +
                           ", but batches are of " + std::to_string(batch()) + " samples");
  }
  for (const Input& input : inputs_) {
    if (input.name == name) return Status::Invalid("two inputs are named " + name);
  }
  const Value value = NewValue({shape, dtype, /*batched=*/true}, -1);
  values_.back().input = static_cast<int>(inputs_.size());
  inputs_.push_back({name, value, wants_gradient && dtype == DType::kF32});
  return value;
}

bool Graph::IsFrozen(const std::string& name) const {
  const std::string full = FullName(name);
  return std::any_of(frozen_.begin(), frozen_.end(), [&](const std::string& pattern) {
    return fnmatch(pattern.c_str(), full.c_str(), 0) == 0;
  });
}

Result<Value> Graph::AddParameter(const std::string& name, const Shape& shape, Init init,
                                  Decay decay, FileLayout layout) {
  const std::string full = FullName(name);
  LOCKSTEP_TRY(CheckSize(("parameter " + full).c_str(), shape));
  LOCKSTEP_TRY_ASSIGN(const int id, store_->AddParameter(full, shape, init, decay, IsFrozen(name),
                                                         std::move(layout)));
  const auto known = parameter_values_.find(id);
  if (known != parameter_values_.end()) return known->second;  // shared
  const Value value = NewValue({shape, DType::kF32}, -1);
  values_.back().parameter = id;
  parameter_values_[id] = value;
  for (const size_t row : open_) report_[row].parameters += shape.size();
  return value;
}

Result<State> Graph::AddState(const std::string& name, const Shape& shape, DType dtype,
                              double initial, FileLayout layout) {
  LOCKSTEP_TRY(CheckSize(("state " + FullName(name)).c_str(), shape));
  LOCKSTEP_TRY_ASSIGN(const int id,
                      store_->AddState(FullName(name), shape, dtype, initial, std::move(layout)));
  with_states_[open_.back()] = region_;
  return State{id};
}

Result<std::vector<Value>> Graph::AddOperation(std::unique_ptr<Operation> operation,
                                               std::vector<Value> inputs) {
  for (size_t i = 0; i < inputs.size(); ++i) {
    if (inputs[i].valid() && !Has(inputs[i]))
      return Status::Invalid("input " + std::to_string(i) +
                             " of an operation is a value of another graph: values are of one call "
                             "of Build, and a layer keeps none");
  }
  Node node{.operation = std::move(operation), .inputs = std::move(inputs)};
  node.path = path_;
  node.report = open_.back();
  node.region = region_;
  // Of a layer around it, too, if it has named them in this region: it may hand them on.
  node.has_states = std::any_of(open_.begin(), open_.end(), [&](size_t row) {
    const auto found = with_states_.find(row);
    return found != with_states_.end() &&
           (row == open_.back() || (region_ >= 0 && found->second == region_));
  });
  LOCKSTEP_TRY_ASSIGN(node.declared,
                      node.operation->Declare(InputSpecs(node), node.fused, options_));
  const int id = static_cast<int>(nodes_.size());
  for (const TensorSpec& spec : node.declared.outputs) {
    LOCKSTEP_TRY(CheckSize("a value", spec.shape));
    node.outputs.push_back(NewValue(spec, id));
  }
  for (const size_t row : open_) report_[row].flops += node.declared.flops;
  const std::vector<Value> outputs = node.outputs;
  nodes_.push_back(std::move(node));
  return outputs;
}

Status Graph::AddOutput(const std::string& name, Value value, bool always) {
  if (!Has(value))
    return Status::Invalid("output " + name + " is no value of this graph, but of another or none");
  for (const Named& output : outputs_) {
    if (output.name == name) return Status::Invalid("two outputs are named " + name);
  }
  outputs_.push_back({name, value, always});
  return Status::Ok();
}

Status Graph::AddLossOperation(const std::string& name, std::unique_ptr<Operation> operation,
                               std::vector<Value> inputs, double factor) {
  const bool weighted = sample_weights_.valid();
  if (weighted && !static_cast<const LossOperation&>(*operation).takes_weights())
    return Status::Invalid("loss " + name + ": takes no weights of samples");
  if (weighted) inputs.push_back(sample_weights_);
  LOCKSTEP_TRY(AddOperation(std::move(operation), std::move(inputs)).status().At("loss " + name));
  const TensorSpec& sum = spec(nodes_.back().outputs.front());
  LOCKSTEP_CHECK(sum.dtype == DType::kF64 && sum.shape.size() == 1, "a loss gives one double");
  nodes_.back().loss = static_cast<int>(losses_.size());
  losses_.push_back({name, static_cast<int>(nodes_.size()) - 1, factor, weighted});
  return Status::Ok();
}

void Graph::DropLosses() {
  while (!losses_.empty()) {
    const int node = losses_.back().node;
    losses_.pop_back();
    Remove(node);
  }
}

uint64_t Graph::NewStream(const std::string& purpose) {
  const std::string name = purpose + ":" + path_;
  const int use = streams_[name]++;
  return StreamOf(use == 0 ? name : name + "#" + std::to_string(use));
}

void Graph::SetTrait(const std::string& kind, const std::string& text) {
  traits_[kind + "." + path_] = text;
}

Value Graph::NewValue(const TensorSpec& spec, int node) {
  values_.push_back({.spec = spec, .node = node});
  return {static_cast<int>(values_.size()) - 1, identity_.get()};
}

bool Graph::IsTarget(size_t input) const {
  const Value value = inputs_[input].value;
  bool read = false;
  for (const Node& node : nodes_) {
    for (size_t i = 0; i < node.inputs.size(); ++i) {
      if (!(node.inputs[i] == value)) continue;
      if (node.loss < 0 || i == 0) return false;
      read = true;
    }
  }
  return read;
}

int Graph::Readers(Value value) const {
  int readers = 0;
  for (const Node& node : nodes_) {
    readers += static_cast<int>(std::count(node.inputs.begin(), node.inputs.end(), value));
  }
  for (const Named& output : outputs_) readers += output.value == value;
  return readers;
}

void Graph::TakeOver(int to, int from) {
  Node& taker = nodes_[static_cast<size_t>(to)];
  const Node& taken = nodes_[static_cast<size_t>(from)];
  taker.outputs[0] = taken.outputs[0];
  values_[static_cast<size_t>(taker.outputs[0].id)].node = to;
  Erase(from);
}

void Graph::Remove(int node) {
  for (const Value y : nodes_[static_cast<size_t>(node)].outputs) {
    for (Named& output : outputs_) {
      if (output.value == y) output.value = Value();
    }
    values_[static_cast<size_t>(y.id)].node = -1;
  }
  Erase(node);
}

void Graph::Erase(int node) {
  nodes_.erase(nodes_.begin() + node);
  for (ValueInfo& value : values_) {
    if (value.node > node) --value.node;
  }
  for (Loss& loss : losses_) {
    if (loss.node > node) --loss.node;
  }
}

void Graph::Insert(int at, Node node) {
  for (ValueInfo& value : values_) {
    if (value.node >= at) ++value.node;
  }
  for (Loss& loss : losses_) {
    if (loss.node >= at) ++loss.node;
  }
  for (const Value output : node.outputs) values_[static_cast<size_t>(output.id)].node = at;
  nodes_.insert(nodes_.begin() + at, std::move(node));
}

std::vector<TensorSpec> Graph::InputSpecs(const Node& node) const {
  std::vector<TensorSpec> specs;
  for (const Value value : node.inputs)
    specs.push_back(value.valid() ? spec(value) : TensorSpec{Shape{}, DType::kU8});
  return specs;
}

std::string Graph::NameOf(const Node& node) const {
  const std::string& kind = report_[node.report].kind;
  return node.path.empty() ? kind : node.path + " " + kind;
}

}  // namespace lockstep
