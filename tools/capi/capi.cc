// The C interface over Network, Optimizer and recipes.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstring>
#include <limits>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "engine/base/integers.h"
#include "engine/comm/agreement.h"
#include "engine/data/objective.h"
#include "engine/parallel/shards.h"
#include "engine/train/checkpointing.h"
#include "models/recipe_prepare.h"
#include "models/recipe_saved.h"
#include "tools/capi/lockstep.h"
#include "tools/capi/model.h"
#include "tools/capi/ranks.h"

namespace {

using namespace lockstep;        // NOLINT: this file is where both languages meet
using namespace lockstep::capi;  // NOLINT

// The C names of tasks.
constexpr std::pair<lockstep_task, Task> kTasks[] = {{LOCKSTEP_BINARY, Task::kBinary},
                                                     {LOCKSTEP_CLASSES, Task::kClasses},
                                                     {LOCKSTEP_REGRESSION, Task::kRegression}};

// Whatever a caller has put there: a number that the enum does not have must not be read as one.
int TaskNumber(const lockstep_options& options) {
  static_assert(sizeof(options.task) == sizeof(int));
  int number = 0;
  std::memcpy(&number, &options.task, sizeof(number));
  return number;
}

// The caller's options, which may be shorter or longer than those of this library.
Result<lockstep_options> OptionsFrom(const lockstep_options* given) {
  lockstep_options options{};
  if (given == nullptr) return options;
  constexpr size_t kFirst = offsetof(lockstep_options, ranks) + sizeof(options.ranks);  // of 0.1
  const auto* bytes = reinterpret_cast<const unsigned char*>(given);
  size_t size = 0;
  std::memcpy(&size, bytes, sizeof(size));
  if (size == 0) size = kFirst;
  if (size < kFirst || size > 16 * kFirst) {
    return Status::Invalid("options.size is " + std::to_string(size) +
                           ", it must be 0 or sizeof(lockstep_options)");
  }
  if (size > sizeof(options) && std::any_of(bytes + sizeof(options), bytes + size,
                                            [](unsigned char byte) { return byte != 0; })) {
    return Status::Invalid(
        "options has fields that this version of Lockstep, " LOCKSTEP_VERSION_TEXT
        ", does not know: set them to 0, or use the library of your lockstep.h");
  }
  std::memcpy(&options, bytes, std::min(size, sizeof(options)));
  return options;
}

Result<Task> TaskOf(const lockstep_options& options, const Recipe& recipe) {
  const int number = TaskNumber(options);
  for (const auto& [of_c, task] : kTasks) {
    if (number == of_c) return task;
  }
  if (number != LOCKSTEP_TASK_AUTO)
    return Status::Invalid("options.task is " + std::to_string(number) +
                           ", which is no lockstep_task");
  // By the loss where it is named, else by the data's task.
  const bool auto_loss = recipe.loss.kind == "auto";
  for (const Objective& objective : Objectives()) {
    if (auto_loss ? recipe.data.task == objective.name
                  : recipe.loss.kind == objective.default_loss) {
      return objective.task;
    }
  }
  if (!auto_loss) return Task::kRegression;  // the other losses of numbers
  return options.outputs <= 1 ? Task::kBinary : Task::kClasses;
}

// What samples look like that the caller describes.
Result<DatasetInfo> SamplesOf(const lockstep_options& options, const Recipe& recipe) {
  LOCKSTEP_TRY(InRange("options.inputs", options.inputs, 1, kLargest));
  LOCKSTEP_TRY(InRange("options.outputs", options.outputs, 0, kLargest));
  const int64_t outputs = std::max<int64_t>(1, options.outputs);
  DatasetInfo samples{.x_shape = {options.inputs}};
  LOCKSTEP_TRY_ASSIGN(const Task task, TaskOf(options, recipe));
  if (task == Task::kBinary && outputs != 1)
    return Status::Invalid("a binary task has one output, not " + std::to_string(outputs));
  SetTargets(task, outputs, samples);
  return samples;
}

Result<std::unique_ptr<lockstep_model>> Start(const Recipe& recipe,
                                              const lockstep_options& options) {
  LOCKSTEP_TRY(InRange("options.threads", options.threads, 0, 1 << 16));
  LOCKSTEP_TRY(InRange("options.batch", options.batch, 0, kLargest));
  const int threads =
      options.threads > 0 ? options.threads : static_cast<int>(recipe.train.threads);
  auto model = std::make_unique<lockstep_model>(
      recipe,
      ContextOptions{.threads = threads, .join_current_arena = options.join_host_arena != 0});
  model->batch = options.batch > 0 ? options.batch : recipe.train.batch;
  if (options.ranks != nullptr) model->communicator = options.ranks->communicator.get();
  model->rows =
      CeilDiv(model->batch, model->communicator == nullptr ? 1 : model->communicator->size());
  return model;
}

// Everything that the bound network decides.
Status Finish(lockstep_model& model, Network network) {
  model.network = std::move(network);
  Network& net = *model.network;
  LOCKSTEP_TRY_ASSIGN(model.predictor,
                      Predictor::Make(net, model.samples, model.standardizer, model.decision));
  if (model.samples.table != nullptr) {
    LOCKSTEP_TRY_ASSIGN(model.table, TablePredictor::Make(net, model.samples, model.decision));
    for (const int64_t column : model.table->columns())
      model.column_names.push_back(model.table->NameOf(column));
    model.answer_names = model.table->answer_names();
  }
  model.x_shape = net.input_shape().WithBatch(1);
  model.y_shape = net.output_shape().WithBatch(1);
  model.inputs = model.x_shape.size();
  model.outputs = model.y_shape.size();
  if (!net.trains()) return Status::Ok();
  LOCKSTEP_TRY_ASSIGN(model.optimizer, BuildOptimizer(model.recipe));
  LOCKSTEP_TRY_ASSIGN(model.step,
                      TrainingStep::Make(net, {.clip_norm = model.recipe.optimizer.clip_norm}));
  LOCKSTEP_TRY(model.step->BindOptimizer(*model.optimizer));
  if (net.weighted()) model.ones.assign(static_cast<size_t>(model.rows), 1.0f);
  if (model.samples.task == Task::kClasses)
    model.class_targets.resize(static_cast<size_t>(model.rows));
  if (model.samples.target_scale != 1.0 || model.samples.target_offset != 0.0)
    model.scaled_targets.resize(
        static_cast<size_t>(net.loss()->target_shape(net.output_shape()).size()));
  return Status::Ok();
}

Result<std::unique_ptr<lockstep_model>> Create(Recipe recipe, const lockstep_options& options) {
  LOCKSTEP_TRY_ASSIGN(std::unique_ptr<lockstep_model> model, Start(recipe, options));
  if (options.inputs != 0) {
    if (recipe.loss.balanced) {
      return Status::Invalid(
          "loss.balanced counts the classes of the recipe's data, and options.inputs says that the "
          "samples are others; give loss.pos_weight or loss.class_weights");
    }
    LOCKSTEP_TRY_ASSIGN(model->samples, SamplesOf(options, recipe));
  } else {
    if (options.outputs != 0 || TaskNumber(options) != LOCKSTEP_TASK_AUTO) {
      return Status::Invalid(
          "options.outputs and options.task are taken from the recipe's data where "
          "options.inputs is 0; give all or none");
    }
    LOCKSTEP_TRY_ASSIGN(PreparedData prepared, PrepareData(recipe));
    model->samples = prepared.data.train.dataset->info();
    model->standardizer = std::move(prepared.data.standardizer);
    recipe.loss = model->recipe.loss = std::move(prepared.loss);
  }
  model->samples.weighted = options.weighted != 0;  // the caller's are; those of the data are not
  LOCKSTEP_TRY_ASSIGN(Network network,
                      BuildNetwork(model->context, recipe, model->samples, model->rows,
                                   options.predict_only == 0, model->communicator));
  LOCKSTEP_TRY(StartFromWeights(recipe, network).status());
  LOCKSTEP_TRY(Finish(*model, std::move(network)));
  return model;
}

Result<std::unique_ptr<lockstep_model>> Load(const std::string& path,
                                             const lockstep_options& options) {
  LOCKSTEP_TRY(InRange("options.inputs (a saved model knows its own)", options.inputs, 0, 0));
  LOCKSTEP_TRY(InRange("options.outputs (a saved model knows its own)", options.outputs, 0, 0));
  LOCKSTEP_TRY(InRange("options.task (a saved model knows its own)", TaskNumber(options), 0, 0));
  LOCKSTEP_TRY_ASSIGN(SavedModel saved, ReadSavedModel(path));
  saved.samples.weighted = options.weighted != 0;  // the caller's are
  LOCKSTEP_TRY_ASSIGN(std::unique_ptr<lockstep_model> model, Start(saved.recipe, options));
  model->samples = saved.samples;
  model->standardizer = saved.standardizer;
  model->decision = saved.decision;
  Result<Network> network = BuildNetwork(model->context, saved, model->rows,
                                         options.predict_only == 0, model->communicator);
  if (!network.ok()) return network.status().At(path);
  LOCKSTEP_TRY(Finish(*model, std::move(network).value()).At(path));
  model->steps = saved.state.step;
  // Of a run that was cut off the weights above are the best or the averaged ones, which are not
  // those that its optimizer remembers.
  const bool of_a_run = saved.checkpoint.meta.contains("batches_per_epoch");
  if (model->optimizer != nullptr && !of_a_run &&
      saved.checkpoint.meta.contains("optimizer.kind")) {
    LOCKSTEP_TRY(
        ReadInto(saved.checkpoint, {.optimizer = model->optimizer.get()}).status().At(path));
  }
  return model;
}

// What the three ways to make a model share.
template <class Make>
lockstep_code MakeModel(const lockstep_options* options, lockstep_model** model, char* error,
                        size_t error_size, Make&& make) noexcept {
  if (model != nullptr) *model = nullptr;
  return Guarded(error, error_size, [&]() -> Status {
    LOCKSTEP_TRY(Needs(model != nullptr, "model"));
    LOCKSTEP_TRY_ASSIGN(const lockstep_options given, OptionsFrom(options));
    Result<std::unique_ptr<lockstep_model>> made = StatusOf([&] { return make(given); });
    if (given.ranks != nullptr) LOCKSTEP_TRY(Agree(*given.ranks->communicator, made.status()));
    LOCKSTEP_TRY(made.status());
    *model = made->release();
    return Status::Ok();
  });
}

Status ClassTargets(const float* targets, int64_t samples, std::vector<int32_t>& into) {
  for (int64_t i = 0; i < samples; ++i) {
    const float target = targets[i];
    if (!(std::abs(target) < static_cast<float>(kLargest)) || target != std::floor(target)) {
      return Status::Invalid("the target of sample " + std::to_string(i) + " is " +
                             std::to_string(target) + ", expected the number of a class");
    }
    into[static_cast<size_t>(i)] = static_cast<int32_t>(target);
  }
  return Status::Ok();
}

// The samples of a step on `samples` in all that are this process's.
IndexRange Share(const lockstep_model& model, int64_t samples) {
  if (model.communicator == nullptr) return {0, samples};
  return ShardRange(samples, model.communicator->size(), model.communicator->rank());
}

// From the unit of the values to that in which the network learns them.
void ToScale(const DatasetInfo& samples, std::span<const float> values, std::vector<float>& into) {
  for (size_t i = 0; i < values.size(); ++i)
    into[i] = static_cast<float>((values[i] - samples.target_offset) / samples.target_scale);
}

// What a step is given; `weighed`: weights are among it, else each sample counts as 1.
struct StepData {
  int64_t samples = 0;
  const float* x = nullptr;
  const float* targets = nullptr;
  bool weighed = false;
  const float* weights = nullptr;
};

Status CheckStep(lockstep_model& model, const StepData& data) {
  const auto& [samples, x, targets, weighed, weights] = data;
  LOCKSTEP_TRY(InRange("samples", samples, 1, model.batch));
  const int64_t rows = Share(model, samples).size();
  LOCKSTEP_TRY(Needs(x != nullptr || rows == 0, "x"));
  LOCKSTEP_TRY(Needs(targets != nullptr || rows == 0, "targets"));
  LOCKSTEP_TRY(Needs(!weighed || weights != nullptr || rows == 0, "weights"));
  if (model.samples.task == Task::kClasses)
    LOCKSTEP_TRY(ClassTargets(targets, rows, model.class_targets));
  return Status::Ok();
}

Status CheckTrains(const lockstep_model& model) {
  if (model.optimizer != nullptr) return Status::Ok();
  return Status::Invalid("this model was made with options.predict_only, it cannot be trained");
}

Status TrainStep(lockstep_model& model, const StepData& data, double* loss) {
  LOCKSTEP_TRY(CheckTrains(model));
  if (data.weighed && !model.network->weighted())
    return Status::Invalid("this model was made without options.weighted");
  // What is wrong here is said on all ranks.
  const Status status = CheckStep(model, data);
  if (!status.ok() && model.communicator == nullptr) return status;
  const int64_t rows = status.ok() ? Share(model, data.samples).size() : 0;
  Network& net = *model.network;
  const Shape target_shape = net.loss()->target_shape(net.output_shape().WithBatch(rows));
  ConstTensor target(data.targets, target_shape);
  if (model.samples.task == Task::kClasses)
    target = ConstTensor(model.class_targets.data(), target_shape);
  if (!model.scaled_targets.empty()) {
    ToScale(model.samples, {data.targets, static_cast<size_t>(target_shape.size())},
            model.scaled_targets);
    target = ConstTensor(model.scaled_targets.data(), target_shape);
  }
  const ConstTensor features =
      model.predictor->Standardized(ConstTensor(data.x, model.x_shape.WithBatch(rows)));
  const std::array inputs{
      features, target, ConstTensor(data.weighed ? data.weights : model.ones.data(), Shape{rows})};
  LOCKSTEP_TRY_ASSIGN(const TrainingStepReport report,
                      model.step->Run({.inputs = std::span(inputs).first(net.weighted() ? 3 : 2),
                                       .samples = rows,
                                       .global_samples = data.samples,
                                       .failure = status.ok() ? nullptr : &status},
                                      static_cast<uint64_t>(model.steps), *model.optimizer,
                                      model.optimizer->learning_rate()));
  if (loss != nullptr)
    *loss = report.skipped ? std::numeric_limits<double>::quiet_NaN()
                           : report.loss.sum / report.loss.weight;
  if (report.skipped) return Status::Ok();
  ++model.steps;
  model.decision = {};  // it was found for other weights
  model.predictor->set_decision(model.decision);
  if (model.table) model.table->set_decision(model.decision);
  return Status::Ok();
}

}  // namespace

