// The program of a run of pixels (engine/kernels/conv/conv.h): which multiply-adds make up its
// sums, in the order of engine/ops/conv.h.
#ifndef LOCKSTEP_ENGINE_KERNELS_CONV_CONV_PROGRAM_H_
#define LOCKSTEP_ENGINE_KERNELS_CONV_CONV_PROGRAM_H_

#include <algorithm>
#include <bit>
#include <cstdint>
#include <new>

#include "engine/base/integers.h"
#include "engine/kernels/conv/conv.h"
#include "engine/kernels/product/chains.h"

namespace lockstep::inline v0_1::kernels {

// How K = taps x channels is cut into chains: whole taps where several fit into one, else each tap
// into as many parts as it needs; as equal as they can be.
class ConvChains {
 public:
  ConvChains(int64_t taps, int64_t channels)
      : taps_(taps),
        channels_(channels),
        parts_(ChainsOf(channels)),
        chains_(parts_ > 1 ? taps * parts_
                           : CeilDiv(taps, kLongestChain / std::max<int64_t>(channels, 1))) {}

  int64_t count() const { return chains_; }
  int64_t parts() const { return parts_; }  // of a tap
  int64_t PartBegin(int64_t part) const { return channels_ * part / parts_; }
  int64_t ChainAt(int64_t tap, int64_t part) const {
    return parts_ > 1 ? tap * parts_ + part : ((tap + 1) * chains_ - 1) / taps_;
  }
  int64_t MostPieces() const { return taps_ * parts_; }
  int64_t MostWaiting() const {
    return static_cast<int64_t>(std::bit_width(static_cast<uint64_t>(chains_ - 1)));
  }

 private:
  int64_t taps_, channels_, parts_, chains_;
};

// Collects pieces in ascending order of their weights and works out how their chains merge. Chains
// whose taps are all left out are no part of the tree: what they would merge with stays as it is.
class ConvProgram {
 public:
  // `memory`: room for chains.MostPieces() pieces. Borrows both.
  ConvProgram(const ConvChains& chains, void* memory)
      : chains_(chains), pieces_(static_cast<ConvPiece*>(memory)) {}

  void Begin() { count_ = chain_ = waiting_ = 0, present_ = 0; }
  void Add(const ConvPiece& piece, int64_t chain) {
    if (count_ > 0) {
      ConvPiece& last = pieces_[count_ - 1];
      if (chain == chain_ && last.from + last.length == piece.from &&
          last.weight + last.length == piece.weight && last.skips_first == piece.skips_first &&
          last.skips_last == piece.skips_last) {
        last.length += piece.length;
        return;
      }
      if (chain != chain_) EndChains(chain);
    } else {
      for (; chain_ < chain; ++chain_) Carry(nullptr);
    }
    ::new (static_cast<void*>(pieces_ + count_++)) ConvPiece(piece);
  }
  void End() {
    if (count_ == 0) ::new (static_cast<void*>(pieces_ + count_++)) ConvPiece{.ends_chain = true};
    EndChains(chains_.count());
  }

  const ConvPiece* pieces() const { return pieces_; }
  int64_t count() const { return count_; }

 private:
  // The chain at hand has all its pieces; those up to `next` have none.
  void EndChains(int64_t next) {
    ConvPiece& last = pieces_[count_ - 1];
    last.ends_chain = true;
    last.waiting = static_cast<int16_t>(waiting_);
    last.merges = 0;
    Carry(&last, true);
    for (++chain_; chain_ < next; ++chain_) Carry(&last);
    waiting_ += 1 - last.merges;
  }
  // Chain number chain_ is summed: as in a binary counter it completes as many pairs as its number
  // ends with ones, the last chain all that are open. Bit l of present_: the subtree of 2^l chains
  // that waits holds any.
  void Carry(ConvPiece* last, bool present = false) {
    const bool all = chain_ + 1 == chains_.count();
    for (int level = 0; chain_ >> level != 0; ++level) {
      const uint64_t bit = uint64_t{1} << level;
      if ((static_cast<uint64_t>(chain_) & bit) == 0) {
        if (all) continue;
        break;
      }
      const bool waits = (present_ & bit) != 0;
      if (waits && present) ++last->merges;
      present_ &= ~bit;
      present = present || waits;
    }
    if (present) present_ |= (static_cast<uint64_t>(chain_) + 1) & ~static_cast<uint64_t>(chain_);
  }

  const ConvChains& chains_;
  ConvPiece* pieces_;
  int64_t count_ = 0;
  int64_t chain_ = 0;  // of the last piece
  int64_t waiting_ = 0;
  uint64_t present_ = 0;
};

}  // namespace lockstep::kernels

#endif  // LOCKSTEP_ENGINE_KERNELS_CONV_CONV_PROGRAM_H_
