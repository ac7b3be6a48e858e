#include "engine/train/assess/scores.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <memory>
#include <utility>

#include "engine/base/check.h"
#include "engine/train/assess/calibration.h"
#include "engine/train/assess/ranking.h"

namespace lockstep::inline v0_1 {
namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
// Measuring the areas of all classes on a thousand draws takes as many steps as a thousand times
// samples and classes: for more of these they are measured once, and without an interval.
constexpr int64_t kMostRanked = int64_t{1} << 18;

double Share(double part, double whole) { return whole > 0.0 ? part / whole : kNan; }

std::vector<double> BriersOf(const Predictions& predictions, std::span<const float> p) {
  std::vector<double> all;
  for (int64_t i = 0; i < predictions.samples(); ++i) all.push_back(BrierOf(predictions, p, i));
  return all;
}

struct Binary {
  std::optional<Ranking> ranking;
  std::vector<uint8_t> positive, said;
  std::vector<double> brier;

  void Measure(std::span<const double> weights, std::span<double> values) const {
    const Ranking::Areas areas = ranking ? ranking->Weighted(weights)
                                         : Ranking::Areas{.auc = kNan, .average_precision = kNan};
    double outcomes[2][2] = {};  // by truth, by what was said
    double sum = 0.0, n = 0.0;
    for (size_t i = 0; i < weights.size(); ++i) {
      const double weight = weights[i];
      outcomes[positive[i]][said[i]] += weight;
      sum += weight * brier[i];
      n += weight;
    }
    const auto [tn, fp] = outcomes[0];
    const auto [fn, tp] = outcomes[1];
    const double all[] = {areas.auc,          areas.average_precision,
                          Share(tp + tn, n),  Share(tp, tp + fn),
                          Share(tn, tn + fp), Share(tp, tp + fp),
                          Share(tn, tn + fn), Share(2.0 * tp, 2.0 * tp + fp + fn),
                          Share(sum, n)};
    std::copy(std::begin(all), std::end(all), values.begin());
  }
};

Scorer BinaryScorer(const Predictions& predictions, const Decision& decision, bool ranked) {
  const std::vector<float> p = predictions.Probabilities(decision.temperature);
  auto binary = std::make_shared<Binary>();
  if (ranked) binary->ranking.emplace(predictions.outputs, predictions.truths);
  binary->brier = BriersOf(predictions, p);
  for (size_t i = 0; i < p.size(); ++i) {
    binary->positive.push_back(predictions.truths[i] > 0.5f ? 1 : 0);
    binary->said.push_back(p[i] > decision.threshold ? 1 : 0);
  }
  return {.names = {"auc", "average_precision", "accuracy", "recall", "specificity", "precision",
                    "negative_precision", "f1", "brier"},
          .larger_is_better = {true, true, true, true, true, true, true, true, false},
          .measure = [binary](std::span<const double> weights, std::span<double> values) {
            binary->Measure(weights, values);
          }};
}

// Each class against all others, for the area under its curve.
std::vector<Ranking> RankingsOf(const Predictions& predictions, std::span<const float> p) {
  const auto classes = static_cast<size_t>(predictions.columns);
  std::vector<Ranking> rankings;
  std::vector<float> scores(predictions.classes.size()), labels(scores.size());
  for (size_t c = 0; c < classes; ++c) {
    for (size_t i = 0; i < scores.size(); ++i) {
      scores[i] = p[i * classes + c];
      labels[i] = predictions.classes[i] == static_cast<int32_t>(c) ? 1.0f : 0.0f;
    }
    rankings.emplace_back(scores, labels);
  }
  return rankings;
}

std::vector<int32_t> PredictedClasses(std::span<const float> p, int64_t columns) {
  const auto classes = static_cast<size_t>(columns);
  std::vector<int32_t> predicted;
  for (size_t i = 0; i < p.size(); i += classes) {
    predicted.push_back(
        static_cast<int32_t>(PredictedClass(Reading::kOneOf, p.subspan(i, classes))));
  }
  return predicted;
}

struct OneOf {
  size_t classes;
  std::vector<int32_t> truths, predicted;
  std::vector<double> brier;
  std::vector<Ranking> rankings;  // of each class, or empty

