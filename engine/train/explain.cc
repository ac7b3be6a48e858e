#include "engine/train/explain.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <string>

#include "engine/base/catch.h"
#include "engine/base/random.h"
#include "engine/base/shuffle.h"

namespace lockstep::inline v0_1 {
namespace {

// What is told of many samples, a batch at a time.
class Trials {
 public:
  Trials(Network& network, const ToldOf& told) : network_(network), told_(told) {
    const Shape& x = network.input_shape();
    batch_ = network.evaluation_batch();
    x_.resize(static_cast<size_t>(batch_ * x.sample_size()));
    y_.resize(static_cast<size_t>(batch_ * network.output_shape().sample_size()));
  }

  // One more; its number is the next of told().
  Status Add(std::span<const float> sample) {
    std::copy(sample.begin(), sample.end(),
              x_.begin() + waiting_ * static_cast<std::ptrdiff_t>(sample.size()));
    return ++waiting_ == batch_ ? Flush() : Status::Ok();
  }
  Status Flush() {
    if (waiting_ == 0) return Status::Ok();
    const Shape y = network_.output_shape().WithBatch(waiting_);
    LOCKSTEP_TRY(network_.Predict(
        ConstTensor(x_.data(), network_.input_shape().WithBatch(waiting_)), Tensor(y_.data(), y)));
    const auto outputs = static_cast<size_t>(y.sample_size());
    for (size_t i = 0; i < static_cast<size_t>(waiting_); ++i) {
      const double told = told_(std::span<const float>(y_).subspan(i * outputs, outputs));
      if (!std::isfinite(told))
        return Status::NonFinite("what is to be explained is " + std::to_string(told));
      values_.push_back(told);
    }
    waiting_ = 0;
    return Status::Ok();
  }
  const std::vector<double>& told() const { return values_; }

 private:
  Network& network_;
  const ToldOf& told_;
  int64_t batch_ = 1, waiting_ = 0;
  std::vector<float> x_, y_;
  std::vector<double> values_;
};

// A sample of which some columns are known.
class Mixed {
 public:
  Mixed(std::span<const float> x, std::span<const float> baseline)
      : x_(x), baseline_(baseline), sample_(baseline.begin(), baseline.end()) {}
  void Set(const FeatureColumn& column, bool known) {
    const std::span<const float> from = known ? x_ : baseline_;
    std::copy(from.begin() + column.begin, from.begin() + column.end,
              sample_.begin() + column.begin);
  }
  std::span<const float> sample() const { return sample_; }

