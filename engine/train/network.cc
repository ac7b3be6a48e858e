#include "engine/train/network.h"

#include <fnmatch.h>

#include <algorithm>

#include "engine/base/catch.h"
#include "engine/base/float_mode.h"
#include "engine/train/training_step.h"

namespace lockstep::inline v0_1 {
namespace {

// A layer and a loss as a model of one input and one output.
class LayerModel final : public Model {
 public:
  LayerModel(const Layer& layers, const Loss* loss, const NetworkOptions& options)
      : layers_(layers), loss_(loss), options_(options) {}

  Status Build(Graph& graph) const override {
    const bool goes_on = graph.options().cache_tokens > 0;
    const Shape shape = goes_on ? Shape{graph.batch(), 1} : options_.input.WithBatch(graph.batch());
    LOCKSTEP_TRY_ASSIGN(const Value x,
                        graph.AddInput("x", shape, options_.input_dtype, options_.input_gradient));
    LOCKSTEP_TRY_ASSIGN(const Value y, Apply(graph, "", layers_, x));
    LOCKSTEP_TRY(graph.AddOutput("y", y));
    return loss_ == nullptr || goes_on
               ? Status::Ok()
               : AddLoss(graph, "target", *loss_, y, 1.0, options_.weighted ? "weights" : "");
  }

