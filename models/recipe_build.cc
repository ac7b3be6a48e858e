// From a recipe to network, optimizer and training options.
#include <algorithm>
#include <cmath>
#include <limits>
#include <variant>

#include "engine/base/integers.h"
#include "engine/base/text.h"
#include "engine/optim/adam.h"
#include "engine/optim/sgd.h"
#include "engine/parallel/shards.h"
#include "engine/train/weight_files.h"
#include "layers/loss/bce_with_logits.h"
#include "layers/loss/cross_entropy.h"
#include "layers/loss/huber.h"
#include "layers/loss/mse.h"
#include "layers/loss/pinball.h"
#include "models/recipe_keys.h"
#include "models/recipe_saved.h"

namespace lockstep::inline v0_1 {
namespace {

// ---- Losses -------------------------------------------------------------------------------------

std::unique_ptr<Loss> Bce(const Recipe::Loss& loss, const DatasetInfo&) {
  BceWithLogitsLossOptions options;
  if (loss.pos_weight != 1.0) options.pos_weight = {static_cast<float>(loss.pos_weight)};
  return std::make_unique<BceWithLogitsLoss>(std::move(options));
}

std::unique_ptr<Loss> CrossEntropy(const Recipe::Loss& loss, const DatasetInfo& info) {
  CrossEntropyLossOptions options{.label_smoothing = loss.label_smoothing,
                                  .probabilities = info.target_dtype == DType::kF32};
  for (const double w : loss.class_weights) options.class_weights.push_back(static_cast<float>(w));
  return std::make_unique<CrossEntropyLoss>(std::move(options));
}

std::unique_ptr<Loss> Mse(const Recipe::Loss&, const DatasetInfo&) {
  return std::make_unique<MseLoss>();
}
std::unique_ptr<Loss> Huber(const Recipe::Loss& loss, const DatasetInfo&) {
  return std::make_unique<HuberLoss>(loss.delta);
}
std::unique_ptr<Loss> Quantile(const Recipe::Loss& loss, const DatasetInfo&) {
  return std::make_unique<PinballLoss>(loss.quantiles);
}

struct LossKind {
  Task task;  // that it is for
  std::unique_ptr<Loss> (*make)(const Recipe::Loss& loss, const DatasetInfo& info);
};
constexpr Choice<LossKind> kLossKinds[] = {{"bce", {Task::kBinary, Bce}},
                                           {"cross_entropy", {Task::kClasses, CrossEntropy}},
                                           {"mse", {Task::kRegression, Mse}},
                                           {"huber", {Task::kRegression, Huber}},
                                           {"quantile", {Task::kRegression, Quantile}}};
constexpr char kAuto[] = "auto";

bool ToldAsQuantiles(const Recipe::Loss& loss) { return loss.kind == "quantile"; }

Status CheckQuantiles(const std::vector<double>& quantiles) {
  bool fits = std::find(quantiles.begin(), quantiles.end(), 0.5) != quantiles.end();
  for (size_t i = 0; i < quantiles.size(); ++i) {
    const double before = i == 0 ? 0.0 : quantiles[i - 1];
    fits = fits && quantiles[i] > before && quantiles[i] < 1.0;
  }
  if (fits) return Status::Ok();
  return Status::Invalid(
      "loss.quantiles are ascending numbers between 0 and 1, among them 0.5, the median, which is "
      "the value that is told: for instance [0.05, 0.5, 0.95]");
}

Result<std::unique_ptr<Loss>> LossOf(const Recipe::Loss& loss, const DatasetInfo& info) {
  const Task task = info.task;
  const Objective& objective = ObjectiveOf(task);
  const std::string name = loss.kind == kAuto ? objective.default_loss : loss.kind;
  LOCKSTEP_TRY_ASSIGN(const LossKind kind, Chosen("loss.kind", kLossKinds, name));
  const auto weights = static_cast<int64_t>(loss.class_weights.size());
  if (task == Task::kClasses && weights > 0 && weights != info.classes) {
    return Status::Invalid("loss.class_weights holds " + std::to_string(weights) +
                           (weights == 1 ? " number" : " numbers") + " for " +
                           std::to_string(info.classes) + " classes");
  }
  if (ToldAsQuantiles(loss)) LOCKSTEP_TRY(CheckQuantiles(loss.quantiles));
  if (kind.task == task) return kind.make(loss, info);
  std::vector<std::string> fitting;
  for (const auto& one : kLossKinds) {
    if (one.value.task == task) fitting.emplace_back(one.name);
  }
  return Status::Invalid("loss.kind = \"" + name + "\" is for " + ObjectiveOf(kind.task).targets +
                         " and does not fit the data, which have " + objective.targets +
                         "; choose auto, or one of " + Listed(fitting));
}

// ---- Optimizers ---------------------------------------------------------------------------------

Result<std::unique_ptr<Optimizer>> MakeSgd(const Recipe::Optim& o) {
  if (o.nesterov && o.momentum == 0.0)
    return Status::Invalid("optimizer.nesterov needs optimizer.momentum above 0");
  return std::unique_ptr<Optimizer>(std::make_unique<Sgd>(SgdOptions{.lr = o.learning_rate,
                                                                     .momentum = o.momentum,
                                                                     .weight_decay = o.weight_decay,
                                                                     .nesterov = o.nesterov,
                                                                     .decay_all = o.decay_all}));
}

template <class Made, class Options>
Result<std::unique_ptr<Optimizer>> MakeAdam(const Recipe::Optim& o) {
  LOCKSTEP_TRY(CheckAdamEps(o.eps, o.beta2).At("optimizer.eps"));
  return std::unique_ptr<Optimizer>(std::make_unique<Made>(Options{.lr = o.learning_rate,
                                                                   .betas = {o.beta1, o.beta2},
                                                                   .eps = o.eps,
                                                                   .weight_decay = o.weight_decay,
                                                                   .decay_all = o.decay_all,
                                                                   .groups = {}}));
}

constexpr Choice<Result<std::unique_ptr<Optimizer>> (*)(const Recipe::Optim&)> kOptimizers[] = {
    {"sgd", MakeSgd},
    {"adam", MakeAdam<Adam, AdamOptions>},
    {"adamw", MakeAdam<AdamW, AdamWOptions>}};

// ---- Schedules ----------------------------------------------------------------------------------

// Steps in so many epochs of `batches` batches.
int64_t Steps(double epochs, int64_t batches) {
  return static_cast<int64_t>(std::llround(epochs * static_cast<double>(batches)));
}

constexpr Choice<Schedule (*)(const Recipe::Schedule&, int64_t batches)> kSchedules[] = {
    {"constant", [](const Recipe::Schedule&, int64_t) { return Schedule(ConstantSchedule{}); }},
    {"step",
     [](const Recipe::Schedule& s, int64_t batches) {
       return Schedule(StepSchedule{.every = std::max<int64_t>(1, Steps(s.step_epochs, batches)),
                                    .gamma = s.gamma});
     }},
    {"cosine",
     [](const Recipe::Schedule& s, int64_t batches) {
       return Schedule(
           CosineSchedule{.warmup_steps = Steps(s.warmup_epochs, batches), .floor = s.floor});
     }},
    {"one_cycle", [](const Recipe::Schedule& s, int64_t) {
       return Schedule(OneCycleSchedule{.pct_start = s.peak});
     }}};

constexpr Choice<LastBatch> kLastBatches[] = {{"keep", LastBatch::kKeep},
                                              {"drop", LastBatch::kDrop}};
constexpr Choice<Wire> kWires[] = {{"f32", Wire::kF32}, {"bf16", Wire::kBF16}};

// ---- Layers -------------------------------------------------------------------------------------

Result<std::unique_ptr<Layer>> LayersOf(const Recipe& recipe, DatasetInfo info, const Loss& loss) {
  const Family& family = recipe.model.family;
  if (!info.embedded.empty() && !std::holds_alternative<MlpFamily>(family)) {
    int64_t most = 0;
    for (const EmbeddedFeature& feature : info.embedded) most = std::max(most, feature.values);
    return Status::Invalid(std::string("model.kind = \"") + KindOf(family) +
                           "\" has no embedding for columns of many categories; give each category "
                           "a feature of its own by data.one_hot = " +
                           std::to_string(most) + ", or take model.kind = \"mlp\"");
  }
  if (const size_t quantiles = loss.quantiles().size(); quantiles > 0)
    info.target_shape = {OutputsOf(info) * static_cast<int64_t>(quantiles)};
  return std::visit([&](const auto& one) { return one.Build(info); }, family);
}

}  // namespace

KeyLimits LossKinds() {
  KeyLimits limits{.choices = {kAuto}};
  for (const auto& one : kLossKinds) limits.choices.emplace_back(one.name);
  return limits;
}
KeyLimits OptimizerKinds() { return OneOf(kOptimizers); }
KeyLimits ScheduleKinds() { return OneOf(kSchedules); }
KeyLimits LastBatches() { return OneOf(kLastBatches); }
KeyLimits Wires() { return OneOf(kWires); }
KeyLimits Monitors() {
  KeyLimits limits;
  for (const Metric metric : kMetrics) {
    if (metric != Metric::kCoverage) limits.choices.emplace_back(NameOf(metric));
  }
  return limits;
}

Result<Network> BuildNetwork(Context& ctx, const Recipe& recipe, const DatasetInfo& info,
                             int64_t batch, bool training, Communicator* communicator,
                             int64_t evaluation_batch) {
  const int ranks = communicator == nullptr ? 1 : communicator->size();
  if (ranks > 1 && !BatchCut::IsRegular(recipe.train.shards, ranks)) {
    int64_t fitting = ranks;
    while (fitting < recipe.train.shards) fitting *= 2;
    return Status::Invalid("train.shards = " + std::to_string(recipe.train.shards) +
                           " cannot be held by " + std::to_string(ranks) +
                           " ranks, each a power "
                           "of two of them; " +
                           std::to_string(fitting) + " can");
  }
  LOCKSTEP_TRY_ASSIGN(std::unique_ptr<Loss> loss, LossOf(recipe.loss, info));
  LOCKSTEP_TRY_ASSIGN(std::unique_ptr<Layer> layers, LayersOf(recipe, info, *loss));
  std::vector<int64_t> input{batch};
  for (const int64_t d : info.x_shape.dims()) input.push_back(d);
  Result<Network> network = Network::Bind(ctx, std::move(layers), std::move(loss),
                                          {.input = Shape(std::span<const int64_t>(input)),
                                           .input_dtype = info.x_dtype,
                                           .seed = static_cast<uint64_t>(recipe.train.seed),
                                           .shards = static_cast<int>(recipe.train.shards),
                                           .parts = recipe.train.micro_batches,
                                           .evaluation_batch = evaluation_batch,
                                           .training = training,
                                           .communicator = communicator,
                                           .weighted = info.weighted,
                                           .frozen = recipe.model.freeze});
  if (!network.ok() && network.status().code() == Code::kNotFound)
    return network.status().At("model.freeze");
  return network;
}

// A whole batch, or, so that one rank of many has memory for it and many ranks have some, the
// larger of a shard and 64 samples.
int64_t EvaluationBatch(const Recipe& recipe, int64_t batch) {
  constexpr int64_t kEnough = 64;
  const int64_t part = CeilDiv(batch, recipe.train.micro_batches);
  return std::min(part, std::max(kEnough, CeilDiv(batch, recipe.train.shards)));
}

Result<std::vector<std::string>> StartFromWeights(const Recipe& recipe, Network& network) {
  std::vector<std::string> remarks;
  if (recipe.model.weights.empty()) {
    if (!recipe.model.freeze.empty()) {
      remarks.emplace_back(
          "model.freeze without model.weights: what is frozen stays at random; give a trained "
          "model, or model.freeze=[]");
    }
    return remarks;
  }
  const std::string path = ModelFile(recipe.model.weights);
  LOCKSTEP_TRY_ASSIGN(ImportedWeights imported,
                      Under("model.weights", ImportForNewTask(path, network)));
  remarks = std::move(imported.remarks);
  if (!imported.fresh_layer.empty()) {
    remarks.push_back(path + " has another number of outputs: " + imported.fresh_layer +
                      " begins anew, all other weights are from the file");
  }
  return remarks;
}

Result<std::unique_ptr<Optimizer>> BuildOptimizer(const Recipe& recipe) {
  LOCKSTEP_TRY_ASSIGN(const auto make,
                      Chosen("optimizer.kind", kOptimizers, recipe.optimizer.kind));
  return make(recipe.optimizer);
}

Status CheckBatches(const Recipe& recipe, const Network& network, const Loader& loader) {
  const int64_t samples = loader.samples_per_epoch(), batch = recipe.train.batch;
  for (const int64_t n : {std::min(batch, samples), samples % batch}) {
    if (n == 0) continue;
    std::vector<BatchPart> parts;
    CutIntoParts(network, recipe.train.micro_batches, n, parts);
    for (const BatchPart& part : parts) {
      const Status status = network.training_program().Admit(part.cut).status();
      if (status.ok()) continue;
      std::string what = "train.batch = " + std::to_string(batch);
      if (n != batch) {
        what += " leaves a last batch of " + std::to_string(n) + " of the " +
                std::to_string(samples) + " training samples";
      }
      if (parts.size() > 1)
        what += " in parts of train.micro_batches = " + std::to_string(recipe.train.micro_batches);
      return Status(status.code(), what + ": " + status.message() +
                                       "; the keys are train.batch, train.last_batch=drop and "
                                       "model.single_value=skip or =running");
    }
  }
  return Status::Ok();
}

int CoresOf(const Recipe& recipe) {
  return Context({.threads = static_cast<int>(recipe.train.threads)}).threads();
}

Result<LoaderOptions> BuildLoaderOptions(const Recipe& recipe) {
  LoaderOptions options{.batch = recipe.train.batch,
                        .seed = static_cast<uint64_t>(recipe.train.seed)};
  const bool decodes = recipe.data.kind == "images";
  if (decodes) options.threads = LoaderThreads(CoresOf(recipe));
  const int64_t prefetch = recipe.data.prefetch;
  options.prefetch = static_cast<int>(prefetch >= 0 ? prefetch : decodes ? 2 : 0);
  LOCKSTEP_TRY_ASSIGN(options.last,
                      Chosen("train.last_batch", kLastBatches, recipe.train.last_batch));
  return options;
}

Result<TrainerOptions> BuildTrainerOptions(const Recipe& recipe, int64_t batches,
                                           std::vector<std::string>* remarks) {
  const Recipe::Train& t = recipe.train;
  TrainerOptions options{.epochs = t.epochs,
                         .clip_norm = recipe.optimizer.clip_norm,
                         .micro_batches = t.micro_batches,
                         .evaluate_every = t.evaluate_every,
                         .keep_best = t.keep_best,
                         .seed = static_cast<uint64_t>(t.seed)};
  LOCKSTEP_TRY_ASSIGN(const auto schedule,
                      Chosen("schedule.kind", kSchedules, recipe.schedule.kind));
  options.schedule = schedule(recipe.schedule, batches);
  constexpr int64_t kMost = std::numeric_limits<int64_t>::max();
  const int64_t steps = t.epochs > kMost / batches ? kMost : t.epochs * batches;
  if (auto* const cosine = std::get_if<CosineSchedule>(&options.schedule);
      cosine != nullptr && cosine->warmup_steps >= steps) {
    cosine->warmup_steps = steps / 2;
    if (remarks != nullptr) {
      remarks->push_back("schedule.warmup_epochs = " + TextOf(recipe.schedule.warmup_epochs) +
                         " leaves nothing of train.epochs = " + std::to_string(t.epochs) +
                         ": the learning rate rises in the first half of the run, " +
                         std::to_string(steps / 2) + " of " + std::to_string(steps) +
                         (steps == 1 ? " step" : " steps"));
    }
  }
  LOCKSTEP_TRY_ASSIGN(options.wire, Chosen("train.wire", kWires, t.wire));
  LOCKSTEP_TRY(CheckChoice("train.calibrate", t.calibrate, Calibrations()));
  LOCKSTEP_TRY(CheckChoice("train.threshold", t.threshold, Thresholds()));
  if (t.ema_decay > 0.0) options.ema = EmaOptions{.decay = t.ema_decay};
  if (t.patience > 0) options.early_stopping = EarlyStopping{.patience = t.patience};
  LOCKSTEP_TRY_ASSIGN(options.monitor, MetricFromName(t.monitor));
  return options;
}

}  // namespace lockstep
