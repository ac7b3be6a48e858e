// How the sum over K of one element of a product is cut into chains of multiply-adds, and the order
// in which the chains are added up: a function of K and its segments alone, never of blocking.
#ifndef LOCKSTEP_ENGINE_KERNELS_PRODUCT_CHAINS_H_
#define LOCKSTEP_ENGINE_KERNELS_PRODUCT_CHAINS_H_

#include <algorithm>
#include <bit>
#include <cstdint>

namespace lockstep::inline v0_1::kernels {

// One chain over a million same-signed terms loses 1e-2 of their sum; chains of 256 that merge as a
// tree lose about 1e-6 (tests/engine/ops/product_accuracy_test.cc).
inline constexpr int64_t kLongestChain = 256;

constexpr int64_t ChainsOf(int64_t length) {
  return std::max<int64_t>(1, (length + kLongestChain - 1) / kLongestChain);
}

// Sums that wait for a partner at any time, of K cut into `segments` of at most `length` each.
constexpr int64_t WaitingSums(int64_t length, int64_t segments) {
  const auto bits = [](int64_t last) {
    return static_cast<int64_t>(std::bit_width(static_cast<uint64_t>(last)));
  };
  return bits(segments - 1) + bits(ChainsOf(length) - 1);
}

struct Chain {
  int32_t length;   // of K
  int32_t waiting;  // older sums that wait for a partner when it begins
  int32_t merges;   // how many of those its sum is added to, the youngest first
};

// Runs through all chains of K. Chain i of the n of a segment [begin, end) begins at
// begin + (end - begin) * i / n. The tree over segments and the tree over the chains of each are
// binary counters: number i completes as many pairs as it ends with ones, and the last all.
class Chains {
 public:
  // `bounds`: segments + 1 entries, not decreasing; must outlive this.
  Chains(const int64_t* bounds, int64_t segments) : bounds_(bounds), segments_(segments) {
    BeginSegment();
  }

  bool done() const { return segment_ == segments_; }
  int32_t length() const { return static_cast<int32_t>(end_ - begin_); }
  Chain Next() {
    Chain next{length(), segments_waiting_ + waiting_, 0};
    if (chain_ + 1 < chains_) {
      next.merges = PairsOf(chain_++);
      waiting_ += 1 - next.merges;
      begin_ = end_;
      end_ = bounds_[segment_] + segment_length_ * (chain_ + 1) / chains_;
      return next;
    }
    const bool last = segment_ + 1 == segments_;
    const int32_t pairs = last ? segments_waiting_ : PairsOf(segment_);
    next.merges = waiting_ + pairs;
    segments_waiting_ += 1 - pairs;
    if (++segment_ < segments_) BeginSegment();
    return next;
  }

 private:
  static int32_t PairsOf(int64_t i) { return std::countr_one(static_cast<uint64_t>(i)); }
  void BeginSegment() {
    begin_ = bounds_[segment_];
    segment_length_ = bounds_[segment_ + 1] - begin_;
    chain_ = waiting_ = 0;
    chains_ = ChainsOf(segment_length_);
    end_ = begin_ + (chains_ == 1 ? segment_length_ : segment_length_ / chains_);
  }

  const int64_t* bounds_;
  int64_t segments_, segment_ = 0;
  int64_t segment_length_, chains_, chain_;  // of the segment at hand
  int64_t begin_, end_;                      // of the chain at hand
  int32_t segments_waiting_ = 0, waiting_;   // sums of segments; of chains of the one at hand
};

}  // namespace lockstep::kernels

#endif  // LOCKSTEP_ENGINE_KERNELS_PRODUCT_CHAINS_H_