 private:
  std::span<const float> x_, baseline_;
  std::vector<float> sample_;
};

// All 2^n sets of columns, as the bits of their number.
Status ExplainExactly(Trials& trials, Mixed& mixed, const std::vector<FeatureColumn>& columns,
                      std::vector<double>& contributions) {
  const size_t n = columns.size(), sets = size_t{1} << n;
  for (size_t set = 0; set < sets; ++set) {
    for (size_t i = 0; i < n; ++i) mixed.Set(columns[i], (set >> i & 1) != 0);
    LOCKSTEP_TRY(trials.Add(mixed.sample()));
  }
  LOCKSTEP_TRY(trials.Flush());
  // share[k] = k! (n - k - 1)! / n!
  std::vector<double> share(n);
  double choices = 1.0;  // (n - 1 over k)
  for (size_t k = 0; k < n; ++k) {
    share[k] = 1.0 / (static_cast<double>(n) * choices);
    choices *= static_cast<double>(n - 1 - k) / static_cast<double>(k + 1);
  }
  const double* told = trials.told().data() + trials.told().size() - sets;
  for (size_t i = 0; i < n; ++i) {
    for (size_t set = 0; set < sets; ++set) {
      if ((set >> i & 1) != 0) continue;
      size_t known = 0;
      for (size_t rest = set; rest != 0; rest &= rest - 1) ++known;
      contributions[i] += share[known] * (told[set | size_t{1} << i] - told[set]);
    }
  }
  return Status::Ok();
}

// Returns the largest standard error.
Result<double> ExplainByDrawing(Trials& trials, Mixed& mixed,
                                const std::vector<FeatureColumn>& columns, double baseline,
                                double prediction, const ExplainOptions& options,
                                std::vector<double>& contributions) {
  const size_t n = columns.size();
  const auto pairs = static_cast<size_t>(std::max<int64_t>(1, options.orders / 2));
  Random random(options.seed, StreamOf("explain"));
  std::vector<size_t> order(n);
  std::iota(order.begin(), order.end(), size_t{0});
  std::vector<std::vector<size_t>> orders;
  for (size_t pair = 0; pair < pairs; ++pair) {
    Shuffle(order, random);
    orders.push_back(order);
    orders.emplace_back(order.rbegin(), order.rend());
  }
  const size_t first = trials.told().size();
  for (const std::vector<size_t>& one : orders) {
    for (const FeatureColumn& column : columns) mixed.Set(column, false);
    for (size_t i = 0; i + 1 < n; ++i) {
      mixed.Set(columns[one[i]], true);
      LOCKSTEP_TRY(trials.Add(mixed.sample()));
    }
  }
  LOCKSTEP_TRY(trials.Flush());
  const double* told = trials.told().data() + first;
  std::vector<double> of_pair(n), squares(n, 0.0);
  for (size_t o = 0; o < orders.size(); ++o) {
    if (o % 2 == 0) std::fill(of_pair.begin(), of_pair.end(), 0.0);
    double before = baseline;
    for (size_t i = 0; i < n; ++i) {
      const double after = i + 1 < n ? *told++ : prediction;
      of_pair[orders[o][i]] += (after - before) / 2.0;
      before = after;
    }
    if (o % 2 == 0) continue;
    for (size_t i = 0; i < n; ++i) {
      contributions[i] += of_pair[i];
      squares[i] += of_pair[i] * of_pair[i];
    }
  }
  const auto count = static_cast<double>(pairs);
  double largest = 0.0;
  for (size_t i = 0; i < n; ++i) {
    contributions[i] /= count;
    const double variance = std::max(0.0, squares[i] / count - contributions[i] * contributions[i]);
    if (pairs > 1) largest = std::max(largest, std::sqrt(variance / (count - 1.0)));
  }
  return largest;
}

Status CheckFinite(std::span<const float> sample, const char* what) {
  const auto bad =
      std::find_if_not(sample.begin(), sample.end(), [](float v) { return std::isfinite(v); });
  if (bad == sample.end()) return Status::Ok();
  return Status::NonFinite("number " + std::to_string(bad - sample.begin()) + " of the " + what +
                           " is " + std::to_string(*bad));
}

Result<Explanation> ExplainOn(Network& network, std::span<const float> x,
                              std::span<const float> baseline,
                              std::span<const FeatureColumn> columns, const ToldOf& told,
                              const ExplainOptions& options) {
  if (!told) return Status::Invalid("told is empty: it says what is to be explained");
  const auto features = static_cast<size_t>(network.input_shape().sample_size());
  if (x.size() != features || baseline.size() != features) {
    return Status::Invalid("the network takes " + std::to_string(features) +
                           " numbers of a sample, not " + std::to_string(x.size()) + " and " +
                           std::to_string(baseline.size()));
  }
  LOCKSTEP_TRY(CheckFinite(x, "sample"));
  LOCKSTEP_TRY(CheckFinite(baseline, "baseline"));
  Explanation explanation;
  explanation.contributions.resize(columns.size());
  // Those that differ.
  std::vector<FeatureColumn> differing;
  std::vector<size_t> places;
  std::vector<float> rest(x.begin(), x.end());
  for (size_t c = 0; c < columns.size(); ++c) {
    const FeatureColumn& column = columns[c];
    if (column.begin < 0 || column.end < column.begin ||
        column.end > static_cast<int64_t>(features)) {
      return Status::Invalid("column " + std::to_string(c) + " is no range of the " +
                             std::to_string(features) + " numbers of a sample");
    }
    std::copy(baseline.begin() + column.begin, baseline.begin() + column.end,
              rest.begin() + column.begin);
    if (std::equal(x.begin() + column.begin, x.begin() + column.end,
                   baseline.begin() + column.begin))
      continue;
    differing.push_back(column);
    places.push_back(c);
  }
  if (!std::equal(rest.begin(), rest.end(), baseline.begin()))
    return Status::Invalid("the columns leave out numbers that differ from the baseline");

  Trials trials(network, told);
  LOCKSTEP_TRY(trials.Add(baseline));
  LOCKSTEP_TRY(trials.Add(x));
  LOCKSTEP_TRY(trials.Flush());
  explanation.baseline = trials.told()[0];
  explanation.prediction = trials.told()[1];
  if (differing.empty()) return explanation;

  std::vector<double> contributions(differing.size(), 0.0);
  Mixed mixed(x, baseline);
  constexpr int64_t kMost = 20;
  if (static_cast<int64_t>(differing.size()) <= std::min(options.exact, kMost)) {
    LOCKSTEP_TRY(ExplainExactly(trials, mixed, differing, contributions));
  } else {
    LOCKSTEP_TRY_ASSIGN(explanation.error,
                        ExplainByDrawing(trials, mixed, differing, explanation.baseline,
                                         explanation.prediction, options, contributions));
  }
  for (size_t i = 0; i < places.size(); ++i)
    explanation.contributions[places[i]] = contributions[i];
  return explanation;
}

}  // namespace

Result<Explanation> Explain(Network& network, std::span<const float> x,
                            std::span<const float> baseline, std::span<const FeatureColumn> columns,
                            const ToldOf& told, const ExplainOptions& options) {
  return StatusOf([&] { return ExplainOn(network, x, baseline, columns, told, options); });
}

}  // namespace lockstep
