#include "engine/train/assess/calibration.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <numeric>

#include "engine/base/check.h"
#include "engine/train/decision.h"

namespace lockstep::inline v0_1 {
namespace {

// Log loss as a function of b = 1 / T, where it is convex; summed over the samples.
struct LossAt {
  double loss = 0.0, slope = 0.0, curvature = 0.0;
};

// ln(1 + e^a), for any a.
double SoftPlus(double a) { return std::max(a, 0.0) + std::log1p(std::exp(-std::abs(a))); }

//   loss = ln(1 + e^(b y)) - t b y,  slope = y (s - t),  curvature = y^2 s (1 - s),
//   s = 1 / (1 + e^(-b y))
void AddPositive(double y, bool truth, double b, LossAt& at) {
  const double s = 1.0 / (1.0 + std::exp(-b * y));
  at.loss += SoftPlus(truth ? -b * y : b * y);
  at.slope += y * (s - (truth ? 1.0 : 0.0));
  at.curvature += y * y * s * (1.0 - s);
}

//   loss = ln sum e^(b y_c) - b y_t,  slope = E y - y_t,  curvature = E y^2 - (E y)^2,
//   where E weighs with softmax(b y)
void AddClass(std::span<const float> y, int32_t truth, double b, LossAt& at) {
  const double largest = *std::max_element(y.begin(), y.end());
  const double of_truth = y[static_cast<size_t>(truth)] - largest;
  double sum = 0.0, first = 0.0, second = 0.0;
  for (const float v : y) {
    const double z = v - largest;  // so that nothing overflows, and the squares stay small
    const double e = std::exp(b * z);
    sum += e;
    first += e * z;
    second += e * z * z;
  }
  const double mean = first / sum;
  at.loss += std::log(sum) - b * of_truth;
  at.slope += mean - of_truth;
  at.curvature += std::max(0.0, second / sum - mean * mean);
}

LossAt LossOf(const Predictions& predictions, double b, std::span<const float> weights = {}) {
  LossAt all;
  for (int64_t i = 0; i < predictions.samples(); ++i) {
    const auto place = static_cast<size_t>(i);
    LossAt at;
    if (predictions.reading == Reading::kPositive) {
      AddPositive(predictions.outputs[place], predictions.truths[place] > 0.5f, b, at);
    } else {
      AddClass(predictions.of(i), predictions.classes[place], b, at);
    }
    const double weight = weights.empty() ? 1.0 : weights[place];
    all.loss += weight * at.loss;
    all.slope += weight * at.slope;
    all.curvature += weight * at.curvature;
  }
  return all;
}

}  // namespace

std::vector<CalibrationBin> CalibrationCurve(std::span<const float> p,
                                             std::span<const float> happened,
                                             std::span<const float> weights, int bins) {
  LOCKSTEP_CHECK_EQ(p.size(), happened.size());
  LOCKSTEP_CHECK(weights.empty() || weights.size() == p.size(), "a weight for each");
  LOCKSTEP_CHECK(bins > 0, "bins");
  struct Sums {
    int64_t samples = 0;
    double weight = 0.0, squares = 0.0, happened = 0.0, said = 0.0;
  };
  std::vector<Sums> sums(static_cast<size_t>(bins));
  for (size_t i = 0; i < p.size(); ++i) {
    LOCKSTEP_CHECK(p[i] >= 0.0f && p[i] <= 1.0f, "a probability");
    const double place = std::ceil(static_cast<double>(p[i]) * bins) - 1.0;
    Sums& bin = sums[static_cast<size_t>(std::max(place, 0.0))];
    const double weight = weights.empty() ? 1.0 : weights[i];
    ++bin.samples;
    bin.weight += weight;
    bin.squares += weight * weight;
    bin.happened += happened[i] > 0.5f ? weight : 0.0;
    bin.said += weight * p[i];
  }
  std::vector<CalibrationBin> curve;
  for (size_t b = 0; b < sums.size(); ++b) {
    const Sums& bin = sums[b];
    if (!(bin.weight > 0.0)) continue;
    const double each = bin.squares / bin.weight;  // 1 where every sample counts once
    curve.push_back({.low = static_cast<double>(b) / bins,
                     .high = static_cast<double>(b + 1) / bins,
                     .samples = bin.samples,
                     .weight = bin.weight,
                     .said = bin.said / bin.weight,
                     .so = bin.happened / bin.weight,
                     .so_interval = ShareInterval(bin.happened / each, bin.weight / each)});
  }
  return curve;
}

double ExpectedCalibrationError(std::span<const CalibrationBin> curve) {
  double error = 0.0, weight = 0.0;
  for (const CalibrationBin& bin : curve) {
    error += bin.weight * std::abs(bin.said - bin.so);
    weight += bin.weight;
  }
  return curve.empty() ? 0.0 : error / weight;
}

Claims ClaimsOf(const Predictions& predictions, std::span<const float> p) {
  LOCKSTEP_CHECK(predictions.reading != Reading::kValues, "numbers claim no probability");
  if (predictions.reading == Reading::kPositive)
    return {.p = {p.begin(), p.end()}, .happened = predictions.truths};
  Claims claims;
  const auto classes = static_cast<size_t>(predictions.columns);
  for (size_t i = 0; i < predictions.classes.size(); ++i) {
    const std::span<const float> of = p.subspan(i * classes, classes);
    const auto said = std::max_element(of.begin(), of.end());
    claims.p.push_back(std::min(*said, 1.0f));  // a softmax may round to a little more
    claims.happened.push_back(said - of.begin() == predictions.classes[i] ? 1.0f : 0.0f);
  }
  return claims;
}

double BrierOf(const Predictions& predictions, std::span<const float> p, int64_t i) {
  const auto place = static_cast<size_t>(i);
  if (predictions.reading == Reading::kPositive) {
    const double d = static_cast<double>(p[place]) - predictions.truths[place];
    return d * d;
  }
  const auto classes = static_cast<size_t>(predictions.columns);
  double sum = 0.0;
  for (size_t c = 0; c < classes; ++c) {
    const bool truth = predictions.classes[place] == static_cast<int32_t>(c);
    const double d = static_cast<double>(p[place * classes + c]) - (truth ? 1.0 : 0.0);
    sum += d * d;
  }
  return sum;
}

double LogLoss(const Predictions& predictions, double temperature, std::span<const float> weights) {
  const double all = weights.empty() ? static_cast<double>(predictions.samples())
                                     : std::accumulate(weights.begin(), weights.end(), 0.0);
  return LossOf(predictions, 1.0 / temperature, weights).loss / all;
}

// Newton's method for the zero of the slope, which rises: kept inside the bracket by halving it.
std::optional<float> FitTemperature(const Predictions& predictions) {
  double low = 1.0 / kMostTemperature, high = 1.0 / kLeastTemperature;
  if (!(LossOf(predictions, low).slope < 0.0) || !(LossOf(predictions, high).slope > 0.0))
    return std::nullopt;
  constexpr int kMostSteps = 60;
  double b = 1.0;
  for (int step = 0; step < kMostSteps && high - low > 1e-7 * low; ++step) {
    const LossAt at = LossOf(predictions, b);
    (at.slope > 0.0 ? high : low) = b;
    const double next = at.curvature > 0.0 ? b - at.slope / at.curvature : low;
    const bool inside = next > low && next < high;
    const double before = b;
    b = inside ? next : 0.5 * (low + high);
    if (inside && std::abs(b - before) <= 1e-7 * before) break;
  }
  const double rounded = std::round(1e4 / b) / 1e4;
  return static_cast<float>(std::clamp<double>(rounded, kLeastTemperature, kMostTemperature));
}

}  // namespace lockstep
