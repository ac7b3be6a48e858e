#include "engine/kernels/conv/weight_gradient.h"

#include "engine/kernels/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "engine/kernels/conv/weight_gradient.cc"
#include <hwy/foreach_target.h>
//
#include <hwy/highway.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cstdint>
#include <utility>

#include "engine/base/integers.h"
#include "engine/kernels/conv/weight_gradient-inl.h"

HWY_BEFORE_NAMESPACE();
namespace lockstep::inline v0_1::kernels::HWY_NAMESPACE {

template <int kVecs, int... kMinusOne>
constexpr auto TilesOf(std::integer_sequence<int, kMinusOne...>) {
  return std::array<GradTileFunction, sizeof...(kMinusOne)>{Tile<kMinusOne + 1, kVecs>...};
}
// Indexed by rows - 1.
constexpr auto kWideTiles = TilesOf<kGradVecs>(std::make_integer_sequence<int, kGradRows>());
constexpr auto kNarrowTiles = TilesOf<1>(std::make_integer_sequence<int, kGradNarrowRows>());

// A visit of all tiles of a block takes the pixels of one chain, or of several where channels are
// few.
constexpr int64_t kVisitFloats = 8192;
constexpr int32_t kMostChains = 16;
constexpr int32_t kMostPixels = 4 * kLongestChain;  // and no more runs
int64_t PackedFloats(int64_t outputs) {
  return kMostPixels * (CeilDiv(outputs, kGradWidth) * kGradWidth);
}

// Rows and columns are padded to whole tiles at most once each.
int64_t TileFloats(int64_t rows, int64_t outputs) {
  return (rows + kGradNarrowRows) * (CeilDiv(outputs, kGradWidth) * kGradWidth);
}

int64_t ScratchOf(const WeightGradientShape& shape, int64_t kernel_lines, int64_t inputs,
                  int64_t outputs, int64_t chains, int64_t segments) {
  const int64_t slots = WaitingOf(chains) + WaitingOf(segments);
  const int64_t groups = shape.joins_taps() ? 1 : shape.kernel_w;
  const int64_t rows = shape.joins_taps() ? shape.kernel_w * inputs : inputs;
  return PackedFloats(outputs) + kernel_lines * groups * TileFloats(rows, outputs) * (slots + 1);
}

class GradBlock {
 public:
  GradBlock(const WeightGradientShape& shape, const WeightGradientBlock& block, float* scratch)
      : shape_(shape), block_(block), lines_(shape.lines()), packed_(scratch) {
    slots_ = scratch + PackedFloats(block.out_end - block.out);
    joined_ = shape.joins_taps();
    pack_ = PackingPays();
    taps_ = joined_ ? shape.kernel_w : 1;
    run_rows_ = joined_ ? shape.kernel_w * shape.in_c : block.in_end - block.in;
    segment_ = block.segment;
    chain_ = block.segment_end - block.segment == 1 ? block.chain : 0;
  }

  void Run() {
    // Enough room for the waiting sums of any tile.
    int64_t most = 1;
    for (int64_t s = block_.segment; s < block_.segment_end; ++s) {
      most = std::max(most, ChainsOfSegment(s).count());
    }
    levels_ = WaitingOf(most) + WaitingOf(block_.segment_end - block_.segment) + 1;
    do {
      NextVisit();
      float* slots = slots_;
      for (int64_t kh = block_.kh; kh < block_.kh_end; ++kh) {
        for (int64_t kw = 0; kw < shape_.kernel_w; kw += taps_) {
          FindRuns(kh, kw);
          for (int64_t out = block_.out; out < block_.out_end; out += kGradWidth) {
            slots = RunColumn(kh, kw, out, slots);
          }
        }
      }
    } while (!last_);
  }

 private:
  // Whether dy is copied, so that the outputs of a tile lie beside each other: with AVX2 a tile has
  // few multiply-adds for each cache line that it reads, and lines of pixels that are a power of
  // two apart push each other out of L1.
  bool PackingPays() const {
    const int64_t rows =
        (block_.kh_end - block_.kh) * shape_.kernel_w * (block_.in_end - block_.in);
    return kGradLanes == 8 && shape_.dy_pixel > kGradWidth && rows >= 256;
  }

