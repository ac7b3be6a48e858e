#include "engine/data/loader.h"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdlib>
#include <exception>
#include <mutex>
#include <new>
#include <stop_token>
#include <string>
#include <thread>
#include <utility>

#include "engine/base/random.h"
#include "engine/base/shuffle.h"

namespace lockstep::inline v0_1 {
namespace {

constexpr int kMostPrefetch = 64;
constexpr int kMostThreads = 256;
// More samples than this are shuffled by blocks of neighbours, so that a stretch of the epoch lies in
// 1024 places of a file that is mapped (85 MB of a table of 20 columns), and the next stretch is read
// meanwhile. 70 million rows of 81 bytes, memory for half of them: 2.1 to 2.9 million a second, no
// slower than whole in memory; shuffled as a whole, or without a word ahead, 0.01 to 0.1 million.
constexpr size_t kShuffledWhole = size_t{1} << 22;
constexpr size_t kBlock = 1024, kBlocks = 1024;
constexpr int64_t kStretch = kBlock * kBlocks;
// Parts of a batch for each thread that shares it: pictures take unequal times.
constexpr int64_t kPartsPerThread = 4;

struct Free {
  void operator()(void* memory) const { std::free(memory); }
};
using Memory = std::unique_ptr<void, Free>;

Memory Allocate(int64_t bytes) {
  const auto rounded = (static_cast<size_t>(bytes) / 64 + 1) * 64;  // whole cache lines
  return Memory(std::aligned_alloc(64, rounded));
}

// A batch prepared in memory of its own.
struct Slot {
  Memory x, target, weights;
  std::vector<int64_t> indices;
  Batch batch;
  bool end_of_epoch = false;
  // What went wrong first, in the order of the samples.
  Status status;
  std::exception_ptr exception;

  // With threads: guarded by failed_mutex until all parts are done.
  std::mutex failed_mutex;
  int64_t failed_part = -1;
  int64_t parts = 0;
  std::atomic<int64_t> unfinished{0};
  std::atomic<uint32_t> ready{0};  // how many times it has been filled since the threads started
};

}  // namespace

// Without prefetch one slot is filled by Next. With it, a ring of prefetch + 1 slots. Threads take
// turns to claim the next part of the batch that is being cut (under `claim_`, where whoever comes
// first also waits for a free slot and shuffles), and gather their parts side by side.
// `released_` counts the slots that the caller is done with since the threads started; the slot
// handed out last is released by the next call.
class Loader::Impl {
 public:
  Impl(std::shared_ptr<const Dataset> dataset, std::vector<int64_t> indices,
       const LoaderOptions& options)
      : dataset_(std::move(dataset)),
        options_(options),
        indices_(std::move(indices)),
        order_(options_.shuffle ? indices_.size() : 0) {
    const auto n = static_cast<int64_t>(indices_.size());
    batches_ = options_.last == LastBatch::kDrop
                   ? n / options_.batch
                   : n / options_.batch + (n % options_.batch != 0 ? 1 : 0);
    samples_ = options_.last == LastBatch::kDrop ? batches_ * options_.batch : n;
    // A rank's part of a smaller batch can be the larger one: rank 2 of 5 gets one sample of two,
    // and none of three.
    largest_ = RankCount(std::min(samples_, options_.batch));
    if (samples_ > 0) largest_ = std::max(largest_, RankCount((samples_ - 1) % options_.batch + 1));
  }
  ~Impl() { StopThreads(); }

  Status Allocate();
  // Whether the threads that fill the slots are those of the process that this one was forked from:
  // they do not run here, and what they were at stands half done.
  bool IsCopy() const { return !threads_.empty() && process_ != getpid(); }
  // One of the same settings that stands at the same place.
  Result<std::unique_ptr<Impl>> Again() const;

  const Dataset& dataset() const { return *dataset_; }
  int64_t batches() const { return batches_; }
  int64_t samples() const { return samples_; }
  int64_t largest() const { return largest_; }
  LoaderPlace place() const { return place_; }

  Result<const Batch*> Next();
  Status Seek(LoaderPlace place);

 private:
  // Where the samples of `rank` begin in a global batch of n.
  int64_t RankPart(int64_t n, int64_t rank) const { return n * rank / options_.ranks; }
  int64_t RankCount(int64_t n) const {
    return RankPart(n, options_.rank + 1) - RankPart(n, options_.rank);
  }
  LoaderPlace After(LoaderPlace place) const {
    return place.batch < batches_ ? LoaderPlace{place.epoch, place.batch + 1}
                                  : LoaderPlace{place.epoch + 1, 0};
  }
  std::span<const int64_t> Order() const { return options_.shuffle ? order_ : indices_; }
  void Shuffle(int64_t epoch);
  void Announce(LoaderPlace place);
  void Begin(Slot& slot, LoaderPlace place);
  void Gather(Slot& slot, int64_t part);

