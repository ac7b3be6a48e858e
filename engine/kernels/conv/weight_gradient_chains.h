// How the sum over the pixels of a convolution's weight gradient is cut into chains of
// multiply-adds: a function of the picture's extents and the samples of a segment alone.
#ifndef LOCKSTEP_ENGINE_KERNELS_CONV_WEIGHT_GRADIENT_CHAINS_H_
#define LOCKSTEP_ENGINE_KERNELS_CONV_WEIGHT_GRADIENT_CHAINS_H_

#include <algorithm>
#include <bit>
#include <cstdint>

#include "engine/kernels/product/chains.h"

namespace lockstep::inline v0_1::kernels {

// The output pixels of a batch as lines of `width`, `lines` of them in each sample. Where a
// convolution reads every pixel as it is (kernel 1, stride 1, no padding) samples have no lines:
// the pixels of a segment are one long line, and its sum has the order of a matrix product.
struct PixelLines {
  int64_t width = 1;
  int64_t lines = 1;
  bool dense = false;

  int64_t sample() const { return width * lines; }
};

// Pixels of one chain: columns [col, col_end) of each of the lines [line, line_end), counted from
// the first line of the batch. Dense: columns count from the first pixel of the batch.
struct PixelChain {
  int64_t line, line_end, col, col_end;

  int64_t pixels() const { return (line_end - line) * (col_end - col); }
};

// The chains of a segment of `samples` samples that begins at sample `begin`. A chain is
//   whole lines          as many as 256 pixels hold, dealt evenly: lines [L i / n, L (i + 1) / n)
//   a part of a line     where a line is longer than that, and cut as evenly: n = ceil(width / 256)
// A segment without pixels has one empty chain.
class PixelChains {
 public:
  PixelChains(const PixelLines& shape, int64_t begin, int64_t samples) : width_(shape.width) {
    if (shape.dense) {
      first_ = begin * shape.sample();
      width_ = samples * shape.sample();
      count_ = ChainsOf(width_);
      parts_ = 0;
      return;
    }
    first_ = begin * shape.lines;
    lines_ = samples * shape.lines;
    parts_ = ChainsOf(width_);
    const int64_t each = std::max<int64_t>(1, kLongestChain / std::max<int64_t>(1, width_));
    count_ = parts_ > 1 ? lines_ * parts_ : (lines_ + each - 1) / each;
    count_ = std::max<int64_t>(1, count_);
  }

  int64_t count() const { return count_; }
  PixelChain operator[](int64_t i) const {
    if (parts_ == 0) {
      return {0, 1, first_ + width_ * i / count_, first_ + width_ * (i + 1) / count_};
    }
    if (lines_ == 0) return {first_, first_, 0, width_};
    if (parts_ == 1) {
      return {first_ + lines_ * i / count_, first_ + lines_ * (i + 1) / count_, 0, width_};
    }
    const int64_t line = first_ + i / parts_, part = i % parts_;
    return {line, line + 1, width_ * part / parts_, width_ * (part + 1) / parts_};
  }

 private:
  int64_t width_, first_;
  int64_t lines_ = 0;
  int64_t parts_;  // of a line; 0: dense
  int64_t count_;
};

// Sums that wait for a partner at any time while `chains` (or segments) merge by MergeTree.
constexpr int32_t WaitingOf(int64_t chains) {
  return static_cast<int32_t>(
      std::bit_width(static_cast<uint64_t>(std::max<int64_t>(chains, 1) - 1)));
}

}  // namespace lockstep::kernels

#endif  // LOCKSTEP_ENGINE_KERNELS_CONV_WEIGHT_GRADIENT_CHAINS_H_
