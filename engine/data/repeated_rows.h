// Samples that are there twice: held back to test, and among those that are trained on, where a
// test measures what was learned by heart.
#ifndef LOCKSTEP_ENGINE_DATA_REPEATED_ROWS_H_
#define LOCKSTEP_ENGINE_DATA_REPEATED_ROWS_H_

#include <cstdint>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "engine/base/status.h"
#include "engine/data/dataset.h"

namespace lockstep::inline v0_1 {

struct RepeatedRows {
  int64_t found = 0;        // samples with the same features as one that is trained on
  int64_t contradicts = 0;  // of these: none of the first kCompared such ones has its target
  int64_t of = 0;           // samples that were looked at
  // The first few: the sample, and the first that is trained on with its features.
  std::vector<std::pair<int64_t, int64_t>> examples{};
};

// The training samples by a hash of their features, 16 bytes for each. Samples are compared as they
// are gathered, bit by bit: values that are the same to the network are the same here.
// Thread-compatible.
class RowFinder {
 public:
  static constexpr int64_t kMost = int64_t{1} << 22;
  static constexpr int64_t kExamples = 3, kCompared = 64;

  // Of more than `most` samples every k-th. Errors: a failing Gather.
  static Result<RowFinder> Make(std::shared_ptr<const Dataset> dataset,
                                std::span<const int64_t> train, int64_t most = kMost);

  // Whether all training samples are among those that are compared with.
  bool complete() const { return complete_; }
  int64_t samples() const { return static_cast<int64_t>(rows_.size()); }

  // Which of `samples` (of more than `most` every k-th) are among them. `dataset` has samples and
  // targets of the same shape.
  Result<RepeatedRows> Find(const Dataset& dataset, std::span<const int64_t> samples,
                            int64_t most = kMost) const;
  // Training samples with the features of an earlier one: found; of these, those with another
  // target than the first of them: contradicts, with examples of these.
  Result<RepeatedRows> FindAmongThem() const;

 private:
  struct Row {
    uint64_t hash;
    int64_t sample;
  };
  explicit RowFinder(std::shared_ptr<const Dataset> dataset) : dataset_(std::move(dataset)) {}

  std::shared_ptr<const Dataset> dataset_;
  std::vector<Row> rows_;  // by hash, then by sample
  bool complete_ = true;
};

}  // namespace lockstep

#endif  // LOCKSTEP_ENGINE_DATA_REPEATED_ROWS_H_