  PixelChains ChainsOfSegment(int64_t s) const {
    return {lines_, block_.segments[s], block_.segments[s + 1] - block_.segments[s]};
  }

  // The next chains, as many as the caches take.
  void NextVisit() {
    count_ = 0;
    pixels_ = 0;
    const int64_t channels = block_.in_end - block_.in + block_.out_end - block_.out;
    const int64_t most = std::max<int64_t>(kLongestChain, kVisitFloats / channels);
    while (count_ < kMostChains) {
      const PixelChains chains = ChainsOfSegment(segment_);
      const bool single = block_.segment_end - block_.segment == 1;
      const int64_t end = single ? block_.chain_end : chains.count();
      const int64_t begin = single ? block_.chain : 0;
      const PixelChain pixels = chains[chain_];
      if (count_ > 0 && pixels_ + pixels.pixels() > most) break;
      if (count_ > 0 && pixels_ + pixels.pixels() > kMostPixels) break;
      pixels_ += pixels.pixels();
      GradChain& chain = chains_[count_];
      range_[count_++] = pixels;
      chain.waiting = segments_waiting_ + waiting_;
      if (++chain_ < end) {
        chain.merges = PairsOf(chain_ - 1 - begin);
        waiting_ += 1 - chain.merges;
        continue;
      }
      const bool last = segment_ + 1 == block_.segment_end;
      const int32_t pairs = last ? segments_waiting_ : PairsOf(segment_ - block_.segment);
      chain.merges = waiting_ + pairs;
      segments_waiting_ += 1 - pairs;
      waiting_ = 0;
      chain_ = 0;
      ++segment_;
      if (last) {
        last_ = true;
        break;
      }
    }
    first_pixel_ = range_[0].line * shape_.out_w + range_[0].col;
    pack_for_ = -1;
    x_ahead_ = dy_ahead_ = 0;
    if (!last_) {
      const PixelChain& first = range_[0];
      const PixelChain next = ChainsOfSegment(segment_)[chain_];
      const int64_t pixel = next.line * shape_.out_w + next.col;
      dy_ahead_ = (pixel - first_pixel_) * shape_.dy_pixel;
      // Right where strides and padding divide the picture, and near enough elsewhere.
      x_ahead_ = ((next.line - first.line) * shape_.stride_h * shape_.in_w +
                  (next.col - first.col) * shape_.stride_w) *
                 shape_.x_pixel;
    }
  }
  static int32_t PairsOf(int64_t i) { return std::countr_one(static_cast<uint64_t>(i)); }

  // What the taps (kh, [kw, kw + taps_)) read of the pixels of this visit.
  void FindRuns(int64_t kh, int64_t kw) {
    const WeightGradientShape& s = shape_;
    run_count_ = 0;
    for (int32_t c = 0; c < count_; ++c) {
      const PixelChain& chain = range_[c];
      const int32_t before = run_count_;
      if (lines_.dense) {
        AddRun(chain.col * s.x_pixel, chain.col, chain.col_end, 0, 1);
      } else {
        for (int64_t line = chain.line; line < chain.line_end; ++line) {
          const int64_t sample = line / s.out_h, oh = line % s.out_h;
          const int64_t ih = oh * s.stride_h - s.pad_top + kh * s.dilation_h;
          if (ih >= 0 && ih < s.in_h) AddLine(sample * s.in_h + ih, line, chain, kw);
        }
      }
      chains_[c].runs = run_count_ - before;
    }
  }

  // The pixels of a chain in one line, cut where the taps that are inside the picture change.
  void AddLine(int64_t in_line, int64_t line, const PixelChain& chain, int64_t kw) {
    const WeightGradientShape& s = shape_;
    const auto column = [&](int64_t ow) {
      return ow * s.stride_w - s.pad_left + kw * s.dilation_w;  // of the first tap
    };
    const auto inside = [&](int64_t ow, int64_t& lo, int64_t& hi) {
      // Taps t with 0 <= column + t * dilation < in_w; joined taps have no dilation.
      const int64_t iw = column(ow);
      lo = std::clamp<int64_t>(-iw, 0, taps_);
      hi = std::clamp<int64_t>(s.in_w - iw, lo, taps_);
    };
    int64_t ow = chain.col;
    if (column(ow) < -taps_ + 1) {  // to the first that reads anything
      ow = std::max(ow, CeilDiv(s.pad_left - kw * s.dilation_w - taps_ + 1, s.stride_w));
    }
    while (ow < chain.col_end) {
      int64_t lo, hi;
      inside(ow, lo, hi);
      if (hi == lo) return;  // nothing is left to the right
      int64_t end = ow + 1;
      if (lo == 0 && hi == taps_) {  // up to the last that reads all
        const int64_t room = s.in_w - taps_ - column(ow);
        end = std::min(chain.col_end, ow + room / s.stride_w + 1);
      }
      AddRun((in_line * s.in_w + column(ow)) * s.x_pixel, line * s.out_w + ow, line * s.out_w + end,
             lo, hi);
      ow = end;
    }
  }

