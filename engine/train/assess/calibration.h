// Whether probabilities mean what they say.
//
//   Brier score   mean (p - t)^2 of two classes; mean sum over classes (p_c - t_c)^2 of more
//                 (Brier, Verification of forecasts expressed in terms of probability, 1950)
//   log loss      mean -ln p(true class)
//   curve         samples by their predicted probability, in bins of equal width: what was said on
//                 average, and how often it was so
//   ECE           expected calibration error: sum over bins n_bin / n * |said - so|
//   temperature   T > 0 with the least log loss of softmax(outputs / T), or of 1 / (1 + e^(-y/T))
//                 (both: Guo, Pleiss, Sun, Weinberger, On calibration of modern neural networks,
//                 ICML 2017)
#ifndef LOCKSTEP_ENGINE_TRAIN_ASSESS_CALIBRATION_H_
#define LOCKSTEP_ENGINE_TRAIN_ASSESS_CALIBRATION_H_

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "engine/train/assess/interval.h"
#include "engine/train/assess/predictions.h"

namespace lockstep::inline v0_1 {

struct CalibrationBin {
  double low = 0.0, high = 0.0;  // holds (low, high]; the first its lower end, too
  int64_t samples = 0;           // never 0: empty bins are left out
  double weight = 0.0;           // of them, > 0; as many as there are where they have none
  double said = 0.0;             // the mean of the predicted probabilities
  double so = 0.0;               // the share of the samples where it came true
  Interval so_interval{};        // Wilson's, 95 %
};

// p[i] in [0, 1] was said of an event that came true where happened[i] > 0.5. Means and shares are
// by `weights` (empty: every sample counts once); an interval is then that of (sum w)^2 / sum w^2
// samples (Kish, Survey sampling, 1965).
std::vector<CalibrationBin> CalibrationCurve(std::span<const float> p,
                                             std::span<const float> happened,
                                             std::span<const float> weights = {}, int bins = 10);
// 0 of no bins.
double ExpectedCalibrationError(std::span<const CalibrationBin> curve);

// What an error of calibration is measured of: of two classes the probability of the positive one,
// and whether it is one; of more that of the predicted class, and whether it is right. `p` as
// Probabilities() gives it. REQUIRES: no regression.
struct Claims {
  std::vector<float> p, happened;
};
Claims ClaimsOf(const Predictions& predictions, std::span<const float> p);

// (p - t)^2 of sample i, or the sum over the classes.
double BrierOf(const Predictions& predictions, std::span<const float> p, int64_t i);

// From the outputs, so that it stays finite where probabilities round to 0; the mean by `weights`
// (empty: every sample counts once). REQUIRES: samples, no regression.
double LogLoss(const Predictions& predictions, double temperature,
               std::span<const float> weights = {});

// To four digits behind the point, for what lies behind those is chance. Empty where there is none
// in [kLeastTemperature, kMostTemperature]: every sample is told rightly, so that the surer the
// better; or the outputs are worse than guessing.
std::optional<float> FitTemperature(const Predictions& predictions);

}  // namespace lockstep

#endif  // LOCKSTEP_ENGINE_TRAIN_ASSESS_CALIBRATION_H_
