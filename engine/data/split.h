// One dataset split into training, validation and test samples: three lists of indices, a pure
// function of the options and the size (and the classes, when stratified).
#ifndef LOCKSTEP_ENGINE_DATA_SPLIT_H_
#define LOCKSTEP_ENGINE_DATA_SPLIT_H_

#include <cstdint>
#include <span>
#include <vector>

#include "engine/base/status.h"

namespace lockstep {

// How much of a dataset: a fraction of all samples, or a number of samples.
class Share {
 public:
  static Share Fraction(double fraction) { return Share(false, fraction, 0); }
  static Share Count(int64_t count) { return Share(true, 0.0, count); }
  bool is_count() const { return is_count_; }
  double fraction() const { return fraction_; }
  int64_t count() const { return count_; }

 private:
  Share(bool is_count, double fraction, int64_t count)
      : is_count_(is_count), fraction_(fraction), count_(count) {}
  bool is_count_;
  double fraction_;
  int64_t count_;
};

struct SplitOptions {
  Share validation = Share::Fraction(0.15);
  Share test = Share::Fraction(0.15);
  uint64_t seed = 0;
};

// Disjoint, each ascending; together all samples.
struct Splits {
  std::vector<int64_t> train, validation, test;
};

// Errors: shares that are negative, not finite, leave no training sample, or ask for a fraction so
// small that it holds no sample. A share of zero gives an empty list.
Result<Splits> Split(int64_t size, const SplitOptions& options);

// The same sizes as Split, with every class (see ClassLabels) spread over the three lists in
// proportion, to within one sample. Error besides: a class that would have no training sample.
Result<Splits> StratifiedSplit(std::span<const int32_t> classes, const SplitOptions& options);

}  // namespace lockstep

#endif  // LOCKSTEP_ENGINE_DATA_SPLIT_H_