  void AddRun(int64_t x, int64_t pixel, int64_t pixel_end, int64_t lo, int64_t hi) {
    const int64_t rows = run_rows_ / taps_;
    runs_[run_count_++] = {x, pixel - first_pixel_, static_cast<int32_t>(pixel_end - pixel),
                           static_cast<int32_t>(lo * rows), static_cast<int32_t>(hi * rows)};
  }

  // All rows of the taps at hand for one panel of outputs. Returns where the next slots begin.
  float* RunColumn(int64_t kh, int64_t kw, int64_t out, float* slots) {
    const int64_t cols = std::min<int64_t>(kGradWidth, block_.out_end - out);
    const bool narrow = cols <= kGradLanes;
    const int64_t width = narrow ? kGradLanes : kGradWidth;
    GradTile tile;
    tile.dy = block_.dy + first_pixel_ * shape_.dy_pixel + out;
    tile.dy_step = shape_.dy_pixel;
    // Of the taps, those that read what no earlier one has.
    const bool new_lines = kh >= block_.kh_end - shape_.stride_h;
    const bool new_columns = kw + taps_ > shape_.kernel_w - shape_.stride_w;
    const bool fetch_x = new_lines && new_columns && out == block_.out;
    const bool fetch_dy = kh + 1 == block_.kh_end && kw + taps_ == shape_.kernel_w;
    tile.x_ahead = fetch_x ? x_ahead_ : 0;
    const float* dy_ahead = tile.dy + dy_ahead_;
    if (cols < width || pack_) {
      float* packed = packed_ + (out - block_.out) * kMostPixels;
      if (pack_for_ < out) Pack(tile.dy, cols, width, packed);
      pack_for_ = std::max(pack_for_, out);
      tile.dy = packed;
      tile.dy_step = width;
    }
    tile.x_step = shape_.stride_w * shape_.x_pixel;
    tile.chains = count_;
    tile.chain = chains_;
    tile.runs = runs_;
    tile.sums_stride = shape_.sums_width();
    const int64_t tiles = CeilDiv(run_rows_, narrow ? kGradNarrowRows : kGradRows);
    const int64_t first_row = (kh * shape_.kernel_w + kw) * shape_.in_c + (joined_ ? 0 : block_.in);
    for (int64_t t = 0; t < tiles; ++t) {
      const int64_t row = run_rows_ * t / tiles, rows = run_rows_ * (t + 1) / tiles - row;
      tile.row = static_cast<int32_t>(row);
      tile.x = block_.x + (joined_ ? 0 : block_.in) + row;
      tile.slots = slots;
      tile.dy_ahead = fetch_dy && t == 0 ? dy_ahead : tile.dy;
      tile.dy_ahead_step = fetch_dy && t == 0 ? shape_.dy_pixel : tile.dy_step;
      slots += levels_ * rows * width;
      tile.sums = last_ ? block_.sums + (first_row + row) * tile.sums_stride + out : nullptr;
      (narrow ? kNarrowTiles.data() : kWideTiles.data())[rows - 1](tile);
    }
    return slots;
  }

  // dy of the visit's pixels, a tile's outputs side by side; zeros for outputs that there are not.
  void Pack(const float* dy, int64_t cols, int64_t width, float* to) {
    if (cols == width) {
      const GradTag d;
      for (int64_t p = 0; p < pixels_; ++p, dy += shape_.dy_pixel, to += width) {
        for (int64_t j = 0; j < width; j += kGradLanes) hn::StoreU(hn::LoadU(d, dy + j), d, to + j);
      }
      return;
    }
    for (int64_t p = 0; p < pixels_; ++p, dy += shape_.dy_pixel, to += width) {
      for (int64_t j = 0; j < cols; ++j) to[j] = dy[j];
      for (int64_t j = cols; j < width; ++j) to[j] = 0.0f;
    }
  }

