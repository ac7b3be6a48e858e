// What a handful of measurements of one thing says about it, without supposing how they are
// distributed: times have a long tail to the right, where somebody else had the core.
#ifndef LOCKSTEP_TOOLS_SCALE_STATISTICS_H_
#define LOCKSTEP_TOOLS_SCALE_STATISTICS_H_

#include <cstdint>
#include <vector>

namespace lockstep::inline v0_1::scale {

// The median, and between which measurements the true one lies with at least 95 % confidence.
struct MedianInterval {
  double median = 0.0;
  double low = 0.0, high = 0.0;
  double confidence = 0.0;  // of [low, high]; below 0.95 where there are fewer than 6 measurements

  // (high - low) / median.
  double width() const { return median > 0.0 ? (high - low) / median : 0.0; }
  // Too wide to be called a figure, or too few measurements to say how wide it is.
  bool unstable(double widest) const { return !(confidence >= 0.95 && width() <= widest); }
};

// How many of `count` independent measurements lie below the true median follows the binomial
// distribution B(count, 1/2). So the interval from the r-th smallest to the r-th largest holds the
// true median with probability 1 - 2 P(B < r); r is the largest that leaves 95 % or more, or 1.
// (Le Boudec, Performance Evaluation of Computer and Communication Systems, theorem 2.1; Hoefler
// and Belli, Scientific Benchmarking of Parallel Computing Systems, SC15, rule 8.)
int64_t IntervalRank(int64_t count);

// Of no measurements: all zero. An even number has the mean of the middle two as its median.
MedianInterval IntervalOf(std::vector<double> values);
double MedianOf(std::vector<double> values);

}  // namespace lockstep::scale

#endif  // LOCKSTEP_TOOLS_SCALE_STATISTICS_H_
