// Samples with targets, that a Loader gathers into batches.
//
// Dataset is the interface; InMemoryDataset is the one that holds everything in memory. Others
// (files decoded on the fly, augmentation as a pure function of (seed, epoch, index), or a
// decorator like StandardizedDataset) derive from Dataset and write Read().
#ifndef LOCKSTEP_ENGINE_DATA_DATASET_H_
#define LOCKSTEP_ENGINE_DATA_DATASET_H_

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "engine/base/status.h"
#include "engine/data/objective.h"
#include "engine/tensor/tensor.h"

namespace lockstep::inline v0_1 {

class Tokenizer;
struct TableDescription;

// Where the numbers that come from one column of a table are within a sample.
struct FeatureColumn {
  std::string name;
  int64_t begin = 0, end = 0;
};
// A feature that is a number below `values` (exact in a float), to be looked up in an embedding of
// `width` numbers.
struct EmbeddedFeature {
  int64_t feature = 0;
  int64_t values = 0;
  int64_t width = 0;
};

// A class target that takes no part in the loss (as in PyTorch).
inline constexpr int32_t kIgnoredTarget = -100;

// What every sample of a dataset looks like.
struct DatasetInfo {
  std::string name = {};  // for messages
  int64_t size = 0;
  DType x_dtype = DType::kF32;  // as gathered: kF32 (features, pixels) or kI32 (tokens)
  Shape x_shape = {};           // of one sample, channels last: {20}, {28, 28, 1}, {T}
  Task task = Task::kClasses;
  DType target_dtype = DType::kI32;  // the objective's; f32 for rows of class probabilities
  Shape target_shape = {};           // of one sample: {} for a class number, {1}, {T}, {classes}
  int64_t classes = 0;               // for kClasses; else 0
  int64_t vocabulary = 0;            // i32 x is below this; 0 for f32
  // i32 x may hold -1 where a text is over (kPaddingToken); targets there are kIgnoredTarget.
  bool padded = false;
  std::shared_ptr<const Tokenizer> tokenizer{};  // of i32 x; null: its numbers are all there is
  bool has_missing = false;  // f32 x may be NaN where a value is missing: standardise first
  std::vector<std::string> feature_names = {};  // one per channel of x, or empty: not known
  std::vector<std::string> class_names = {};    // kClasses: `classes` names; kBinary: {of 0, of 1};
                                                // or empty: not known
  // Where features come from columns; empty: each is a column of its own.
  std::vector<FeatureColumn> columns = {};
  std::vector<EmbeddedFeature> embedded = {};       // the last features, if any
  std::shared_ptr<const TableDescription> table{};  // null: the samples are of no table
  // kRegression: an answer in its own unit is y * target_scale + target_offset.
  double target_offset = 0.0, target_scale = 1.0;
  bool weighted = false;  // samples have weights: GatherWeights
  uint64_t content = 0;   // a hash of all samples and targets as stored; 0: not known
};

// How many classes there are to tell apart: 0 for a regression.
int64_t ClassCount(const DatasetInfo& info);
// The numbers that a network must give for each sample, or for each position of a sequence.
int64_t OutputsOf(const DatasetInfo& info);
// Makes `info` one of a task with one target a sample, as a table has it: `count` numbers or
// classes (kBinary: 1).
void SetTargets(Task task, int64_t count, DatasetInfo& info);

// Thread-safety: immutable once made; any number of threads may read.
class Dataset {
 public:
  virtual ~Dataset() = default;
  Dataset(const Dataset&) = delete;
  Dataset& operator=(const Dataset&) = delete;

  const DatasetInfo& info() const { return info_; }
  int64_t size() const { return info_.size; }

  // The shapes of `count` samples gathered: (count, x_shape...) and (count, target_shape...).
  Shape XShape(int64_t count) const;
  Shape TargetShape(int64_t count) const;

  // Copies the samples `indices`, each in [0, size()), into x and target, which have the shapes
  // XShape(indices.size()), TargetShape(indices.size()) and info()'s dtypes. A default-made (empty)
  // x or target skips that half. `epoch` matters to datasets that augment only. Allocates nothing
  // for datasets in memory. Fails only where samples are read or decoded on the fly; an index or a
  // tensor that does not fit is a failed check.
  Status Gather(std::span<const int64_t> indices, Tensor x, Tensor target, int64_t epoch = 0) const;
  // The weight of each sample: 1 where info().weighted is false. REQUIRES: as many as indices.
  Status GatherWeights(std::span<const int64_t> indices, std::span<float> weights) const;
  // A hint, which changes nothing: these samples will be gathered soon. A dataset in a mapped file
  // begins to read them. REQUIRES: each in [0, size()).
  void Expect(std::span<const int64_t> indices) const { Fetch(indices); }

 protected:
  explicit Dataset(DatasetInfo info);

 private:
  // Gather, with everything checked and denormals flushed.
  virtual Status Read(std::span<const int64_t> indices, Tensor x, Tensor target,
                      int64_t epoch) const = 0;
  // Of those that say `weighted`.
  virtual Status ReadWeights(std::span<const int64_t> indices, std::span<float> weights) const;
  virtual void Fetch(std::span<const int64_t>) const {}

  DatasetInfo info_;
};

// How a stored byte becomes a float: x = u / divisor + shift.
struct ByteScale {
  float divisor = 255.0f;
  float shift = 0.0f;
  // (u / 255 - mean) / sd. REQUIRES: sd > 0.
  static ByteScale Standardized(double mean, double sd) {
    return {static_cast<float>(255.0 * sd), static_cast<float>(-mean / sd)};
  }
};

class InMemoryDataset final : public Dataset {
 public:
  using X = std::variant<std::vector<float>, std::vector<uint8_t>, std::vector<int32_t>>;
  using Targets = std::variant<std::vector<int32_t>, std::vector<float>>;

  // Takes the samples, densely one after another: x is stored as it is given (bytes become floats
  // when gathered, by byte_scale). Errors: lengths that contradict info, dtypes that contradict the
  // task, class numbers or tokens out of range, binary targets that are not 0 or 1, targets or
  // features that are not finite (NaN features are allowed if info.has_missing).
  static Result<std::shared_ptr<const InMemoryDataset>> Make(DatasetInfo info, X x, Targets targets,
                                                             ByteScale byte_scale = {});

  // Views of one sample as stored: x as f32, u8 or i32 of shape x_shape; valid while this lives.
  ConstTensor StoredX(int64_t index) const;
  ConstTensor StoredTarget(int64_t index) const;

 private:
  InMemoryDataset(DatasetInfo info, X x, Targets targets, ByteScale byte_scale);
  Status Read(std::span<const int64_t> indices, Tensor x, Tensor target,
              int64_t epoch) const override;

  X x_;
  Targets targets_;
  ByteScale byte_scale_;
};

// The class of every sample: the targets of kClasses with shape {}, 0 or 1 for kBinary. Errors:
// regression, sequences, or a failing Gather.
Result<std::vector<int32_t>> ClassLabels(const Dataset& dataset);
// The same of these samples, in their order.
Result<std::vector<int32_t>> ClassLabels(const Dataset& dataset, std::span<const int64_t> samples);

// 0, 1, ..., size - 1.
std::vector<int64_t> AllIndices(int64_t size);

}  // namespace lockstep

#endif  // LOCKSTEP_ENGINE_DATA_DATASET_H_
