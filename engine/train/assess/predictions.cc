#include "engine/train/assess/predictions.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <string>
#include <utility>

#include "engine/base/check.h"
#include "engine/base/float_mode.h"
#include "engine/base/random.h"
#include "engine/train/decision.h"

namespace lockstep::inline v0_1 {
namespace {

// More numbers for one sample are a picture or a series, which nobody reads one by one.
constexpr int64_t kMostValues = 64;

// How many outputs stand for one number: its quantiles, or 1.
size_t OutputsOfEach(const Network& network) {
  return network.loss() == nullptr ? 1 : std::max<size_t>(1, network.loss()->quantiles().size());
}

}  // namespace

Predictions Predictions::Selected(std::span<const int64_t> places) const {
  Predictions some{.reading = reading, .columns = columns};
  const auto width = static_cast<size_t>(columns);
  for (const int64_t place : places) {
    const auto i = static_cast<size_t>(place);
    const std::span<const float> outputs_of = of(place);
    some.outputs.insert(some.outputs.end(), outputs_of.begin(), outputs_of.end());
    some.indices.push_back(indices[i]);
    if (!weights.empty()) some.weights.push_back(weights[i]);
    if (reading == Reading::kOneOf) some.classes.push_back(classes[i]);
    if (reading == Reading::kPositive) some.truths.push_back(truths[i]);
    if (reading == Reading::kValues) {
      const auto from = truths.begin() + static_cast<std::ptrdiff_t>(i * width);
      some.truths.insert(some.truths.end(), from, from + static_cast<std::ptrdiff_t>(width));
    }
  }
  return some;
}

std::vector<float> Predictions::Probabilities(float temperature) const {
  std::vector<float> p = outputs;
  if (!p.empty()) MakePredictions(reading, temperature, Tensor(p.data(), {samples(), columns}));
  return p;
}

bool CanBeAssessed(const Network& network, const DatasetInfo& info) {
  switch (ObjectiveOf(info.task).reading) {
    case Reading::kPositive:
      return info.target_shape.size() == 1;
    case Reading::kOneOf:
      return info.target_dtype == DType::kI32 ? info.target_shape.rank() == 0
                                              : info.target_shape.rank() == 1;
    case Reading::kValues:
      return info.target_shape.size() <= kMostValues &&
             info.target_shape.size() * static_cast<int64_t>(OutputsOfEach(network)) ==
                 network.output_shape().sample_size();
  }
  return false;
}

void AppendTold(const Network& network, const DatasetInfo& info, std::span<const float> y,
                std::vector<float>& to) {
  if (ObjectiveOf(info.task).reading != Reading::kValues) {
    to.insert(to.end(), y.begin(), y.end());
    return;
  }
  const size_t of_each = OutputsOfEach(network);
  const size_t median = of_each == 1 ? 0 : PlaceOfMedian(network.loss()->quantiles());
  std::vector<float> sorted;
  for (size_t i = 0; i < y.size(); i += of_each) {
    const std::span<const float> one = y.subspan(i, of_each);
    sorted.assign(one.begin(), one.end());
    std::sort(sorted.begin(), sorted.end());
    to.push_back(static_cast<float>(sorted[median] * info.target_scale + info.target_offset));
  }
}

Subset DrawSamples(const Subset& samples, int64_t most, uint64_t seed) {
  LOCKSTEP_CHECK(most > 0, "a draw of at least one sample");
  const auto size = samples.indices.size(), wanted = static_cast<size_t>(most);
  if (size <= wanted) return samples;
  // The first steps of Fisher and Yates' shuffle of the places.
  std::vector<size_t> places(size);
  for (size_t i = 0; i < size; ++i) places[i] = i;
  Random random(seed, StreamOf("assess.samples"));
  for (size_t i = 0; i < wanted; ++i) std::swap(places[i], places[i + random.Below(size - i)]);
  places.resize(wanted);
  std::sort(places.begin(), places.end());
  Subset drawn{.dataset = samples.dataset};
  for (const size_t place : places) drawn.indices.push_back(samples.indices[place]);
  return drawn;
}

Result<Predictions> Collect(Network& network, const Subset& samples) {
  const ScopedFloatMode mode;
  if (samples.dataset == nullptr || samples.empty())
    return Status::Invalid("there are no samples to assess");
  const DatasetInfo& info = samples.dataset->info();
  LOCKSTEP_TRY(CheckFits(network, *samples.dataset));
  if (!CanBeAssessed(network, info))
    return Status::Invalid(info.name + ": only samples with one prediction each can be assessed");
  Predictions all{.reading = ObjectiveOf(info.task).reading,
                  .columns = network.output_shape().sample_size()};
  if (all.reading == Reading::kValues) all.columns = info.target_shape.size();
  const auto size = static_cast<int64_t>(samples.indices.size());
  LOCKSTEP_TRY_ASSIGN(
      const std::unique_ptr<Loader> loader,
      Loader::Make(samples.dataset, samples.indices,
                   {.batch = std::min(size, network.evaluation_batch()), .shuffle = false}));
  const auto columns = static_cast<size_t>(network.output_shape().sample_size());
  std::vector<float> y(static_cast<size_t>(network.evaluation_batch()) * columns);
  for (;;) {
    LOCKSTEP_TRY_ASSIGN(const Batch* batch, loader->Next());
    if (batch == nullptr) break;
    LOCKSTEP_TRY(network.Predict(batch->x,
                                 Tensor(y.data(), network.output_shape().WithBatch(batch->count))));
    for (size_t i = 0; i < static_cast<size_t>(batch->count); ++i) {
      const std::span<const float> outputs = std::span(y).subspan(i * columns, columns);
      if (const auto bad = std::find_if_not(outputs.begin(), outputs.end(),
                                            [](float v) { return std::isfinite(v); });
          bad != outputs.end()) {
        return Status::NonFinite("the output for sample " + std::to_string(batch->indices[i]) +
                                 " of " + info.name + " is " + std::to_string(*bad));
      }
      if (all.reading == Reading::kOneOf) {
        const int32_t truth = TargetClass(batch->target, i, columns);
        if (truth == kIgnoredTarget) continue;
        all.classes.push_back(truth);
      } else {
        const auto width = static_cast<size_t>(all.columns);
        const std::span<const float> truths = batch->target.span<float>().subspan(i * width, width);
        for (const float t : truths) {
          all.truths.push_back(
              all.reading == Reading::kPositive
                  ? t
                  : static_cast<float>(t * info.target_scale + info.target_offset));
        }
      }
      AppendTold(network, info, outputs, all.outputs);
      all.indices.push_back(batch->indices[i]);
      if (info.weighted) all.weights.push_back(batch->weights.span<float>()[i]);
    }
  }
  if (all.indices.empty()) return Status::Invalid(info.name + ": no target counts");
  return all;
}

}  // namespace lockstep