  void StartThreads();
  void StopThreads();
  void RunThread(std::stop_token stop);
  Slot* Claim(const std::stop_token& stop, int64_t& part);
  Slot& TakeSlot();

  const std::shared_ptr<const Dataset> dataset_;
  const LoaderOptions options_;
  const std::vector<int64_t> indices_;
  int64_t batches_ = 0;
  int64_t samples_ = 0;
  int64_t largest_ = 0;

  LoaderPlace place_;
  std::vector<Slot> slots_;

  // Used by whoever fills: without threads the caller, else who holds claim_.
  std::mutex claim_;
  std::vector<int64_t> order_;                    // where they are shuffled
  std::vector<size_t> blocks_;                    // scratch of the order
  int64_t announced_epoch_ = -1, announced_ = 0;  // what the dataset has been told of: up to here
  int64_t shuffled_epoch_ = -1;
  LoaderPlace cut_place_;  // of the batch that is begun next
  uint64_t begun_ = 0;     // batches since the threads started
  Slot* cut_ = nullptr;    // the batch that has parts left to claim
  int64_t next_part_ = 0;

  // On cache lines of their own: each is written by one side only.
  alignas(64) std::atomic<uint32_t> released_{0};
  alignas(64) uint64_t taken_ = 0;  // the caller's
  bool holding_ = false;            // the caller has a slot to release
  pid_t process_ = 0;               // that started the threads
  std::vector<std::jthread> threads_;
};

Status Loader::Impl::Allocate() {
  const int64_t x_bytes =
      dataset_->XShape(largest_).size() * static_cast<int64_t>(SizeOf(dataset_->info().x_dtype));
  const int64_t target_bytes = dataset_->TargetShape(largest_).size() *
                               static_cast<int64_t>(SizeOf(dataset_->info().target_dtype));
  slots_ = std::vector<Slot>(static_cast<size_t>(options_.prefetch) + 1);
  for (Slot& slot : slots_) {
    slot.x = lockstep::Allocate(x_bytes);
    slot.target = lockstep::Allocate(target_bytes);
    slot.weights = lockstep::Allocate(largest_ * static_cast<int64_t>(sizeof(float)));
    if (slot.x == nullptr || slot.target == nullptr || slot.weights == nullptr) {
      return Status::Io(dataset_->info().name + ": no memory for batches of " +
                        std::to_string(x_bytes) + " bytes; make them smaller");
    }
    slot.indices.reserve(static_cast<size_t>(largest_));
  }
  return Status::Ok();
}

Result<std::unique_ptr<Loader::Impl>> Loader::Impl::Again() const {
  auto again = std::make_unique<Impl>(dataset_, indices_, options_);
  LOCKSTEP_TRY(again->Allocate());
  LOCKSTEP_TRY(again->Seek(place_));
  return again;
}

// Of the index list as it was given.
void Loader::Impl::Shuffle(int64_t epoch) {
  if (shuffled_epoch_ == epoch) return;
  if (!options_.shuffle) return;
  shuffled_epoch_ = -1;  // until all is in order
  Random random(options_.seed, StreamOf("shuffle") + static_cast<uint64_t>(epoch));
  if (order_.size() > kShuffledWhole) {
    ShuffleByBlocks(std::span<const int64_t>(indices_), kBlock, kBlocks, random, blocks_,
                    std::span(order_));
  } else {
    std::copy(indices_.begin(), indices_.end(), order_.begin());
    lockstep::Shuffle(order_, random);
  }
  shuffled_epoch_ = epoch;
}

// Of more samples than memory may hold this stretch and the next.
void Loader::Impl::Announce(LoaderPlace place) {
  const auto n = static_cast<int64_t>(indices_.size());
  if (n <= static_cast<int64_t>(kShuffledWhole)) return;
  const int64_t begin = place.batch * options_.batch;
  const int64_t end =
      std::min(n, std::max(begin + options_.batch, (begin / kStretch + 2) * kStretch));
  const bool goes_on = announced_epoch_ == place.epoch && announced_ >= begin;
  const int64_t from = goes_on ? announced_ : begin;
  if (from >= end) return;
  try {
    dataset_->Expect(Order().subspan(static_cast<size_t>(from), static_cast<size_t>(end - from)));
  } catch (...) {  // a hint that could not be given
  }
  announced_epoch_ = place.epoch;
  announced_ = end;
}

// The samples of the batch at `place`, and the parts that it is gathered in.
void Loader::Impl::Begin(Slot& slot, LoaderPlace place) {
  slot.exception = nullptr;
  slot.status = Status::Ok();
  slot.failed_part = -1;
  slot.parts = 0;
  slot.end_of_epoch = place.batch == batches_;
  if (slot.end_of_epoch) return;
  Shuffle(place.epoch);
  Announce(place);
  const int64_t begin = place.batch * options_.batch;
  const int64_t n = std::min(options_.batch, samples_ - begin);
  const int64_t first = RankPart(n, options_.rank);
  const int64_t count = RankCount(n);
  const auto from = Order().begin() + begin + first;
  slot.indices.assign(from, from + count);
  slot.batch = {.x = Tensor(slot.x.get(), dataset_->info().x_dtype, dataset_->XShape(count)),
                .target = Tensor(slot.target.get(), dataset_->info().target_dtype,
                                 dataset_->TargetShape(count)),
                .weights = Tensor(slot.weights.get(), DType::kF32, Shape{count}),
                .indices = slot.indices,
                .count = count,
                .first = first,
                .global_count = n,
                .epoch = place.epoch,
                .number = place.batch};
  const int64_t most = options_.threads > 1 ? kPartsPerThread * options_.threads : 1;
  slot.parts = std::clamp<int64_t>(count, 1, most);
}

void Loader::Impl::Gather(Slot& slot, int64_t part) {
  const int64_t count = slot.batch.count;
  const int64_t begin = count * part / slot.parts, end = count * (part + 1) / slot.parts;
  const DatasetInfo& info = dataset_->info();
  const Tensor x(slot.x.get(), info.x_dtype, dataset_->XShape(count));
  const Tensor target(slot.target.get(), info.target_dtype, dataset_->TargetShape(count));
  Status status;
  std::exception_ptr exception;
  try {
    const auto from = static_cast<size_t>(begin), length = static_cast<size_t>(end - begin);
    const auto indices = std::span<const int64_t>(slot.indices).subspan(from, length);
    status = dataset_->Gather(indices, x.Samples(begin, end), target.Samples(begin, end),
                              slot.batch.epoch);
    if (status.ok()) {
      status = dataset_->GatherWeights(indices,
                                       {static_cast<float*>(slot.weights.get()) + begin, length});
    }
  } catch (...) {  // a bug in the dataset: the caller's thread shall see it, not std::terminate
    exception = std::current_exception();
  }
  if (status.ok() && exception == nullptr) return;
  const std::lock_guard lock(slot.failed_mutex);
  if (slot.failed_part >= 0 && slot.failed_part < part) return;
  slot.failed_part = part;
  slot.status = std::move(status);
  slot.exception = exception;
}

void Loader::Impl::StartThreads() {
  released_.store(0, std::memory_order_relaxed);
  for (Slot& slot : slots_) slot.ready.store(0, std::memory_order_relaxed);
  cut_place_ = place_;
  begun_ = 0;
  cut_ = nullptr;
  taken_ = 0;
  holding_ = false;
  process_ = getpid();
  for (int i = 0; i < options_.threads; ++i)
    threads_.emplace_back([this](const std::stop_token& stop) { RunThread(stop); });
}

void Loader::Impl::StopThreads() {
  if (threads_.empty()) return;
  for (std::jthread& thread : threads_) thread.request_stop();
  released_.fetch_add(1, std::memory_order_release);  // wakes who waits for a free slot
  released_.notify_all();
  threads_.clear();
}

// The next part to be gathered, of the slot that is returned; null to stop.
Slot* Loader::Impl::Claim(const std::stop_token& stop, int64_t& part) {
  const std::lock_guard lock(claim_);
  const uint64_t slots = slots_.size();
  while (cut_ == nullptr) {
    // released_ wraps around; the difference does not. One slot stays with the caller.
    const uint32_t released = released_.load(std::memory_order_acquire);
    if (stop.stop_requested()) return nullptr;
    if (static_cast<uint32_t>(begun_) - released >= slots) {
      released_.wait(released, std::memory_order_acquire);
      continue;
    }
    Slot& slot = slots_[begun_ % slots];
    Begin(slot, cut_place_);
    cut_place_ = After(cut_place_);
    ++begun_;
    slot.unfinished.store(slot.parts, std::memory_order_relaxed);
    if (slot.parts == 0) {
      slot.ready.fetch_add(1, std::memory_order_release);
      slot.ready.notify_one();
      continue;
    }
    cut_ = &slot;
    next_part_ = 0;
  }
  if (stop.stop_requested()) return nullptr;
  Slot* const slot = cut_;
  part = next_part_++;
  if (next_part_ == slot->parts) cut_ = nullptr;
  return slot;
}

void Loader::Impl::RunThread(std::stop_token stop) {
  int64_t part = 0;
  while (Slot* const slot = Claim(stop, part)) {
    Gather(*slot, part);
    if (slot->unfinished.fetch_sub(1, std::memory_order_acq_rel) > 1) continue;
    slot->ready.fetch_add(1, std::memory_order_release);
    slot->ready.notify_one();
  }
}

// The slot that belongs to place_.
Slot& Loader::Impl::TakeSlot() {
  if (slots_.size() == 1) {
    Begin(slots_[0], place_);
    for (int64_t part = 0; part < slots_[0].parts; ++part) Gather(slots_[0], part);
    return slots_[0];
  }
  if (threads_.empty()) StartThreads();
  if (holding_) {
    released_.fetch_add(1, std::memory_order_release);
    released_.notify_one();
  }
  const uint64_t slots = slots_.size();
  Slot& slot = slots_[taken_ % slots];
  slot.ready.wait(static_cast<uint32_t>(taken_ / slots), std::memory_order_acquire);
  holding_ = true;
  ++taken_;
  return slot;
}

Result<const Batch*> Loader::Impl::Next() {
  Slot& slot = TakeSlot();
  if (slot.exception != nullptr || !slot.status.ok()) {
    StopThreads();  // the next call tries the same place again
    if (slot.exception != nullptr) std::rethrow_exception(slot.exception);
    return slot.status;
  }
  place_ = After(place_);
  return slot.end_of_epoch ? nullptr : &slot.batch;
}

Status Loader::Impl::Seek(LoaderPlace place) {
  if (place.epoch < 0 || place.batch < 0 || place.batch > batches_) {
    return Status::Invalid("batch " + std::to_string(place.batch) + " of epoch " +
                           std::to_string(place.epoch) + " does not exist: an epoch has " +
                           std::to_string(batches_) +
                           " batches; were the data or the batch size changed?");
  }
  StopThreads();
  place_ = place;
  announced_epoch_ = -1;
  return Status::Ok();
}

int LoaderThreads(int cores) { return std::max(1, cores / 8); }

Result<std::unique_ptr<Loader>> Loader::Make(std::shared_ptr<const Dataset> dataset,
                                             std::vector<int64_t> indices,
                                             const LoaderOptions& options) {
  const std::string where = dataset->info().name + ": ";
  const auto n = static_cast<int64_t>(indices.size());
  if (n == 0) return Status::Invalid(where + "there are no samples to load");
  for (const int64_t index : indices) {
    if (index < 0 || index >= dataset->size()) {
      return Status::Invalid(where + "sample " + std::to_string(index) + " is not in 0 to " +
                             std::to_string(dataset->size() - 1));
    }
  }
  if (options.batch < 1) {
    return Status::Invalid(where + "the batch size must be at least 1, not " +
                           std::to_string(options.batch));
  }
  if (options.last == LastBatch::kDrop && n < options.batch) {
    return Status::Invalid(where + std::to_string(n) + " samples make no full batch of " +
                           std::to_string(options.batch) +
                           "; choose a smaller one, or keep the last batch");
  }
  if (options.ranks < 1 || options.rank < 0 || options.rank >= options.ranks) {
    return Status::Invalid(where + "rank " + std::to_string(options.rank) + " of " +
                           std::to_string(options.ranks) + " does not exist");
  }
  if (options.prefetch < 0 || options.prefetch > kMostPrefetch) {
    return Status::Invalid(where + "prefetch must be 0 to " + std::to_string(kMostPrefetch) +
                           " batches, not " + std::to_string(options.prefetch));
  }
  if (options.threads < 1 || options.threads > kMostThreads) {
    return Status::Invalid(where + "a loader has 1 to " + std::to_string(kMostThreads) +
                           " threads, not " + std::to_string(options.threads));
  }
  auto impl = std::make_unique<Impl>(std::move(dataset), std::move(indices), options);
  LOCKSTEP_TRY(impl->Allocate());
  return std::unique_ptr<Loader>(new Loader(std::move(impl)));
}

Loader::Loader(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Loader::~Loader() {
  if (impl_->IsCopy()) static_cast<void>(impl_.release());
}

Status Loader::LeaveThreadsOfParent() {
  if (!impl_->IsCopy()) return Status::Ok();
  LOCKSTEP_TRY_ASSIGN(std::unique_ptr<Impl> own, impl_->Again());
  static_cast<void>(impl_.release());
  impl_ = std::move(own);
  return Status::Ok();
}

const Dataset& Loader::dataset() const { return impl_->dataset(); }
int64_t Loader::batches_per_epoch() const { return impl_->batches(); }
int64_t Loader::samples_per_epoch() const { return impl_->samples(); }
int64_t Loader::largest_count() const { return impl_->largest(); }
Result<const Batch*> Loader::Next() {
  LOCKSTEP_TRY(LeaveThreadsOfParent());
  return impl_->Next();
}
LoaderPlace Loader::place() const { return impl_->place(); }
Status Loader::Seek(LoaderPlace place) {
  LOCKSTEP_TRY(LeaveThreadsOfParent());
  return impl_->Seek(place);
}

}  // namespace lockstep