  const WeightGradientShape& shape_;
  const WeightGradientBlock& block_;
  const PixelLines lines_;
  float *packed_, *slots_;
  bool joined_, pack_;
  int64_t taps_;        // in a run
  int64_t run_rows_;    // taps_ x inputs
  int64_t levels_ = 0;  // slots of each tile

  // The next chain, and how many sums wait.
  int64_t segment_, chain_;
  int32_t waiting_ = 0, segments_waiting_ = 0;
  bool last_ = false;

  // The visit at hand.
  int32_t count_ = 0, run_count_ = 0;
  int64_t pixels_ = 0, first_pixel_ = 0, pack_for_ = -1;
  int64_t x_ahead_ = 0, dy_ahead_ = 0;  // to the next visit's first pixel
  PixelChain range_[kMostChains];
  GradChain chains_[kMostChains];
  PixelRun runs_[kMostPixels];
};

void WeightGradientOf(const WeightGradientShape& shape, const WeightGradientBlock& block,
                      float* scratch) {
  GradBlock(shape, block, scratch).Run();
}

void FinishOf(const WeightGradientEnd& end, int64_t row, int64_t row_end) {
  const GradTag d;
  constexpr int64_t kRows = 16, kOutputs = 16;
  HWY_ALIGN float turned[kOutputs][kRows];
  GradVec found = hn::Zero(d);  // 0 * v is 0 for what is finite and NaN for the rest
  for (; row < row_end; row += kRows) {
    const int64_t rows = std::min(kRows, row_end - row);
    for (int64_t out = 0; out < end.outputs; out += kOutputs) {
      const int64_t outputs = std::min(kOutputs, end.outputs - out);
      for (int64_t r = 0; r < rows; ++r) {
        const float* from = end.sums + (row + r) * end.sums_width + out;
        for (int64_t o = 0; o < outputs; ++o) turned[o][r] = from[o];
      }
      for (int64_t o = 0; o < outputs; ++o) {
        float* dw = end.dw + (out + o) * end.rows + row;
        int64_t r = 0;
        for (; r + kGradLanes <= rows; r += kGradLanes) {
          GradVec v = hn::Load(d, turned[o] + r);
          if (end.accumulate) v = hn::Add(hn::LoadU(d, dw + r), v);
          hn::StoreU(v, d, dw + r);
          found = hn::MulAdd(v, hn::Zero(d), found);
        }
        for (; r < rows; ++r) {
          const float v = end.accumulate ? dw[r] + turned[o][r] : turned[o][r];
          dw[r] = v;
          found = hn::MulAdd(hn::Set(d, v), hn::Zero(d), found);
        }
      }
    }
  }
  if (end.not_finite != nullptr && !hn::AllTrue(d, hn::Eq(found, hn::Zero(d)))) {
    end.not_finite->store(true, std::memory_order_relaxed);
  }
}

// NOLINTNEXTLINE(google-readability-namespace-comments)
}  // namespace lockstep::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace lockstep::inline v0_1::kernels {

HWY_EXPORT(ScratchOf);
HWY_EXPORT(WeightGradientOf);
HWY_EXPORT(FinishOf);

int64_t WeightGradientScratch(const WeightGradientShape& shape, int64_t kernel_lines,
                              int64_t inputs, int64_t outputs, int64_t chains, int64_t segments) {
  return HWY_DYNAMIC_DISPATCH(ScratchOf)(shape, kernel_lines, inputs, outputs, chains, segments);
}

void WeightGradient(const WeightGradientShape& shape, const WeightGradientBlock& block,
                    float* scratch) {
  HWY_DYNAMIC_DISPATCH(WeightGradientOf)(shape, block, scratch);
}

void FinishWeightGradient(const WeightGradientEnd& end, int64_t row, int64_t row_end) {
  HWY_DYNAMIC_DISPATCH(FinishOf)(end, row, row_end);
}

}  // namespace lockstep::kernels
#endif  // HWY_ONCE
