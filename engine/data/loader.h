// Batches of a dataset, one after another, shuffled anew in every epoch.
//
// Which samples are in which batch is a pure function of (seed, epoch, batch number): a run that
// stops after any batch and continues there sees the same bits, with any prefetch setting.
#ifndef LOCKSTEP_ENGINE_DATA_LOADER_H_
#define LOCKSTEP_ENGINE_DATA_LOADER_H_

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "engine/base/status.h"
#include "engine/data/dataset.h"

namespace lockstep::inline v0_1 {

enum class LastBatch {
  kKeep,  // the last batch of an epoch is as small as it comes out
  kDrop,  // a last batch that is not full is left out (other samples in every epoch when shuffled)
};

struct LoaderOptions {
  int64_t batch = 32;  // samples in a global batch, over all ranks
  // Every epoch in another order. Over 4 million samples are shuffled by blocks of neighbours, so
  // that a file that memory does not hold is read in stretches (engine/base/shuffle.h).
  bool shuffle = true;
  LastBatch last = LastBatch::kKeep;
  uint64_t seed = 0;
  // Batches that threads of the loader prepare ahead; 0: there are none, Next() gathers. Worth it
  // where samples are decoded, or a core is idle. Not by default: gathering from memory is a few
  // percent of a step at most (256 MNIST images: 0.15 ms; 128 CIFAR pictures, cropped, flipped and
  // standardised: 0.7 ms), and a thread beside a team that has all cores must wait for one
  // (measured with busy cores: 12 ms, one batch in ten). Memory: prefetch + 1 batches.
  int prefetch = 0;
  // How many threads share the batches that are prepared ahead, each a few samples at a time. Take
  // LoaderThreads() where pictures are decoded. Changes no bits.
  int threads = 1;
  // This process is `rank` of `ranks`: it gets the samples [n * rank / ranks, n * (rank + 1) /
  // ranks) of a global batch of n.
  int rank = 0;
  int ranks = 1;
};

// Borrowed from the Loader: valid until its next call of Next or Seek.
struct Batch {
  ConstTensor x;                     // (count, x_shape...)
  ConstTensor target;                // (count, target_shape...)
  ConstTensor weights;               // (count) f32: Dataset::GatherWeights
  std::span<const int64_t> indices;  // of these samples in the dataset
  int64_t count = 0;                 // may be 0 in a rank of a small last batch
  int64_t first = 0;                 // place of the first sample within the global batch
  int64_t global_count = 0;          // samples in the global batch
  int64_t epoch = 0;
  int64_t number = 0;  // of the batch within the epoch, from 0
};

// Where a Loader stands: the batch it gives next. batch == batches_per_epoch(): the end of `epoch`
// comes next.
struct LoaderPlace {
  int64_t epoch = 0;
  int64_t batch = 0;
  bool operator==(const LoaderPlace&) const = default;
};

// A sensible number of threads for a machine with so many cores: one for every eight, so that the
// team keeps the others. (A JPEG of 500 x 375 takes a core some 4 ms; a training step of ResNet-18
// at 224 pixels a hundred times as much.)
int LoaderThreads(int cores);

// Thread-safety: one thread at a time. With prefetch it owns threads, which end with it.
// After fork() the new process starts its own with its next call, and goes on at the same place.
class Loader {
 public:
  // Errors: no samples, an index outside the dataset, a setting out of range, kDrop with fewer
  // samples than one batch, or too little memory for the batches.
  static Result<std::unique_ptr<Loader>> Make(std::shared_ptr<const Dataset> dataset,
                                              std::vector<int64_t> indices,
                                              const LoaderOptions& options);
  ~Loader();
  Loader(const Loader&) = delete;
  Loader& operator=(const Loader&) = delete;

  const Dataset& dataset() const;
  int64_t batches_per_epoch() const;
  int64_t samples_per_epoch() const;  // over all ranks; without what kDrop leaves out
  int64_t largest_count() const;      // the largest Batch::count that comes: bind for this

  // The next batch; null once at the end of each epoch, after which the next epoch begins. An error
  // of the dataset (or what it throws) comes in the place of its batch; a further call tries that
  // batch again. Takes no lock when the batch is ready, and allocates nothing; over 4 million
  // samples some 100 KB with each million.
  Result<const Batch*> Next();

  LoaderPlace place() const;
  // Error: a place that no epoch has.
  Status Seek(LoaderPlace place);

 private:
  class Impl;
  explicit Loader(std::unique_ptr<Impl> impl);
  Status LeaveThreadsOfParent();
  std::unique_ptr<Impl> impl_;
};

}  // namespace lockstep

#endif  // LOCKSTEP_ENGINE_DATA_LOADER_H_
