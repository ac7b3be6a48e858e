// From a recipe to data, network, optimizer and training options.
#include <algorithm>
#include <cmath>

#include "engine/checkpoint/checkpoint.h"
#include "engine/data/builtin/digits.h"
#include "engine/data/image/idx.h"
#include "engine/data/split.h"
#include "engine/data/table/csv.h"
#include "engine/io/file.h"
#include "engine/io/safetensors.h"
#include "engine/optim/adam.h"
#include "engine/optim/sgd.h"
#include "engine/train/checkpointing.h"
#include "layers/bce_with_logits.h"
#include "layers/cross_entropy.h"
#include "layers/huber.h"
#include "layers/mse.h"
#include "models/mlp.h"
#include "models/recipe.h"

namespace lockstep {
namespace {

// Strings were checked against their choices when the recipe was read, so the last choice needs no
// test of its own.

Task TaskOf(const std::string& text) {
  if (text == "classes") return Task::kClasses;
  if (text == "regression") return Task::kRegression;
  return Task::kBinary;
}

CsvOptions CsvOptionsOf(const Recipe::Data& data) {
  CsvOptions options{.delimiter = data.delimiter.front(),
                     .header = data.header == "auto"  ? CsvOptions::Header::kAuto
                               : data.header == "yes" ? CsvOptions::Header::kYes
                                                      : CsvOptions::Header::kNo,
                     .label = CsvColumnFrom(data.label),
                     .on_missing = data.missing == "error"  ? CsvOptions::Missing::kError
                                   : data.missing == "mean" ? CsvOptions::Missing::kMean
                                                            : CsvOptions::Missing::kDropRow,
                     .task = TaskOf(data.task),
                     .positive = data.positive};
  for (const std::string& column : data.ignore) options.ignored.push_back(CsvColumnFrom(column));
  return options;
}

Share ShareOf(double fraction) {
  return fraction > 0.0 ? Share::Fraction(fraction) : Share::Count(0);
}

Result<Splits> SplitOf(const Dataset& dataset, const Recipe::Data& data, bool has_test) {
  const SplitOptions options{.validation = ShareOf(data.validation),
                             .test = has_test ? Share::Count(0) : ShareOf(data.test),
                             .seed = static_cast<uint64_t>(data.split_seed)};
  if (dataset.info().task == Task::kRegression) return Split(dataset.size(), options);
  LOCKSTEP_TRY_ASSIGN(const std::vector<int32_t> classes, ClassLabels(dataset));
  return StratifiedSplit(classes, options);
}

// Training and test sets as they come; `test` is null where the samples are to be split.
struct Sources {
  std::shared_ptr<const Dataset> train, test;
  std::optional<ClinicalData> clinical{};
  bool tabular = true;
};

Result<Sources> LoadSources(const Recipe::Data& data) {
  Sources sources;
  const ByteScale pixels = ByteScale::Standardized(data.pixel_mean, data.pixel_sd);
  if (data.kind == "clinical") {
    ClinicalOptions options{.seed = static_cast<uint64_t>(data.seed)};
    if (data.size > 0) options.size = data.size;
    LOCKSTEP_TRY_ASSIGN(sources.clinical, MakeClinical(options));
    sources.train = sources.clinical->dataset;
  } else if (data.kind == "digits") {
    DigitsOptions options{.seed = static_cast<uint64_t>(data.seed), .byte_scale = pixels};
    if (data.size > 0) {
      options.train = data.size;
      options.test = std::max<int64_t>(1, data.size / 5);
    }
    LOCKSTEP_TRY_ASSIGN(const DigitsData digits, MakeDigits(options));
    sources.train = digits.train;
    sources.test = digits.test;
    sources.tabular = false;
  } else if (data.kind == "mnist") {
    LOCKSTEP_TRY_ASSIGN(const MnistData mnist, LoadMnist(data.path, pixels));
    sources.train = mnist.train;
    sources.test = mnist.test;
    sources.tabular = false;
  } else {
    LOCKSTEP_TRY_ASSIGN(const CsvData csv, LoadCsv(data.path, CsvOptionsOf(data)));
    sources.train = csv.dataset;
    if (!data.test_path.empty()) {
      LOCKSTEP_TRY_ASSIGN(const CsvData test, LoadCsv(data.test_path, CsvOptionsOf(data)));
      if (!(test.dataset->info().x_shape == csv.dataset->info().x_shape) ||
          test.dataset->info().class_names != csv.dataset->info().class_names) {
        return Status::Invalid(data.test_path + " has other columns or labels than " + data.path);
      }
      sources.test = test.dataset;
    }
  }
  return sources;
}

MlpOptions::Norm NormOf(const std::string& text) {
  if (text == "none") return MlpOptions::Norm::kNone;
  if (text == "layer") return MlpOptions::Norm::kLayer;
  if (text == "rms") return MlpOptions::Norm::kRms;
  if (text == "group") return MlpOptions::Norm::kGroup;
  return MlpOptions::Norm::kBatch;
}

MlpOptions::Activation ActivationOf(const std::string& text) {
  using A = MlpOptions::Activation;
  if (text == "leaky_relu") return A::kLeakyRelu;
  if (text == "gelu") return A::kGelu;
  if (text == "gelu_tanh") return A::kGeluTanh;
  if (text == "silu") return A::kSilu;
  if (text == "sigmoid") return A::kSigmoid;
  if (text == "tanh") return A::kTanh;
  if (text == "softplus") return A::kSoftplus;
  return A::kRelu;
}

LinearOptions::WeightInit InitOf(const std::string& text) {
  using W = LinearOptions::WeightInit;
  if (text == "kaiming_normal") return W::kKaimingNormal;
  if (text == "xavier_uniform") return W::kXavierUniform;
  if (text == "normal") return W::kNormal;
  return W::kTorch;
}

BatchNormOptions BatchNormOf(const Recipe::Model& model) {
  BatchNormOptions options{.eps = model.eps};
  if (model.momentum >= 0.0) options.momentum = model.momentum;
  options.convention = model.convention == "keras"    ? Convention::kKeras
                       : model.convention == "lesson" ? Convention::kLesson
                                                      : Convention::kTorch;
  options.single_value = model.single_value == "skip"      ? SingleValuePolicy::kSkip
                         : model.single_value == "running" ? SingleValuePolicy::kRunning
                                                           : SingleValuePolicy::kError;
  return options;
}

Result<std::unique_ptr<Loss>> LossOf(const Recipe::Loss& loss, Task task) {
  const std::string kind = loss.kind != "auto"      ? loss.kind
                           : task == Task::kBinary  ? "bce"
                           : task == Task::kClasses ? "cross_entropy"
                                                    : "mse";
  const bool wants_classes = kind == "cross_entropy";
  if (wants_classes != (task == Task::kClasses) || (kind == "bce") != (task == Task::kBinary)) {
    return Status::Invalid("loss.kind = \"" + kind +
                           "\" does not fit the data: bce is for two classes, cross_entropy " +
                           "for several, mse and huber for numbers");
  }
  std::unique_ptr<Loss> made;
  if (kind == "bce") {
    BceWithLogitsLossOptions options;
    if (loss.pos_weight != 1.0) options.pos_weight = {static_cast<float>(loss.pos_weight)};
    made = std::make_unique<BceWithLogitsLoss>(std::move(options));
  } else if (kind == "cross_entropy") {
    CrossEntropyLossOptions options{.label_smoothing = loss.label_smoothing};
    for (const double w : loss.class_weights)
      options.class_weights.push_back(static_cast<float>(w));
    made = std::make_unique<CrossEntropyLoss>(std::move(options));
  } else if (kind == "huber") {
    made = std::make_unique<HuberLoss>(loss.delta);
  } else {
    made = std::make_unique<MseLoss>();
  }
  return made;
}

}  // namespace

Result<RecipeData> LoadData(const Recipe& recipe, std::optional<Standardizer> standardizer) {
  LOCKSTEP_TRY_ASSIGN(Sources sources, LoadSources(recipe.data));
  LOCKSTEP_TRY_ASSIGN(Splits splits, SplitOf(*sources.train, recipe.data, sources.test != nullptr));
  RecipeData data;
  if (sources.clinical && !splits.test.empty()) {
    LOCKSTEP_TRY_ASSIGN(data.best_test, BestPossibleScores(*sources.clinical, splits.test));
  }
  if (sources.tabular && (recipe.data.standardize || sources.train->info().has_missing)) {
    if (!standardizer) {
      LOCKSTEP_TRY_ASSIGN(standardizer, Standardizer::Measure(*sources.train, splits.train));
    }
    data.standardizer = standardizer;
    LOCKSTEP_TRY_ASSIGN(sources.train, Standardized(sources.train, *standardizer));
    if (sources.test != nullptr) {
      LOCKSTEP_TRY_ASSIGN(sources.test, Standardized(sources.test, *standardizer));
    }
  }
  data.train = {sources.train, std::move(splits.train)};
  data.validation = {sources.train, std::move(splits.validation)};
  if (sources.test != nullptr) {
    data.test = {sources.test, AllIndices(sources.test->size())};
  } else {
    data.test = {sources.train, std::move(splits.test)};
  }
  return data;
}

Result<Network> BuildNetwork(Context& ctx, const Recipe& recipe, const DatasetInfo& info,
                             int64_t batch, bool training) {
  const Recipe::Model& model = recipe.model;
  const LinearOptions linear{.bias = model.bias,
                             .init = InitOf(model.init),
                             .init_scale = static_cast<float>(model.init_scale)};
  auto layers = std::make_unique<Sequential>(
      Mlp({.hidden = model.hidden,
           .outputs = info.task == Task::kClasses ? info.classes
                                                  : std::max<int64_t>(1, info.target_shape.size()),
           .norm = NormOf(model.norm),
           .batch_norm = BatchNormOf(model),
           .groups = model.groups,
           .activation = ActivationOf(model.activation),
           .dropout = model.dropout,
           .flatten = info.x_shape.rank() > 1,
           .linear = linear}));
  LOCKSTEP_TRY_ASSIGN(std::unique_ptr<Loss> loss, LossOf(recipe.loss, info.task));
  std::vector<int64_t> input{batch};
  for (const int64_t d : info.x_shape.dims()) input.push_back(d);
  return Network::Bind(ctx, std::move(layers), std::move(loss),
                       {.input = Shape(std::span<const int64_t>(input)),
                        .seed = static_cast<uint64_t>(recipe.train.seed),
                        .shards = static_cast<int>(recipe.train.shards),
                        .training = training});
}

Status StartFromWeights(const Recipe& recipe, Network& network) {
  const std::string& path = recipe.model.weights;
  if (path.empty()) return Status::Ok();
  LOCKSTEP_TRY_ASSIGN(const SafetensorsHeader header, ReadSafetensorsHeader(path));
  if (!header.metadata.contains(std::string(kChecksumKey))) return ImportWeights(path, network);
  return LoadModel(path, network).status();
}

Result<std::unique_ptr<Optimizer>> BuildOptimizer(const Recipe& recipe) {
  const Recipe::Optim& o = recipe.optimizer;
  std::unique_ptr<Optimizer> made;
  if (o.kind == "sgd") {
    if (o.nesterov && o.momentum == 0.0)
      return Status::Invalid("optimizer.nesterov needs optimizer.momentum above 0");
    made = std::make_unique<Sgd>(SgdOptions{.lr = o.learning_rate,
                                            .momentum = o.momentum,
                                            .weight_decay = o.weight_decay,
                                            .nesterov = o.nesterov,
                                            .decay_all = o.decay_all});
  } else if (o.kind == "adam") {
    made = std::make_unique<Adam>(AdamOptions{.lr = o.learning_rate,
                                              .betas = {o.beta1, o.beta2},
                                              .eps = o.eps,
                                              .weight_decay = o.weight_decay,
                                              .decay_all = o.decay_all,
                                              .groups = {}});
  } else {
    made = std::make_unique<AdamW>(AdamWOptions{.lr = o.learning_rate,
                                                .betas = {o.beta1, o.beta2},
                                                .eps = o.eps,
                                                .weight_decay = o.weight_decay,
                                                .decay_all = o.decay_all,
                                                .groups = {}});
  }
  return made;
}

Result<LoaderOptions> BuildLoaderOptions(const Recipe& recipe) {
  return LoaderOptions{
      .batch = recipe.train.batch,
      .last = recipe.train.last_batch == "drop" ? LastBatch::kDrop : LastBatch::kKeep,
      .seed = static_cast<uint64_t>(recipe.train.seed)};
}

Result<TrainerOptions> BuildTrainerOptions(const Recipe& recipe, int64_t batches) {
  const Recipe::Train& t = recipe.train;
  const Recipe::Schedule& s = recipe.schedule;
  const auto steps = [&](double epochs) {
    return static_cast<int64_t>(std::llround(epochs * static_cast<double>(batches)));
  };
  TrainerOptions options{.epochs = t.epochs,
                         .clip_norm = recipe.optimizer.clip_norm,
                         .micro_batches = t.micro_batches,
                         .evaluate_every = t.evaluate_every,
                         .keep_best = t.keep_best,
                         .seed = static_cast<uint64_t>(t.seed)};
  if (s.kind == "step") {
    options.schedule =
        StepSchedule{.every = std::max<int64_t>(1, steps(s.step_epochs)), .gamma = s.gamma};
  } else if (s.kind == "cosine") {
    options.schedule = CosineSchedule{.warmup_steps = steps(s.warmup_epochs), .floor = s.floor};
  } else if (s.kind == "one_cycle") {
    options.schedule = OneCycleSchedule{.pct_start = s.peak};
  }
  if (t.ema_decay > 0.0) options.ema = EmaOptions{.decay = t.ema_decay};
  if (t.patience > 0) options.early_stopping = EarlyStopping{.patience = t.patience};
  LOCKSTEP_TRY_ASSIGN(options.monitor, MetricFromName(t.monitor));
  return options;
}

}  // namespace lockstep