  void Measure(std::span<const double> weights, std::span<double> values) const {
    std::vector<double> samples(classes), said(classes), right(classes);
    double sum = 0.0, n = 0.0, hits = 0.0;
    for (size_t i = 0; i < weights.size(); ++i) {
      const double weight = weights[i];
      const auto truth = static_cast<size_t>(truths[i]);
      const auto predicted_class = static_cast<size_t>(predicted[i]);
      samples[truth] += weight;
      said[predicted_class] += weight;
      if (truth == predicted_class) right[truth] += weight, hits += weight;
      sum += weight * brier[i];
      n += weight;
    }
    double present = 0.0, recall = 0.0, precision = 0.0, f1 = 0.0, auc = 0.0, areas = 0.0;
    for (size_t c = 0; c < classes; ++c) {
      if (samples[c] == 0.0) continue;
      present += 1.0;
      recall += right[c] / samples[c];
      if (said[c] > 0.0) precision += right[c] / said[c];
      f1 += 2.0 * right[c] / (samples[c] + said[c]);
      if (rankings.empty()) continue;
      const double area = rankings[c].Weighted(weights).auc;
      if (std::isnan(area)) continue;
      auc += area;
      areas += 1.0;
    }
    const double all[] = {Share(hits, n),         Share(auc, areas),
                          Share(recall, present), Share(precision, present),
                          Share(f1, present),     Share(sum, n)};
    std::copy(std::begin(all), std::end(all), values.begin());
  }
};

Scorer ClassScorer(const Predictions& predictions, const Decision& decision, bool ranked) {
  const std::vector<float> p = predictions.Probabilities(decision.temperature);
  auto one_of = std::make_shared<OneOf>(
      OneOf{.classes = static_cast<size_t>(predictions.columns),
            .truths = predictions.classes,
            .predicted = PredictedClasses(p, predictions.columns),
            .brier = BriersOf(predictions, p),
            .rankings = ranked ? RankingsOf(predictions, p) : std::vector<Ranking>()});
  return {
      .names = {"accuracy", "macro_auc", "macro_recall", "macro_precision", "macro_f1", "brier"},
      .larger_is_better = {true, true, true, true, true, false},
      .measure = [one_of](std::span<const double> weights, std::span<double> values) {
        one_of->Measure(weights, values);
      }};
}

struct Values {
  size_t columns;
  std::vector<double> truths, errors;  // (samples, columns); truths less their mean

  void Measure(std::span<const double> weights, std::span<double> values) const {
    double r2 = 0.0, mae = 0.0, squares = 0.0, bias = 0.0, n = 0.0;
    for (const double weight : weights) n += weight;
    for (size_t c = 0; c < columns; ++c) {
      double mean = 0.0, square = 0.0, error_square = 0.0;
      for (size_t i = 0; i < weights.size(); ++i) {
        const double weight = weights[i], error = errors[i * columns + c];
        const double truth = truths[i * columns + c];
        mean += weight * truth;
        square += weight * truth * truth;
        error_square += weight * error * error;
        mae += weight * std::abs(error);
        bias += weight * error;
      }
      const double spread = square - mean * mean / n;
      // What rounding leaves of equal targets is no spread.
      r2 += spread > 1e-14 * square ? 1.0 - error_square / spread : kNan;
      squares += error_square;
    }
    const double all = n * static_cast<double>(columns);
    values[0] = r2 / static_cast<double>(columns);
    values[1] = Share(mae, all);
    values[2] = std::sqrt(Share(squares, all));
    values[3] = Share(bias, all);
  }
};

Scorer ValueScorer(const Predictions& predictions) {
  auto values = std::make_shared<Values>();
  values->columns = static_cast<size_t>(predictions.columns);
  const size_t columns = values->columns;
  const auto samples = static_cast<double>(std::max<int64_t>(predictions.samples(), 1));
  std::vector<double> means(columns);
  for (size_t i = 0; i < predictions.truths.size(); ++i)
    means[i % columns] += predictions.truths[i] / samples;
  for (size_t i = 0; i < predictions.truths.size(); ++i) {
    const double truth = predictions.truths[i];
    values->truths.push_back(truth - means[i % columns]);
    values->errors.push_back(predictions.outputs[i] - truth);
  }
  return {.names = {"r2", "mae", "rmse", "bias"},
          .larger_is_better = {true, false, false, false},
          .measure = [values](std::span<const double> weights, std::span<double> of) {
            values->Measure(weights, of);
          }};
}

// Every sample counts as often as is asked, times its weight.
Scorer ByWeight(Scorer scorer, const std::vector<float>& weights) {
  scorer.measure = [measure = std::move(scorer.measure), weights](std::span<const double> counts,
                                                                  std::span<double> values) {
    std::vector<double> all(counts.begin(), counts.end());
    for (size_t i = 0; i < all.size(); ++i) all[i] *= weights[i];
    measure(all, values);
  };
  return scorer;
}

}  // namespace

