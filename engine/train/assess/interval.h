// How sure a measured number is: intervals that hold the true one in 95 of 100 cases.
//
//   share      Wilson's score interval of k of n, z = 1.96
//                (k/n + z^2/2n -+ z sqrt(k/n (1 - k/n) / n + z^2/4n^2)) / (1 + z^2/n)
//              (Wilson, Probable inference, the law of succession, and statistical inference, 1927)
//   bootstrap  the samples drawn anew with repetition, as many as there are, again and again; the
//              interval goes from the 2.5th to the 97.5th percentile of what is measured on them
//              (Efron, Bootstrap methods: another look at the jackknife, 1979)
#ifndef LOCKSTEP_ENGINE_TRAIN_ASSESS_INTERVAL_H_
#define LOCKSTEP_ENGINE_TRAIN_ASSESS_INTERVAL_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <vector>

namespace lockstep::inline v0_1 {

struct Interval {
  double low = 0.0, high = 0.0;
};

// REQUIRES: 0 <= part <= whole, whole > 0.
Interval ShareInterval(double part, double whole);

// The value below which the share q in [0, 1] of them lies, between neighbours in a straight line
// (numpy's default). REQUIRES: values, none NaN.
double Quantile(std::vector<double> values, double q);

// Measures `values` of samples that count weights[i] times each; NaN is what cannot be measured.
using Measure = std::function<void(std::span<const double> weights, std::span<double> values)>;

// For each value an interval; none where a tenth of the draws or more could not be measured, or
// there are fewer than two samples. A pure function of its arguments.
std::vector<std::optional<Interval>> Bootstrap(int64_t samples, size_t values,
                                               const Measure& measure, int64_t draws = 1000,
                                               uint64_t seed = 1);

}  // namespace lockstep

#endif  // LOCKSTEP_ENGINE_TRAIN_ASSESS_INTERVAL_H_
