// Gradients of several ranks become their sums, and new values reach every rank.
//
//   backward        a bucket of parameters is final -> each rank sends each owner its chunk of it
//   FinishGradients the owner of a chunk adds up what came from all ranks, by the tree over them
//   (update)        the owner updates its chunks; the optimizer holds states for these alone
//   GatherValues    the owner sends every rank the new values of its chunks
//
// (ZeRO stage 2, Rajbhandari et al. 2020; "reduce-scatter, update, all-gather".) Each rank sends
// and receives 2 (R - 1) / R times the parameters a step, whatever R is. All messages, and the
// order in which they are sent, are fixed when this is made.
//
// What is cut are the cells of GradientNorm: the norm of all gradients is then one of sums that
// each have one owner. Cells become final in the order of the backward pass; a bucket is a run of
// them in that order, and each rank owns an equal share of every bucket, so that all ranks send and
// receive all the time.
#ifndef LOCKSTEP_ENGINE_TRAIN_GRADIENT_EXCHANGE_H_
#define LOCKSTEP_ENGINE_TRAIN_GRADIENT_EXCHANGE_H_

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/status.h"
#include "engine/comm/communicator.h"
#include "engine/parallel/context.h"
#include "engine/parallel/shards.h"
#include "engine/plan/parameters.h"
#include "engine/tensor/dtype.h"

namespace lockstep::inline v0_1 {

enum class Wire {
  kF32,
  // Gradients travel as bf16, half the bytes; what is added up is still f32. Bits then depend on
  // the number of ranks.
  kBF16,
};

struct GradientExchangeOptions {
  int64_t cell = 64;         // floats; GradientNorm::cell()
  int64_t bucket_bytes = 0;  // about so many of gradients; 0: an eighth of all, 64 KiB to 4 MiB
  Wire wire = Wire::kF32;
};

// Bytes of a bucket of so many bytes of gradients, where nobody says otherwise.
constexpr int64_t DefaultBucketBytes(int64_t gradient_bytes) {
  return std::clamp<int64_t>(gradient_bytes / 8, int64_t{1} << 16, int64_t{1} << 22);
}

// Borrows communicator and store. One thread; collective. Allocates nothing after Make.
class GradientExchange {
 public:
  // `final_order`: parameters as the backward pass finishes them, Program::final_order().
  static Result<std::unique_ptr<GradientExchange>> Make(Communicator& communicator,
                                                        ParameterStore& store,
                                                        std::span<const int> final_order,
                                                        const GradientExchangeOptions& options);

  // The ranges of the flat arrays that this rank owns, or another one: whole cells, in order.
  std::span<const IndexRange> owned() const { return owned_[static_cast<size_t>(me_)]; }
  std::span<const IndexRange> owned_by(int rank) const { return owned_[static_cast<size_t>(rank)]; }

  // In each step, in this order. Nothing is final yet.
  void Begin();
  // The gradient of this parameter is: sends the buckets that are now complete, and moves on what
  // is under way. Never waits. What fails is said by FinishGradients.
  void Final(Context& ctx, int parameter);
  // All gradients are. Afterwards those of owned() are the sums over all ranks, further gradients
  // (ParameterStore) included; the others are not to be read.
  Status FinishGradients(Context& ctx);
  // After the update of owned().
  Status GatherValues();

  // Bytes of memory held, for messages that come in.
  int64_t bytes() const;
  size_t buckets() const { return buckets_.size(); }

  // What became of the last step's gradients, in seconds since Begin: how much of their way was
  // hidden behind the backward pass.
  struct Times {
    std::string_view parameters{};  // of the bucket
    int64_t bytes = 0;              // that this rank sent
    double started = 0.0;           // the bucket was complete
    double arrived = 0.0;           // all messages of it had arrived, as far as was looked
  };
  Times times(size_t bucket) const;
  double backward_seconds() const { return backward_seconds_; }  // when the last was final

 private:
  struct Piece {  // of a bucket, that one thread adds up
    size_t span = 0;
    int64_t before = 0;          // floats of the chunk before it
    int64_t begin = 0, end = 0;  // in the span
  };
  struct Bucket {
    std::vector<std::vector<IndexRange>> owned;  // by rank: of the flat arrays
    std::string name;                            // of its parameters, for messages
    std::unique_ptr<Exchange> gradients, values;
    std::vector<std::span<float>> mine;  // what this rank owns of it, further gradients behind
    std::vector<std::vector<std::span<float>>> theirs;  // by rank: the same of gradients to send
    int64_t chunk = 0;                                  // floats in `mine`
    std::vector<Piece> pieces;                          // of the chunk
    std::vector<float> received;                        // by rank but this one, `chunk` each
    std::vector<BFloat16> sent_bf16, received_bf16;     // by rank but this one
    int parameters = 0;                                 // that it has a part of
    int waits_for = 0;                                  // of these, in this step
    bool done = false;                                  // its gradients have arrived
    int64_t sent_bytes = 0;
    double started_at = 0.0, done_at = 0.0;
  };
  GradientExchange(Communicator& communicator, ParameterStore& store, Wire wire);
  void CutIntoBuckets(std::span<const int> final_order, const GradientExchangeOptions& options);
  Status BookMessages();
  // The place of another rank among those but this one.
  size_t Other(int rank) const { return static_cast<size_t>(rank < me_ ? rank : rank - 1); }
  std::vector<std::span<float>> GradientsOf(std::span<const IndexRange> floats) const;
  double Now() const;
  void StartBuckets(Context& ctx);
  void Pack(Context& ctx, Bucket& bucket);
  void Merge(Context& ctx, Bucket& bucket);

  Communicator& communicator_;
  ParameterStore& store_;
  const Wire wire_;
  const int me_;
  std::vector<Bucket> buckets_;                 // in the order in which they are sent
  std::vector<std::vector<int>> buckets_of_;    // by parameter
  std::vector<std::vector<IndexRange>> owned_;  // by rank
  size_t next_ = 0;                             // bucket to start
  Status status_;
  std::chrono::steady_clock::time_point begin_;
  double backward_seconds_ = 0.0;
};

}  // namespace lockstep

#endif  // LOCKSTEP_ENGINE_TRAIN_GRADIENT_EXCHANGE_H_