std::vector<double> Scorer::Values(int64_t samples) const {
  std::vector<double> values(names.size());
  measure(std::vector<double>(static_cast<size_t>(samples), 1.0), values);
  return values;
}

Scorer MakeScorer(const Predictions& predictions, const Decision& decision, bool ranked) {
  switch (predictions.reading) {
    case Reading::kPositive:
      return BinaryScorer(predictions, decision, ranked);
    case Reading::kOneOf:
      return ClassScorer(predictions, decision, ranked);
    case Reading::kValues:
      break;
  }
  return ValueScorer(predictions);
}

std::vector<Score> ScoresOf(const Predictions& predictions, const Decision& decision,
                            int64_t interval_samples, bool by_weight) {
  const auto make = [&](const Predictions& of, bool ranked) {
    Scorer scorer = MakeScorer(of, decision, ranked);
    return by_weight ? ByWeight(std::move(scorer), of.weights) : scorer;
  };
  const Scorer scorer = make(predictions, /*ranked=*/true);
  const std::vector<double> values = scorer.Values(predictions.samples());
  std::vector<Score> scores;
  for (size_t s = 0; s < values.size(); ++s)
    scores.push_back({.name = scorer.names[s], .value = values[s]});
  if (interval_samples == 0) return scores;

  const Subset places = DrawSamples(
      {.dataset = nullptr, .indices = AllIndices(predictions.samples())}, interval_samples);
  const auto drawn = static_cast<int64_t>(places.indices.size());
  const bool ranked =
      predictions.reading == Reading::kPositive || drawn * predictions.columns <= kMostRanked;
  const bool all = drawn == predictions.samples() && ranked;
  const Scorer of_drawn = all ? scorer : make(predictions.Selected(places.indices), ranked);
  const std::vector<std::optional<Interval>> intervals =
      Bootstrap(drawn, values.size(), of_drawn.measure);
  for (size_t s = 0; s < values.size(); ++s) {
    if (!std::isnan(values[s])) scores[s].interval = intervals[s];
  }
  return scores;
}

std::vector<ClassScores> ScoresByClass(const Predictions& predictions, std::span<const float> p) {
  LOCKSTEP_CHECK(predictions.reading == Reading::kOneOf, "classes");
  std::vector<ClassScores> scores(static_cast<size_t>(predictions.columns));
  const std::vector<int32_t> predicted = PredictedClasses(p, predictions.columns);
  for (size_t i = 0; i < predicted.size(); ++i) {
    ClassScores& truth = scores[static_cast<size_t>(predictions.classes[i])];
    ++truth.samples;
    ++scores[static_cast<size_t>(predicted[i])].predicted;
    truth.right += predicted[i] == predictions.classes[i] ? 1 : 0;
  }
  const std::vector<Ranking> rankings = RankingsOf(predictions, p);
  for (size_t c = 0; c < scores.size(); ++c) {
    ClassScores& one = scores[c];
    const auto right = static_cast<double>(one.right);
    const auto samples = static_cast<double>(one.samples);
    const auto said = static_cast<double>(one.predicted);
    one.recall = Share(right, samples);
    one.precision = Share(right, said);
    one.f1 = Share(2.0 * right, samples + said);
    one.auc = rankings[c].Auc();
  }
  return scores;
}

}  // namespace lockstep
