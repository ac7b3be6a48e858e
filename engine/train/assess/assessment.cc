#include "engine/train/assess/assessment.h"

#include <algorithm>

#include "engine/base/check.h"
#include "engine/base/float_mode.h"

namespace lockstep::inline v0_1 {
namespace {

// What a thousand classes have of a few thousand samples.
constexpr int64_t kMostOutputs = int64_t{1} << 22;
// Passes of single samples through the network take so many multiplications and additions together:
// a second or two. Each counts some thousand beside those of its parameters.
constexpr double kMostWork = 2e10, kOfEachPass = 4000.0;
constexpr int64_t kFewestSamples = 100;
constexpr int64_t kMostGroups = 20;

void AssessClasses(const Predictions& predictions, Assessment& all) {
  const std::vector<float> p = predictions.Probabilities(all.decision.temperature);
  all.log_loss = LogLoss(predictions, all.decision.temperature);
  all.uncalibrated_log_loss = LogLoss(predictions, 1.0);
  const Claims claims = ClaimsOf(predictions, p);
  if (const std::vector<float>& weights = predictions.weights; !weights.empty()) {
    const auto curve = CalibrationCurve(claims.p, claims.happened, weights);
    all.weighted.push_back(
        {.name = "log_loss", .value = LogLoss(predictions, all.decision.temperature, weights)});
    all.weighted.push_back({.name = "calibration_error", .value = ExpectedCalibrationError(curve)});
  }
  all.calibration = CalibrationCurve(claims.p, claims.happened);
  all.calibration_error = ExpectedCalibrationError(all.calibration);
  if (predictions.reading == Reading::kOneOf) {
    all.classes = ScoresByClass(predictions, p);
    return;
  }
  const Ranking ranking(predictions.outputs, predictions.truths);
  all.positives = ranking.positives();
  if (ranking.positives() > 0 && ranking.negatives() > 0) all.cuts = ranking.cuts();
  all.outcome = OutcomeAt(p, predictions.truths, all.decision.threshold);
  for (int tenth = 1; tenth <= 9; ++tenth) {
    const float threshold = static_cast<float>(tenth) / 10.0f;
    all.outcomes.push_back({threshold, OutcomeAt(p, predictions.truths, threshold)});
  }
}

SubgroupScores AssessGroups(const Predictions& predictions, const Subgroup& by,
                            const Assessment& all) {
  SubgroupScores result{.column = by.column};
  std::vector<std::vector<int64_t>> places(by.names.size());
  for (int64_t i = 0; i < predictions.samples(); ++i) {
    const auto index = static_cast<size_t>(predictions.indices[static_cast<size_t>(i)]);
    LOCKSTEP_CHECK_LT(index, by.of_sample.size());
    const int32_t group = by.of_sample[index];
    LOCKSTEP_CHECK_LT(group, static_cast<int32_t>(by.names.size()));
    if (group < 0) {
      ++result.without;
    } else {
      places[static_cast<size_t>(group)].push_back(i);
    }
  }
  std::vector<size_t> order;
  for (size_t g = 0; g < places.size(); ++g) {
    if (!places[g].empty()) order.push_back(g);
  }
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return places[a].size() > places[b].size(); });
  result.smaller = std::max<int64_t>(0, static_cast<int64_t>(order.size()) - kMostGroups);
  order.resize(order.size() - static_cast<size_t>(result.smaller));
  for (const size_t g : order) {
    const Predictions some = predictions.Selected(places[g]);
    GroupScores group{.name = by.names[g],
                      .samples = some.samples(),
                      .scores = ScoresOf(some, all.decision, all.interval_samples)};
    if (some.reading == Reading::kPositive) {
      group.positives = std::count_if(some.truths.begin(), some.truths.end(),
                                      [](float truth) { return truth > 0.5f; });
    }
    result.groups.push_back(std::move(group));
  }
  return result;
}

// Of as many samples as the work allows.
Status AssessColumns(Network& network, const Subset& samples, ImportanceOptions options,
                     Assessment& all) {
  const std::vector<FeatureColumn> columns = ColumnsOf(samples.dataset->info());
  if (columns.empty()) return Status::Ok();
  const double passes =
      static_cast<double>(columns.size()) * static_cast<double>(options.repetitions);
  const double of_one = kOfEachPass + 2.0 * static_cast<double>(network.parameter_count());
  const double most = kMostWork / (of_one * passes);
  if (most < static_cast<double>(kFewestSamples)) {
    all.importance_note = "not measured: with " + std::to_string(columns.size()) +
                          " columns and a network of " + std::to_string(network.parameter_count()) +
                          " parameters it takes too long";
    return Status::Ok();
  }
  options.samples = std::min(options.samples, static_cast<int64_t>(most));
  LOCKSTEP_TRY_ASSIGN(all.importances,
                      PermutationImportance(network, samples, columns, all.decision, options));
  return Status::Ok();
}

}  // namespace

Result<Assessment> Assess(Network& network, const Subset& samples, const Decision& decision,
                          const AssessOptions& options) {
  const ScopedFloatMode mode;
  if (samples.empty()) return Status::Invalid("there are no samples to assess");
  const int64_t most =
      std::clamp<int64_t>(kMostOutputs / network.output_shape().sample_size(), 1, options.samples);
  const Subset drawn = DrawSamples(samples, most);
  LOCKSTEP_TRY_ASSIGN(const Predictions predictions, Collect(network, drawn));
  Assessment all{.reading = predictions.reading,
                 .decision = decision,
                 .samples = predictions.samples(),
                 .of = static_cast<int64_t>(samples.indices.size()),
                 .interval_samples = std::min(options.interval_samples, predictions.samples())};
  all.scores = ScoresOf(predictions, decision, all.interval_samples);
  if (!predictions.weights.empty())
    all.weighted = ScoresOf(predictions, decision, all.interval_samples, /*by_weight=*/true);
  if (predictions.reading == Reading::kValues) {
    const bool one = predictions.columns == 1;  // whose scores are those of all
    const int64_t share = one ? 0 : all.interval_samples / predictions.columns;
    for (int64_t c = 0; c < predictions.columns; ++c)
      all.residuals.push_back(ResidualsOf(predictions, c, {.interval_samples = share}));
    if (one) all.residuals[0].scores = all.scores;
  } else {
    AssessClasses(predictions, all);
  }
  for (const Subgroup& by : options.subgroups)
    all.subgroups.push_back(AssessGroups(predictions, by, all));
  if (options.importance)
    LOCKSTEP_TRY(AssessColumns(network, samples, options.importance_options, all));
  return all;
}

}  // namespace lockstep
