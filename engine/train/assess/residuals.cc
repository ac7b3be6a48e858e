#include "engine/train/assess/residuals.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <numeric>

#include "engine/base/check.h"

namespace lockstep::inline v0_1 {
namespace {

Predictions ColumnOf(const Predictions& predictions, int64_t column) {
  Predictions one{.reading = predictions.reading, .columns = 1, .indices = predictions.indices};
  for (int64_t i = 0; i < predictions.samples(); ++i) {
    const auto at = static_cast<size_t>(i * predictions.columns + column);
    one.outputs.push_back(predictions.outputs[at]);
    one.truths.push_back(predictions.truths[at]);
  }
  return one;
}

}  // namespace

Residuals ResidualsOf(const Predictions& predictions, int64_t column,
                      const ResidualOptions& options) {
  LOCKSTEP_CHECK(predictions.reading == Reading::kValues, "numbers");
  LOCKSTEP_CHECK(column >= 0 && column < predictions.columns, "a column");
  LOCKSTEP_CHECK(predictions.samples() > 0 && options.ranges > 0, "samples");
  const Predictions one = ColumnOf(predictions, column);
  Residuals residuals{.scores = ScoresOf(one, {}, options.interval_samples)};
  std::vector<double> errors;
  for (size_t i = 0; i < one.outputs.size(); ++i)
    errors.push_back(static_cast<double>(one.outputs[i]) - one.truths[i]);
  residuals.least = Quantile(errors, 0.0);
  residuals.q05 = Quantile(errors, 0.05);
  residuals.median = Quantile(errors, 0.5);
  residuals.q95 = Quantile(errors, 0.95);
  residuals.most = Quantile(errors, 1.0);

  const double width = residuals.most - residuals.least;
  residuals.histogram.resize(width > 0.0 ? static_cast<size_t>(options.ranges) : 1);
  for (const double error : errors) {
    const double place =
        width > 0.0 ? (error - residuals.least) / width * static_cast<double>(options.ranges) : 0.0;
    ++residuals.histogram[std::min(static_cast<size_t>(place), residuals.histogram.size() - 1)];
  }

  const auto pair = [&](int64_t i) {
    const auto at = static_cast<size_t>(i);
    return ValuePair{
        .index = one.indices[at], .truth = one.truths[at], .predicted = one.outputs[at]};
  };
  const Subset drawn =
      DrawSamples({.dataset = nullptr, .indices = AllIndices(one.samples())}, options.points);
  for (const int64_t i : drawn.indices) residuals.points.push_back(pair(i));
  std::vector<int64_t> order = AllIndices(one.samples());
  const auto most =
      std::min(order.size(), static_cast<size_t>(std::max<int64_t>(options.largest, 0)));
  std::partial_sort(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(most), order.end(),
                    [&](int64_t a, int64_t b) {
                      const double of_a = std::abs(errors[static_cast<size_t>(a)]);
                      const double of_b = std::abs(errors[static_cast<size_t>(b)]);
                      return of_a > of_b || (of_a == of_b && a < b);
                    });
  for (size_t i = 0; i < most; ++i) residuals.largest.push_back(pair(order[i]));
  return residuals;
}

}  // namespace lockstep
