// The last samples that a program has made, to train on while it makes more: a ring that forgets
// the oldest. A simulation adds what it computes and trains a surrogate on draws from the ring, so
// that what came before is not forgotten at once (replay) and no step sees only neighbours in time.
//
//   auto recent = RecentSamples::Make({.capacity = 4096, .x = {20}, .target = {3}});
//   LOCKSTEP_TRY(recent->Add(x, y));  // after each solve
//   LOCKSTEP_TRY_ASSIGN(const SampleBatch batch, recent->Draw(step));
//   LOCKSTEP_TRY(net.TrainStep(batch.x, batch.target, adam).status());
#ifndef LOCKSTEP_ENGINE_DATA_RECENT_SAMPLES_H_
#define LOCKSTEP_ENGINE_DATA_RECENT_SAMPLES_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "engine/base/status.h"
#include "engine/tensor/dtype.h"
#include "engine/tensor/shape.h"
#include "engine/tensor/tensor.h"

namespace lockstep::inline v0_1 {

struct RecentSamplesOptions {
  int64_t capacity = 1024;  // samples that are remembered
  int64_t batch = 32;       // that are drawn at a time, at most capacity
  Shape x{}, target{};      // of one sample: {20}, {3}; a class number is {}
  DType x_dtype = DType::kF32, target_dtype = DType::kF32;
  uint64_t seed = 0;  // of the draws
};

// (samples, ...) each; views of memory that the next Draw overwrites.
struct SampleBatch {
  ConstTensor x, target;
};

// Ownership: copies what it is given. Movable; one thread at a time. After Make nothing is
// allocated unless a call fails.
class RecentSamples {
 public:
  // Errors: a capacity or batch below 1 or a batch above the capacity, samples without numbers.
  static Result<RecentSamples> Make(const RecentSamplesOptions& options);

  // One or more samples, (samples, ...) of the dtypes above, the oldest first; of more than the
  // capacity the last stay. A number that is not finite is an error (kNonFinite) that names its
  // place, for it would spoil every step that draws it; nothing is added then.
  Status Add(ConstTensor x, ConstTensor target);

  // A batch of distinct samples: the `newest` last ones, and others by lot, each as likely as any;
  // all that there are where that is fewer than a batch. A function of the seed, of `step` and of
  // what has been added: the same run draws the same. An error where nothing has been added.
  Result<SampleBatch> Draw(uint64_t step, int64_t newest = 0);

  int64_t size() const { return size_; }    // samples that are remembered now
  int64_t added() const { return added_; }  // ever
  int64_t capacity() const { return options_.capacity; }
  // Sample i of those that are remembered, 0 the oldest: (1, ...) each. REQUIRES: i in [0, size()).
  SampleBatch Sample(int64_t i) const;

 private:
  // Rows of one tensor: of the ring, or of a batch.
  struct Rows {
    DType dtype = DType::kF32;
    Shape sample{};    // (1, ...)
    size_t bytes = 0;  // of a sample
    std::vector<std::byte> ring{}, batch{};
  };
  explicit RecentSamples(const RecentSamplesOptions& options);
  static Rows MakeRows(const RecentSamplesOptions& options, DType dtype, const Shape& sample);
  Status Check(const Rows& rows, const char* name, ConstTensor given, int64_t samples) const;
  size_t PlaceOf(int64_t i) const;
  void Take(int64_t i, int64_t to);  // sample i of the ring, to row `to` of the batch

  RecentSamplesOptions options_;
  Rows x_, target_;
  std::vector<uint64_t> drawn_;  // by sample: the draw that took it last
  uint64_t draws_ = 0;
  int64_t size_ = 0, added_ = 0;
};

}  // namespace lockstep

#endif  // LOCKSTEP_ENGINE_DATA_RECENT_SAMPLES_H_
