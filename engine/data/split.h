// One dataset split into training, validation and test samples: three lists of indices, a pure
// function of the options and of the size, classes, groups or times of the samples.
#ifndef LOCKSTEP_ENGINE_DATA_SPLIT_H_
#define LOCKSTEP_ENGINE_DATA_SPLIT_H_

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "engine/base/status.h"

namespace lockstep::inline v0_1 {

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

// What is known of samples beside their number: each list is empty, or as long as there are
// samples.
struct SplitKeys {
  std::vector<int32_t> classes{};
  std::vector<int32_t> groups{};           // numbers from 0: samples of one stay together
  std::vector<std::string> group_names{};  // by that number, for messages; may be empty
  std::vector<double> times{};
};
// Of some of the samples, in this order.
SplitKeys KeysOf(const SplitKeys& keys, std::span<const int64_t> samples);

// Whole groups, every class spread over the lists as evenly as groups allow, sizes as near to those
// of Split as groups allow (see AssignGroups). Each list that is asked for holds a group. Errors
// besides: fewer groups than lists; a group that is larger than the training part; a class that
// would have no training sample.
Result<Splits> GroupedSplit(const SplitKeys& keys, const SplitOptions& options);

// Training before validation before test: no sample of a list is later than one of the next, and
// samples of one time are in one list. Sizes are as near to those of Split as that allows. There is
// nothing random in it. Errors besides: a time that is not finite, too few different times.
Result<Splits> TimeSplit(std::span<const double> times, const SplitOptions& options);

// By time where times are known, else by group, else by class, else of all samples alike. Error
// besides: times and groups at once.
Result<Splits> SplitBy(int64_t size, const SplitKeys& keys, const SplitOptions& options);

}  // namespace lockstep

#endif  // LOCKSTEP_ENGINE_DATA_SPLIT_H_