 private:
  const Layer& layers_;
  const Loss* loss_;
  const NetworkOptions& options_;
};

Status CheckOptions(const NetworkOptions& options, bool has_loss) {
  if (options.input.rank() < 1 || options.input.size() <= 0) {
    return Status::Invalid("the input shape " + options.input.ToString() + " holds nothing");
  }
  if (options.evaluation_batch < 0)
    return Status::Invalid("evaluation_batch must be 0 or more, not " +
                           std::to_string(options.evaluation_batch));
  if (options.shards < 1)
    return Status::Invalid("shards must be at least 1, not " + std::to_string(options.shards));
  if (options.parts < 1)
    return Status::Invalid("parts must be at least 1, not " + std::to_string(options.parts));
  if (options.training && !has_loss) return Status::Invalid("a network that trains needs a loss");
  const int ranks = options.communicator == nullptr ? 1 : options.communicator->size();
  if (ranks > 1 && !BatchCut::IsRegular(options.shards, ranks)) {
    return Status::Invalid(std::to_string(options.shards) + " shards on " + std::to_string(ranks) +
                           " ranks: each rank must hold a power of two of them, so take " +
                           std::to_string(ranks) + ", " + std::to_string(2 * ranks) + ", " +
                           std::to_string(4 * ranks) + ", ... shards");
  }
  return Status::Ok();
}

// A program beside those that a network runs, in memory of its own.
Result<std::unique_ptr<Program>> MakePlaced(Context& ctx, Graph graph,
                                            const ProgramOptions& options, PageMemory& memory) {
  LOCKSTEP_TRY_ASSIGN(std::unique_ptr<Program> program, Program::Make(std::move(graph), options));
  memory = PageMemory(ctx, program->step_bytes() + program->kept_bytes());
  program->Place(memory.data(), memory.data() + program->step_bytes());
  return program;
}

}  // namespace

Network::Network() = default;
// A TrainingStep refers to its network, so each place of it makes its own.
Network::Network(Network&& other) noexcept { *this = std::move(other); }
Network& Network::operator=(Network&& other) noexcept {
  if (this == &other) return *this;
  ctx_ = std::exchange(other.ctx_, nullptr);
  options_ = std::move(other.options_);
  layers_ = std::move(other.layers_);
  loss_ = std::move(other.loss_);
  model_ = std::move(other.model_);
  store_ = std::move(other.store_);
  training_program_ = std::move(other.training_program_);
  evaluation_program_ = std::move(other.evaluation_program_);
  last_ = std::exchange(other.last_, nullptr);
  had_backward_ = other.had_backward_;
  gradients_lost_ = other.gradients_lost_;
  arena_ = std::move(other.arena_);
  step_bytes_ = other.step_bytes_;
  input_ = other.input_;
  output_ = other.output_;
  feature_inputs_ = std::move(other.feature_inputs_);
  sums_ = std::move(other.sums_);
  weights_ = std::move(other.weights_);
  factors_ = std::move(other.factors_);
  admitted_ = other.admitted_;
  steps_ = other.steps_;
  step_.reset();
  other.step_.reset();
  return *this;
}
Network::~Network() = default;

Result<Network> Network::Bind(Context& ctx, std::unique_ptr<Layer> layers,
                              std::unique_ptr<Loss> loss, const NetworkOptions& options) {
  return StatusOf([&]() -> Result<Network> {
    if (layers == nullptr) return Status::Invalid("layers is null: a network needs some");
    LOCKSTEP_TRY(CheckOptions(options, loss != nullptr));
    Network net;
    net.ctx_ = &ctx;
    net.options_ = options;
    net.layers_ = std::move(layers);
    net.loss_ = std::move(loss);
    LOCKSTEP_TRY(net.BuildPrograms());
    return net;
  });
}

Result<Network> Network::Bind(Context& ctx, std::unique_ptr<Model> model, int64_t batch,
                              NetworkOptions options) {
  return StatusOf([&]() -> Result<Network> {
    if (model == nullptr) return Status::Invalid("model is null: a network needs one");
    if (batch < 1)
      return Status::Invalid("batch must be 1 or more samples, not " + std::to_string(batch));
    options.input = {batch};
    LOCKSTEP_TRY(CheckOptions(options, /*has_loss=*/true));
    Network net;
    net.ctx_ = &ctx;
    net.options_ = std::move(options);
    net.model_ = std::move(model);
    LOCKSTEP_TRY(net.BuildPrograms());
    return net;
  });
}

Result<Network> Network::BindShared(Context& ctx, int64_t batch) const {
  return StatusOf([&]() -> Result<Network> {
    if (batch < 1)
      return Status::Invalid("a batch must hold at least 1 sample, not " + std::to_string(batch));
    Network net;
    net.ctx_ = &ctx;
    net.options_ = options_;
    net.options_.input = options_.input.WithBatch(batch);
    net.options_.evaluation_batch = 0;
    net.options_.training = false;
    net.options_.communicator = nullptr;
    net.options_.layer_outputs.clear();
    net.options_.input_gradient = false;
    net.layers_ = layers_;
    net.loss_ = loss_;
    net.model_ = model_;
    LOCKSTEP_TRY(net.BuildPrograms(/*borrows_weights=*/true));
    return net;
  });
}

void Network::UseWeights(std::byte* weights) {
  std::byte* const states = weights + store_->parameter_bytes();
  store_->Borrow(weights, states);
  Program& program = *evaluation_program_;
  if (arena_.data() == nullptr) {
    arena_ = PageMemory(
        *ctx_, std::max<int64_t>(1, step_bytes_ + program.kept_bytes() - program.derived_bytes()));
    program.Place(arena_.data(), arena_.data() + step_bytes_);
  }
  program.PlaceWeights(states + store_->state_bytes());
}

void Network::DeriveWeights() {
  const ScopedFloatMode mode;
  store_->Changed();
  Program& program = *evaluation_program_;
  program.Refresh(
      MakeStep(program, BatchCut::Whole(batch(), options_.shards), 0, 0, /*staged=*/false));
}

Result<Graph> Network::Build(PlanOptions plan) const {
  Graph graph(*store_, plan, options_.frozen);
  LOCKSTEP_TRY(model_ != nullptr ? model_->Build(graph)
                                 : LayerModel(*layers_, loss_.get(), options_).Build(graph));
  if (graph.inputs().empty() || graph.outputs().empty())
    return Status::Invalid("a model needs an input and an output");
  for (const std::string& name : options_.layer_outputs) {
    const auto found = graph.layer_outputs().find(name);
    if (found == graph.layer_outputs().end())
      return Status::Invalid("there is no layer " + name + " whose output could be kept");
    LOCKSTEP_TRY(graph.AddOutput(name, found->second, /*always=*/true));
  }
  return graph;
}

Status Network::BuildPrograms(bool borrows_weights) {
  store_ = std::make_unique<ParameterStore>();
  const int ranks = options_.communicator == nullptr ? 1 : options_.communicator->size();
  const ProgramOptions program{.fusion = options_.fusion, .share_memory = options_.share_memory};
  PlanOptions plan{.training = true,
                   .keeps_training = options_.training,
                   .threads = ctx_->threads(),
                   .shards = options_.shards / ranks,
                   .ranks = ranks,
                   .parts = options_.parts,
                   .samples = options_.input.batch()};
  if (options_.training) {
    LOCKSTEP_TRY_ASSIGN(Graph graph, Build(plan));
    if (graph.losses().empty()) return Status::Invalid("a network that trains needs a loss");
    LOCKSTEP_TRY_ASSIGN(training_program_, Program::Make(std::move(graph), program));
  }
  const size_t trained = store_->infos().size();
  // Each rank evaluates whole batches, in all shards.
  plan.training = false;
  plan.shards = options_.shards;
  plan.ranks = 1;
  plan.parts = 1;
  plan.samples = MostEvaluated();
  LOCKSTEP_TRY_ASSIGN(Graph graph, Build(plan));
  LOCKSTEP_TRY_ASSIGN(evaluation_program_, Program::Make(std::move(graph), program));
  if (options_.training && store_->infos().size() > trained) {
    return Status::Invalid(
        "parameter " + store_->infos()[trained].name +
        " is named when the model is built for evaluation and not when it is built for training, "
        "which would then never change it: Build must name the same parameters for both");
  }
  for (const std::string& pattern : options_.frozen) {
    const bool found =
        std::any_of(store_->infos().begin(), store_->infos().end(), [&](const ParameterInfo& info) {
          return fnmatch(pattern.c_str(), info.name.c_str(), 0) == 0;
        });
    if (found) continue;
    std::string message = "no parameter matches '" + pattern + "', to be frozen";
    if (!store_->infos().empty()) message += "; names look like " + store_->infos().front().name;
    return Status::NotFound(message);
  }

  const int64_t evaluation_kept = evaluation_program_->kept_bytes();
  const int64_t training_kept = options_.training ? training_program_->kept_bytes() : 0;
  step_bytes_ = std::max(evaluation_program_->step_bytes(),
                         options_.training ? training_program_->step_bytes() : 0);
  if (!borrows_weights) {
    store_->Allocate(*ctx_, options_.seed, options_.training);
    arena_ = PageMemory(*ctx_, step_bytes_ + evaluation_kept + training_kept);
    std::byte* const kept = arena_.data() + step_bytes_;
    evaluation_program_->Place(arena_.data(), kept);
    if (options_.training) training_program_->Place(arena_.data(), kept + evaluation_kept);
  }

  const Graph& built = evaluation_program_->graph();
  input_ = built.shape(built.inputs()[0].value).WithBatch(batch());
  output_ = built.shape(built.outputs()[0].value).WithBatch(batch());
  sums_.resize(built.losses().size());
  weights_.resize(built.losses().size());
  factors_.resize(built.losses().size());
  for (size_t i = 0; i < built.inputs().size(); ++i) {
    if (!built.IsTarget(i)) feature_inputs_.push_back(i);
  }
  return Status::Ok();
}

Result<std::unique_ptr<Program>> Network::BuildForExport(Fusion fusion, PageMemory& memory) const {
  LOCKSTEP_TRY(CheckReady());
  // One sample, and the weights as they are.
  LOCKSTEP_TRY_ASSIGN(Graph graph,
                      Build({.training = false, .keeps_training = true, .samples = 1}));
  return MakePlaced(*ctx_, std::move(graph), {.fusion = fusion}, memory);
}

Result<std::unique_ptr<Program>> Network::BuildForText(int64_t tokens_at_once, int64_t most_tokens,
                                                       PageMemory& memory) const {
  LOCKSTEP_TRY(CheckReady());
  LOCKSTEP_TRY_ASSIGN(Graph graph, Build({.training = false,
                                          .keeps_training = false,
                                          .threads = ctx_->threads(),
                                          .samples = tokens_at_once,
                                          .cache_tokens = most_tokens}));
  return MakePlaced(*ctx_, std::move(graph), {.fusion = options_.fusion}, memory);
}

Result<std::unique_ptr<Program>> Network::BuildForDerivatives(
    int64_t samples, const std::function<Status(Graph&)>& finish, PageMemory& memory) const {
  LOCKSTEP_TRY(CheckReady());
  LOCKSTEP_TRY_ASSIGN(
      Graph graph,
      Build({.training = true, .evaluates = true, .threads = ctx_->threads(), .samples = samples}));
  graph.DropLosses();
  LOCKSTEP_TRY(finish(graph));
  return MakePlaced(*ctx_, std::move(graph),
                    {.fusion = options_.fusion, .share_memory = options_.share_memory}, memory);
}

int64_t Network::parameter_count() const {
  int64_t count = 0;
  for (const ParameterInfo& info : store_->infos()) count += info.shape.size();
  return count;
}

}  // namespace lockstep
