#include "engine/train/assess/importance.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "engine/base/float_mode.h"
#include "engine/base/random.h"
#include "engine/train/assess/predictions.h"
#include "engine/train/assess/scores.h"

namespace lockstep::inline v0_1 {
namespace {

std::vector<size_t> Permutation(size_t size, uint64_t seed, uint64_t number) {
  std::vector<size_t> places(size);
  for (size_t i = 0; i < size; ++i) places[i] = i;
  Random random(seed, StreamOf("importance") + number);
  for (size_t i = 0; i + 1 < size; ++i) std::swap(places[i], places[i + random.Below(size - i)]);
  return places;
}

// The features of all samples, and room for those of a batch that was changed.
class Shuffled {
 public:
  Shuffled(Network& network, const Dataset& dataset)
      : network_(network),
        dataset_(dataset),
        features_(static_cast<size_t>(network.input_shape().sample_size())),
        batch_(static_cast<size_t>(network.evaluation_batch()) * features_),
        y_(static_cast<size_t>(network.evaluation_batch() * network.output_shape().sample_size())) {
  }

  Status Gather(std::span<const int64_t> indices) {
    x_.resize(indices.size() * features_);
    return dataset_.Gather(indices,
                           Tensor(x_.data(), dataset_.XShape(static_cast<int64_t>(indices.size()))),
                           Tensor());
  }

  // What is told (AppendTold) where sample i has the features of `column` from sample places[i].
  Status Predict(const FeatureColumn& column, std::span<const size_t> places,
                 std::vector<float>& outputs) {
    const auto columns = static_cast<size_t>(network_.output_shape().sample_size());
    const auto most = static_cast<size_t>(network_.evaluation_batch());
    const auto begin = static_cast<size_t>(column.begin), end = static_cast<size_t>(column.end);
    outputs.clear();
    for (size_t first = 0; first < places.size(); first += most) {
      const size_t count = std::min(most, places.size() - first);
      std::copy_n(x_.data() + first * features_, count * features_, batch_.data());
      for (size_t i = 0; i < count; ++i) {
        const float* from = x_.data() + places[first + i] * features_;
        std::copy(from + begin, from + end, batch_.data() + i * features_ + begin);
      }
      const auto n = static_cast<int64_t>(count);
      LOCKSTEP_TRY(network_.Predict(ConstTensor(batch_.data(), network_.input_shape().WithBatch(n)),
                                    Tensor(y_.data(), network_.output_shape().WithBatch(n))));
      AppendTold(network_, dataset_.info(), std::span(y_).first(count * columns), outputs);
    }
    return Status::Ok();
  }

 private:
  Network& network_;
  const Dataset& dataset_;
  size_t features_;
  std::vector<float> x_;          // of all samples
  std::vector<float> batch_, y_;  // of some, changed; and what the network makes of them
};

}  // namespace

std::vector<FeatureColumn> ColumnsOf(const DatasetInfo& info) {
  if (!info.columns.empty()) return info.columns;
  std::vector<FeatureColumn> columns;
  if (info.x_dtype != DType::kF32 || info.x_shape.rank() != 1) return columns;
  for (int64_t f = 0; f < info.x_shape[0]; ++f) {
    const auto at = static_cast<size_t>(f);
    columns.push_back({.name = at < info.feature_names.size() ? info.feature_names[at]
                                                              : "feature " + std::to_string(f),
                       .begin = f,
                       .end = f + 1});
  }
  return columns;
}

Result<Importances> PermutationImportance(Network& network, const Subset& samples,
                                          std::span<const FeatureColumn> columns,
                                          const Decision& decision,
                                          const ImportanceOptions& options) {
  const ScopedFloatMode mode;
  LOCKSTEP_TRY_ASSIGN(Predictions predictions,
                      Collect(network, DrawSamples(samples, options.samples)));
  const int64_t features = network.input_shape().sample_size();
  for (const FeatureColumn& column : columns) {
    if (column.begin < 0 || column.end > features || column.begin >= column.end)
      return Status::Invalid("column " + column.name + " has no features in a sample of " +
                             std::to_string(features));
  }
  Importances result{.samples = predictions.samples(), .repetitions = options.repetitions};
  const Scorer scorer = MakeScorer(predictions, decision);
  const std::vector<double> values = scorer.Values(result.samples);
  const auto first = std::find_if_not(values.begin(), values.end(),
                                      [](double value) { return std::isnan(value); });
  if (first == values.end()) return Status::Invalid("no score is defined for these samples");
  const auto which = static_cast<size_t>(first - values.begin());
  result.score = scorer.names[which];
  result.value = values[which];
  // Areas under curves need the samples sorted: only where one is the score.
  const bool ranked =
      std::isnan(MakeScorer(predictions, decision, /*ranked=*/false).Values(result.samples)[which]);
  const double sign = scorer.larger_is_better[which] ? 1.0 : -1.0;

  Shuffled shuffled(network, *samples.dataset);
  LOCKSTEP_TRY(shuffled.Gather(predictions.indices));
  for (size_t c = 0; c < columns.size(); ++c) {
    std::vector<double> losses;
    for (int64_t r = 0; r < options.repetitions; ++r) {
      const std::vector<size_t> places =
          Permutation(predictions.indices.size(), options.seed,
                      c * static_cast<uint64_t>(options.repetitions) + static_cast<uint64_t>(r));
      LOCKSTEP_TRY(shuffled.Predict(columns[c], places, predictions.outputs));
      const Scorer anew = MakeScorer(predictions, decision, ranked);
      losses.push_back(sign * (result.value - anew.Values(result.samples)[which]));
    }
    double mean = 0.0, squares = 0.0;
    for (const double loss : losses) mean += loss / static_cast<double>(losses.size());
    for (const double loss : losses) squares += (loss - mean) * (loss - mean);
    result.columns.push_back({.column = columns[c].name,
                              .mean = mean,
                              .sd = std::sqrt(squares / static_cast<double>(losses.size()))});
  }
  std::stable_sort(result.columns.begin(), result.columns.end(),
                   [](const Importance& a, const Importance& b) { return a.mean > b.mean; });
  return result;
}

}  // namespace lockstep
