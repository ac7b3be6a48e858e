#include "tools/command/held_out.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <memory>
#include <span>

#include "engine/base/check.h"
#include "engine/comm/communicator.h"
#include "engine/data/loader.h"
#include "engine/io/file.h"
#include "engine/io/safetensors.h"
#include "engine/train/assess/predictions.h"
#include "engine/train/decision.h"
#include "engine/train/metrics.h"

namespace lockstep::inline v0_1::tools {
namespace {

template <class T>
Status ReadTensor(const SafetensorsFile& file, const std::string& path, const char* name,
                  StoredType type, int rank, std::vector<T>& values, Shape& shape) {
  const StoredTensor* tensor = file.Find(name);
  if (tensor == nullptr || tensor->type != type || tensor->shape.rank() != rank)
    return Status::Corrupt(path + ": holds no tensor " + name +
                           " of held-out samples; remove its folder, and the run is trained again");
  shape = tensor->shape;
  values.resize(static_cast<size_t>(shape.size()));
  std::memcpy(values.data(), tensor->data.data(), tensor->data.size());
  return Status::Ok();
}

}  // namespace

void HeldOut::Append(const HeldOut& more) {
  if (samples.empty()) {
    columns = more.columns;
    target_columns = more.target_columns;
  }
  LOCKSTEP_CHECK(columns == more.columns && target_columns == more.target_columns, "columns");
  samples.insert(samples.end(), more.samples.begin(), more.samples.end());
  outputs.insert(outputs.end(), more.outputs.begin(), more.outputs.end());
  thresholds.insert(thresholds.end(), more.thresholds.begin(), more.thresholds.end());
  targets.insert(targets.end(), more.targets.begin(), more.targets.end());
  loss.sum += more.loss.sum;
  loss.weight += more.loss.weight;
}

Result<HeldOut> MeasureHeldOut(Network& network, const Decision& decision, const Subset& subset) {
  LOCKSTEP_TRY(CheckFits(network, *subset.dataset));
  const DatasetInfo& info = subset.dataset->info();
  if (network.output_shape().rank() != 2 || info.target_shape.rank() > 1) {
    return Status::Invalid(info.name +
                           ": samples with several positions are not put together over folds");
  }
  const std::span<const double> quantiles = network.loss()->quantiles();
  HeldOut held{.samples = subset.indices,
               .columns = quantiles.empty() ? network.output_shape().channels()
                                            : std::max<int64_t>(1, info.target_shape.size()),
               .thresholds = std::vector<float>(subset.indices.size(), decision.threshold),
               .target_columns = std::max<int64_t>(1, info.target_shape.size())};
  LOCKSTEP_TRY_ASSIGN(
      const std::unique_ptr<Loader> loader,
      Loader::Make(subset.dataset, subset.indices,
                   {.batch = std::min(held.size(), network.evaluation_batch()), .shuffle = false}));
  for (;;) {
    LOCKSTEP_TRY_ASSIGN(const Batch* batch, loader->Next());
    if (batch == nullptr) break;
    LOCKSTEP_TRY_ASSIGN(const LossSum loss, network.Evaluate(BatchInputs(*batch, network).all()));
    held.loss.sum += loss.sum;
    held.loss.weight += loss.weight;
    AppendTold(network, info, network.output().span<float>(), held.outputs);
    if (info.target_dtype == DType::kI32) {
      for (const int32_t label : batch->target.span<int32_t>())
        held.targets.push_back(static_cast<float>(label));
      continue;
    }
    // Probabilities have no unit: their scale is 1.
    for (const float t : batch->target.span<float>())
      held.targets.push_back(static_cast<float>(t * info.target_scale + info.target_offset));
  }
  for (float& output : held.outputs) output /= decision.temperature;
  return held;
}

Status WriteHeldOut(const std::string& path, const HeldOut& held) {
  const int64_t n = held.size();
  const std::array<double, 2> loss{held.loss.sum, held.loss.weight};
  const std::array<StoredTensor, 5> tensors{
      StoredTensor("loss", StoredType::kF64, {2}, std::as_bytes(std::span(loss))),
      StoredTensor("samples", StoredType::kI64, {n}, std::as_bytes(std::span(held.samples))),
      StoredTensor("outputs", StoredType::kF32, {n, held.columns},
                   std::as_bytes(std::span(held.outputs))),
      StoredTensor("thresholds", StoredType::kF32, {n}, std::as_bytes(std::span(held.thresholds))),
      StoredTensor("targets", StoredType::kF32, {n, held.target_columns},
                   std::as_bytes(std::span(held.targets)))};
  return WriteSafetensors(path, tensors, {});
}

Result<HeldOut> ReadHeldOut(const std::string& path) {
  LOCKSTEP_TRY_ASSIGN(const SafetensorsFile file, ReadSafetensors(path));
  HeldOut held;
  Shape samples, outputs, thresholds, targets, of_loss;
  std::vector<double> loss;
  LOCKSTEP_TRY(ReadTensor(file, path, "samples", StoredType::kI64, 1, held.samples, samples));
  LOCKSTEP_TRY(ReadTensor(file, path, "outputs", StoredType::kF32, 2, held.outputs, outputs));
  LOCKSTEP_TRY(
      ReadTensor(file, path, "thresholds", StoredType::kF32, 1, held.thresholds, thresholds));
  LOCKSTEP_TRY(ReadTensor(file, path, "targets", StoredType::kF32, 2, held.targets, targets));
  LOCKSTEP_TRY(ReadTensor(file, path, "loss", StoredType::kF64, 1, loss, of_loss));
  if (outputs[0] != samples[0] || thresholds[0] != samples[0] || targets[0] != samples[0] ||
      loss.size() != 2)
    return Status::Corrupt(path + ": its tensors are of different numbers of samples");
  held.columns = outputs[1];
  held.target_columns = targets[1];
  held.loss = {.sum = loss[0], .weight = loss[1]};
  return held;
}

Result<EvaluationResult> Measure(const HeldOut& held, const DatasetInfo& info) {
  const int64_t n = held.size();
  if (n == 0) return Status::Invalid("no samples were held back");
  MetricsAccumulator metrics(
      {.task = info.task, .columns = held.columns, .samples = n, .batch = n});
  const ConstTensor y(held.outputs.data(), {n, held.columns});
  std::vector<int32_t> labels;
  ConstTensor target(held.targets.data(), {n, held.target_columns});
  if (info.target_dtype == DType::kI32) {
    for (const float t : held.targets) labels.push_back(static_cast<int32_t>(t));
    target = ConstTensor(labels.data(), {n});
  }
  LOCKSTEP_TRY(metrics.Add(y, target, held.loss));
  SingleProcess alone;
  LOCKSTEP_TRY_ASSIGN(EvaluationResult result, metrics.Finish(alone));
  if (ObjectiveOf(info.task).reading != Reading::kPositive) return result;
  const std::vector<float> p = PredictionsOf(held, info);
  std::array<int64_t, 4> confusion{};
  for (size_t i = 0; i < p.size(); ++i)
    ++confusion[(held.targets[i] > 0.5f ? 2u : 0u) +
                static_cast<size_t>(ClassOf(held, info, p, i))];
  result.confusion.assign(confusion.begin(), confusion.end());
  result.accuracy = static_cast<double>(confusion[0] + confusion[3]) / static_cast<double>(n);
  return result;
}

std::vector<float> PredictionsOf(const HeldOut& held, const DatasetInfo& info) {
  std::vector<float> p = held.outputs;
  if (!p.empty()) {
    MakePredictions(ObjectiveOf(info.task).reading, /*temperature=*/1.0f,
                    Tensor(p.data(), {held.size(), held.columns}));
  }
  return p;
}

int64_t ClassOf(const HeldOut& held, const DatasetInfo& info, std::span<const float> predictions,
                size_t i) {
  const auto columns = static_cast<size_t>(held.columns);
  return ClassOf(Decision{.threshold = held.thresholds[i]}, ObjectiveOf(info.task).reading,
                 predictions.subspan(i * columns, columns));
}

}  // namespace lockstep::tools