extern "C" {

lockstep_code lockstep_create(const char* recipe_path, const lockstep_options* options,
                              lockstep_model** model, char* error, size_t error_size) {
  return MakeModel(options, model, error, error_size,
                   [&](const lockstep_options& given) -> Result<std::unique_ptr<lockstep_model>> {
                     LOCKSTEP_TRY(Needs(recipe_path != nullptr, "recipe_path"));
                     LOCKSTEP_TRY_ASSIGN(const Recipe recipe, LoadRecipe(recipe_path));
                     return Create(recipe, given);
                   });
}

lockstep_code lockstep_create_from_text(const char* recipe, const lockstep_options* options,
                                        lockstep_model** model, char* error, size_t error_size) {
  return MakeModel(options, model, error, error_size,
                   [&](const lockstep_options& given) -> Result<std::unique_ptr<lockstep_model>> {
                     LOCKSTEP_TRY(Needs(recipe != nullptr, "recipe"));
                     LOCKSTEP_TRY_ASSIGN(const Recipe parsed, ParseRecipe(recipe, "recipe"));
                     return Create(parsed, given);
                   });
}

lockstep_code lockstep_load(const char* path, const lockstep_options* options,
                            lockstep_model** model, char* error, size_t error_size) {
  return MakeModel(options, model, error, error_size,
                   [&](const lockstep_options& given) -> Result<std::unique_ptr<lockstep_model>> {
                     LOCKSTEP_TRY(Needs(path != nullptr, "path"));
                     return Load(path, given);
                   });
}

void lockstep_destroy(lockstep_model* model) { delete model; }

lockstep_code lockstep_train_step(lockstep_model* model, int64_t samples, const float* x,
                                  const float* targets, double* loss) {
  return On(model, [&] { return TrainStep(*model, {samples, x, targets}, loss); });
}

lockstep_code lockstep_train_step_weighted(lockstep_model* model, int64_t samples, const float* x,
                                           const float* targets, const float* weights,
                                           double* loss) {
  return On(model, [&] {
    return TrainStep(*model, {samples, x, targets, /*weighed=*/true, weights}, loss);
  });
}

int64_t lockstep_share(const lockstep_model* model, int64_t samples, int64_t* first) {
  const IndexRange share =
      model == nullptr || samples < 0 || samples > kLargest ? IndexRange{} : Share(*model, samples);
  if (first != nullptr) *first = share.begin;
  return share.size();
}

lockstep_code lockstep_set_learning_rate(lockstep_model* model, double learning_rate) {
  return On(model, [&]() -> Status {
    LOCKSTEP_TRY(CheckTrains(*model));
    return model->optimizer->set_learning_rate(learning_rate);
  });
}

lockstep_code lockstep_predict(lockstep_model* model, int64_t samples, const float* x, float* y) {
  return On(model, [&] {
    return PredictAll(*model->predictor, model->x_shape.WithBatch(model->rows),
                      model->y_shape.WithBatch(model->rows), samples, x, y);
  });
}

lockstep_code lockstep_save(lockstep_model* model, const char* path) {
  return On(model, [&]() -> Status {
    LOCKSTEP_TRY(Needs(path != nullptr, "path"));
    TrainingState state;
    state.step = model->steps;
    state.seed = static_cast<uint64_t>(model->recipe.train.seed);
    state.shards = model->recipe.train.shards;
    state.recipe = PrintRecipe(model->recipe);
    return WriteCheckpoint(path,
                           {.network = &*model->network,
                            .optimizer = model->optimizer.get(),
                            .standardizer = model->standardizer ? &*model->standardizer : nullptr,
                            .samples = &model->samples},
                           std::move(state), MetadataOf(model->decision), model->communicator);
  });
}

int64_t lockstep_inputs(const lockstep_model* model) {
  return model == nullptr ? 0 : model->inputs;
}
int64_t lockstep_outputs(const lockstep_model* model) {
  return model == nullptr ? 0 : model->outputs;
}
int64_t lockstep_targets(const lockstep_model* model) {
  if (model == nullptr) return 0;
  return model->network->loss()->target_shape(model->y_shape).size();
}
int64_t lockstep_batch(const lockstep_model* model) { return model == nullptr ? 0 : model->batch; }
int64_t lockstep_steps(const lockstep_model* model) { return model == nullptr ? 0 : model->steps; }

lockstep_task lockstep_task_of(const lockstep_model* model) {
  if (model == nullptr) return LOCKSTEP_TASK_AUTO;
  for (const auto& [of_c, task] : kTasks) {
    if (model->samples.task == task) return of_c;
  }
  return LOCKSTEP_TASK_AUTO;
}

double lockstep_threshold(const lockstep_model* model) {
  return model == nullptr ? 0.5 : static_cast<double>(model->decision.threshold);
}

const char* lockstep_error(const lockstep_model* model) {
  return model == nullptr ? "the model is NULL" : model->error;
}

const char* lockstep_version(void) { return LOCKSTEP_VERSION_TEXT; }

}  // extern "C"
