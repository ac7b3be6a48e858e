#include "engine/kernels/conv/depthwise.h"

#include <bit>
#include <cmath>

#include "engine/kernels/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "engine/kernels/conv/depthwise.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

// Loops over accumulators must be unrolled completely, or they live in memory.
#ifndef LOCKSTEP_DEPTHWISE_UNROLL
#if defined(__clang__)
#define LOCKSTEP_DEPTHWISE_UNROLL _Pragma("clang loop unroll(full)")
#else
#define LOCKSTEP_DEPTHWISE_UNROLL _Pragma("GCC unroll 16")
#endif
#endif

HWY_BEFORE_NAMESPACE();
namespace lockstep::inline v0_1::kernels {
namespace HWY_NAMESPACE {
namespace {
namespace hn = hwy::HWY_NAMESPACE;

// Calls body(d, c) for all channels, as many at a time as there are lanes.
template <class Body>
HWY_INLINE void ForChannels(IndexRange channels, const Body& body) {
  const hn::CappedTag<float, 16> d;
  const hn::CappedTag<float, 4> d4;
  const hn::CappedTag<float, 1> d1;
  const auto n = static_cast<int64_t>(hn::Lanes(d));
  const auto n4 = static_cast<int64_t>(hn::Lanes(d4));
  int64_t c = channels.begin;
  for (; c + n <= channels.end; c += n) body(d, c);
  for (; c + n4 <= channels.end; c += n4) body(d4, c);
  for (; c < channels.end; ++c) body(d1, c);
}

// Lanes c, c + 1, ... of what lies at `from`.
template <bool kGather, class D>
HWY_INLINE hn::Vec<D> Read(D d, const float* from, const int32_t* source, int64_t c) {
  if constexpr (kGather) {
    return hn::GatherIndex(d, from, hn::LoadU(hn::RebindToSigned<D>(), source + c));
  } else {
    return hn::LoadU(d, from + c);
  }
}

// ---- Forward and data gradient.

template <class D>
HWY_INLINE void Finish(D d, const DepthwiseRun& run, int64_t pixel, int64_t c, hn::Vec<D> v) {
  const Epilogue& e = run.epilogue;
  float* to = run.to + pixel * run.to_step + c;
  if (run.accumulate) v = hn::Add(hn::LoadU(d, to), v);
  if (e.scale != nullptr) {
    const auto scale = hn::LoadU(d, e.scale + c);
    v = e.bias != nullptr ? hn::MulAdd(scale, v, hn::LoadU(d, e.bias + c)) : hn::Mul(scale, v);
  } else if (e.bias != nullptr) {
    v = hn::Add(v, hn::LoadU(d, e.bias + c));
  }
  if (e.add != nullptr) v = hn::Add(v, hn::LoadU(d, e.add + pixel * e.add_stride + c));
  if (e.activation == Activation::kRelu) v = hn::IfThenZeroElse(hn::Lt(v, hn::Zero(d)), v);
  hn::StoreU(v, d, to);
}

// Asks for what the pixels some way ahead are the first to read, and write: the lines of a window
// that are read side by side keep the prefetchers from seeing that order.
constexpr int64_t kAhead = 2048;  // floats
template <int kPixels>
HWY_INLINE void PrefetchAhead(const DepthwiseRun& run, int64_t pixel, int64_t c) {
  if (run.taps.empty()) return;
  const float* from = run.from + pixel * run.from_step + c + kAhead +
                      HWY_MAX(run.taps.front().from, run.taps.back().from);
  const float* to = run.to + pixel * run.to_step + c + kAhead;
  LOCKSTEP_DEPTHWISE_UNROLL
  for (int i = 0; i < kPixels; ++i) {
    __builtin_prefetch(from + i * run.from_step, /*write=*/0, 3);
    __builtin_prefetch(to + i * run.to_step, /*write=*/1, 3);
  }
}

// Several pixels share the loads of weights: four of them leave five loads for four multiply-adds.
template <int kPixels, bool kGather, class D>
HWY_INLINE void Pixels(D d, const DepthwiseRun& run, int64_t pixel, int64_t c) {
  const float* from = run.from + pixel * run.from_step;
  const float* weights = run.weights + c;
  hn::Vec<D> sums[kPixels];
  LOCKSTEP_DEPTHWISE_UNROLL
  for (int i = 0; i < kPixels; ++i) sums[i] = hn::Zero(d);
  const DepthwiseTap* const end = run.taps.data() + run.taps.size();
  for (const DepthwiseTap* tap = run.taps.data(); tap != end; ++tap) {
    const auto w = hn::LoadU(d, weights + tap->weight);
    const float* at = from + tap->from;
    LOCKSTEP_DEPTHWISE_UNROLL
    for (int i = 0; i < kPixels; ++i) {
      sums[i] = hn::MulAdd(Read<kGather>(d, at + i * run.from_step, run.source, c), w, sums[i]);
    }
  }
  if (kPixels > 1) PrefetchAhead<kPixels>(run, pixel, c);
  LOCKSTEP_DEPTHWISE_UNROLL
  for (int i = 0; i < kPixels; ++i) Finish(d, run, pixel + i, c, sums[i]);
}

// The same for taps that come in rows of kTaps, what one reads being what its neighbour reads from
// the next pixel (kUp) or the one before: each is loaded once, for kTaps pixels. Visited in the
// order in which a pixel's own taps come.
template <int kPixels, int kTaps, bool kUp, class D>
HWY_INLINE void SlidingPixels(D d, const DepthwiseRun& run, int64_t pixel, int64_t c) {
  hn::Vec<D> sums[kPixels];
  LOCKSTEP_DEPTHWISE_UNROLL
  for (int i = 0; i < kPixels; ++i) sums[i] = hn::Zero(d);
  const int64_t step = run.from_step;
  const float* from = run.from + pixel * step + c;
  const DepthwiseTap* const end = run.taps.data() + run.taps.size();
  for (const DepthwiseTap* row = run.taps.data(); row != end; row += kTaps) {
    hn::Vec<D> w[kTaps];
    LOCKSTEP_DEPTHWISE_UNROLL
    for (int k = 0; k < kTaps; ++k) w[k] = hn::LoadU(d, run.weights + row[k].weight + c);
    // Place j is read by tap k of pixel j - k, or of pixel kPixels - 1 - (j - k).
    const float* at = from + row[0].from + (kUp ? 0 : (kPixels - 1) * step);
    LOCKSTEP_DEPTHWISE_UNROLL
    for (int j = 0; j < kPixels + kTaps - 1; ++j) {
      const auto x = hn::LoadU(d, at);
      at += kUp ? step : -step;
      LOCKSTEP_DEPTHWISE_UNROLL
      for (int k = 0; k < kTaps; ++k) {
        if (j - k < 0 || j - k >= kPixels) continue;
        const int i = kUp ? j - k : kPixels - 1 - (j - k);
        sums[i] = hn::MulAdd(x, w[k], sums[i]);
      }
    }
  }
  if (kPixels > 1) PrefetchAhead<kPixels>(run, pixel, c);
  LOCKSTEP_DEPTHWISE_UNROLL
  for (int i = 0; i < kPixels; ++i) Finish(d, run, pixel + i, c, sums[i]);
}

// As many pixels as tiles hold, from `pixel` on; returns the first that was left.
template <int kTaps, bool kUp>
HWY_INLINE int64_t Slide(const DepthwiseRun& run, int64_t pixel) {
  for (; pixel + 8 <= run.pixels; pixel += 8) {
    ForChannels(run.channels, [&](auto d, int64_t c)
                                  HWY_ATTR { SlidingPixels<8, kTaps, kUp>(d, run, pixel, c); });
  }
  for (; pixel + 4 <= run.pixels; pixel += 4) {
    ForChannels(run.channels, [&](auto d, int64_t c)
                                  HWY_ATTR { SlidingPixels<4, kTaps, kUp>(d, run, pixel, c); });
  }
  return pixel;
}

// Windows of more taps than a chain may have.
template <bool kGather, class D>
HWY_INLINE void ChainedPixel(D d, const DepthwiseRun& run, int64_t pixel, int64_t c) {
  constexpr int kMostWaiting = 64;
  HWY_ALIGN float waiting[kMostWaiting][16];
  const float* from = run.from + pixel * run.from_step;
  int depth = 0;
  int64_t t = 0;
  const auto chains = static_cast<int64_t>(run.chain_ends.size());
  for (int64_t chain = 0; chain < chains; ++chain) {
    auto sum = hn::Zero(d);
    for (; t < run.chain_ends[static_cast<size_t>(chain)]; ++t) {
      const DepthwiseTap& tap = run.taps[static_cast<size_t>(t)];
      sum = hn::MulAdd(Read<kGather>(d, from + tap.from, run.source, c),
                       hn::LoadU(d, run.weights + tap.weight + c), sum);
    }
    int merges = chain + 1 == chains ? depth : std::countr_one(static_cast<uint64_t>(chain));
    for (; merges > 0; --merges) sum = hn::Add(hn::Load(d, waiting[--depth]), sum);
    hn::Store(sum, d, waiting[depth++]);
  }
  Finish(d, run, pixel, c, hn::Load(d, waiting[0]));
}

template <bool kGather>
HWY_INLINE void AllPixels(const DepthwiseRun& run) {
  constexpr int64_t kTile = 4;
  const bool chained = run.chain_ends.size() > 1;
  int64_t pixel = 0;
  if (!chained && !kGather) {
    if (run.row_taps == 3) pixel = Slide<3, true>(run, pixel);
    if (run.row_taps == -3) pixel = Slide<3, false>(run, pixel);
    if (run.row_taps == 5) pixel = Slide<5, true>(run, pixel);
    if (run.row_taps == -5) pixel = Slide<5, false>(run, pixel);
  }
  for (; !chained && pixel + kTile <= run.pixels; pixel += kTile) {
    ForChannels(run.channels,
                [&](auto d, int64_t c) HWY_ATTR { Pixels<kTile, kGather>(d, run, pixel, c); });
  }
  for (; pixel < run.pixels; ++pixel) {
    ForChannels(run.channels, [&](auto d, int64_t c) HWY_ATTR {
      if (chained) {
        ChainedPixel<kGather>(d, run, pixel, c);
      } else {
        Pixels<1, kGather>(d, run, pixel, c);
      }
    });
  }
}

void DepthwisePixelsTarget(const DepthwiseRun& run) {
  if (run.source != nullptr) return AllPixels</*kGather=*/true>(run);
  AllPixels</*kGather=*/false>(run);
}

// ---- Weight gradient.

// The columns of dy at which tap kw of a line reads the picture, of those of the chain.
HWY_INLINE IndexRange ColumnsOf(const DepthwiseChain& chain, int64_t kw) {
  const int64_t first = chain.pad_left - kw * chain.dilation_w;  // column * stride >= first
  const int64_t last = chain.in_w - 1 + first;                   // column * stride <= last
  const int64_t begin = first <= 0 ? 0 : (first + chain.stride_w - 1) / chain.stride_w;
  const int64_t end = last < 0 ? 0 : last / chain.stride_w + 1;
  const int64_t from = HWY_MAX(begin, chain.columns.begin);
  return {from, HWY_MAX(from, HWY_MIN(end, chain.columns.end))};
}

// The sums of kTaps taps of line kh from `kw` on for kVectors vectors of channels, in registers
// throughout the chain.
template <int kTaps, int kVectors, bool kGather, class D>
HWY_INLINE void SumTaps(D d, const DepthwiseChain& chain, int64_t kh, int64_t kw, int64_t c) {
  const auto n = static_cast<int64_t>(hn::Lanes(d));
  IndexRange range[kTaps];
  for (int k = 0; k < kTaps; ++k) range[k] = ColumnsOf(chain, kw + k);
  // Columns at which all taps read the picture: ranges of later taps lie further left.
  const int64_t whole_begin = range[0].begin;
  const int64_t whole_end = HWY_MAX(whole_begin, range[kTaps - 1].end);
  const int64_t tap_step = chain.dilation_w * chain.in_c;
  const int64_t x_step = chain.stride_w * chain.in_c;

  float* const to =
      chain.sums + (kh * chain.kernel_w + kw) * chain.channels.size() + c - chain.channels.begin;
  hn::Vec<D> sums[kTaps][kVectors];
  LOCKSTEP_DEPTHWISE_UNROLL
  for (int k = 0; k < kTaps; ++k) {
    LOCKSTEP_DEPTHWISE_UNROLL
    for (int v = 0; v < kVectors; ++v) {
      sums[k][v] = hn::Zero(d);
      if (chain.continues) sums[k][v] = hn::LoadU(d, to + k * chain.channels.size() + v * n);
    }
  }
  for (int64_t row = chain.rows.begin; row < chain.rows.end; ++row) {
    const int64_t in_row = row * chain.stride_h - chain.pad_top + kh * chain.dilation_h;
    if (in_row < 0 || in_row >= chain.in_h) continue;
    // What tap kw reads at column 0, which may lie in the padding.
    const float* x = chain.x + (in_row * chain.in_w - chain.pad_left) * chain.in_c + kw * tap_step;
    const float* dy = chain.dy + row * chain.out_w * chain.out_c + c;
    LOCKSTEP_DEPTHWISE_UNROLL
    for (int k = 0; k < kTaps; ++k) {  // the columns that not all taps read, first
      for (int64_t w = range[k].begin; w < HWY_MIN(whole_begin, range[k].end); ++w) {
        const float* at = x + w * x_step + k * tap_step;
        LOCKSTEP_DEPTHWISE_UNROLL
        for (int v = 0; v < kVectors; ++v) {
          sums[k][v] = hn::MulAdd(Read<kGather>(d, at, chain.source, c + v * n),
                                  hn::LoadU(d, dy + w * chain.out_c + v * n), sums[k][v]);
        }
      }
    }
    const float* x_at = x + whole_begin * x_step;
    const float* dy_at = dy + whole_begin * chain.out_c;
    for (int64_t w = whole_begin; w < whole_end; ++w) {
      LOCKSTEP_DEPTHWISE_UNROLL
      for (int v = 0; v < kVectors; ++v) {
        const auto g = hn::LoadU(d, dy_at + v * n);
        LOCKSTEP_DEPTHWISE_UNROLL
        for (int k = 0; k < kTaps; ++k) {
          sums[k][v] = hn::MulAdd(Read<kGather>(d, x_at + k * tap_step, chain.source, c + v * n), g,
                                  sums[k][v]);
        }
      }
      x_at += x_step;
      dy_at += chain.out_c;
    }
    LOCKSTEP_DEPTHWISE_UNROLL
    for (int k = 0; k < kTaps; ++k) {  // and last
      for (int64_t w = HWY_MAX(whole_end, range[k].begin); w < range[k].end; ++w) {
        const float* at = x + w * x_step + k * tap_step;
        LOCKSTEP_DEPTHWISE_UNROLL
        for (int v = 0; v < kVectors; ++v) {
          sums[k][v] = hn::MulAdd(Read<kGather>(d, at, chain.source, c + v * n),
                                  hn::LoadU(d, dy + w * chain.out_c + v * n), sums[k][v]);
        }
      }
    }
  }
  LOCKSTEP_DEPTHWISE_UNROLL
  for (int k = 0; k < kTaps; ++k) {
    LOCKSTEP_DEPTHWISE_UNROLL
    for (int v = 0; v < kVectors; ++v)
      hn::StoreU(sums[k][v], d, to + k * chain.channels.size() + v * n);
  }
}

template <int kVectors, bool kGather, class D>
HWY_INLINE void SumAllTaps(D d, const DepthwiseChain& chain, int64_t c) {
  for (int64_t kh = 0; kh < chain.kernel_h; ++kh) {
    int64_t kw = 0;
    for (; kw + 5 <= chain.kernel_w; kw += 5) SumTaps<5, kVectors, kGather>(d, chain, kh, kw, c);
    for (; kw + 3 <= chain.kernel_w; kw += 3) SumTaps<3, kVectors, kGather>(d, chain, kh, kw, c);
    for (; kw < chain.kernel_w; ++kw) SumTaps<1, kVectors, kGather>(d, chain, kh, kw, c);
  }
}

template <bool kGather>
HWY_INLINE void AllChannels(const DepthwiseChain& chain) {
  const hn::CappedTag<float, 16> d;
  const auto n = static_cast<int64_t>(hn::Lanes(d));
  int64_t c = chain.channels.begin;
  for (; c + 2 * n <= chain.channels.end; c += 2 * n) SumAllTaps<2, kGather>(d, chain, c);
  ForChannels({c, chain.channels.end},
              [&](auto tag, int64_t at) HWY_ATTR { SumAllTaps<1, kGather>(tag, chain, at); });
}

void DepthwiseWeightChainTarget(const DepthwiseChain& chain) {
  if (chain.source != nullptr) return AllChannels</*kGather=*/true>(chain);
  AllChannels</*kGather=*/false>(chain);
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace lockstep::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace lockstep::inline v0_1::kernels {
namespace {
HWY_EXPORT(DepthwisePixelsTarget);
HWY_EXPORT(DepthwiseWeightChainTarget);
}  // namespace

void DepthwisePixels(const DepthwiseRun& run) { HWY_DYNAMIC_DISPATCH(DepthwisePixelsTarget)(run); }

void DepthwiseWeightChain(const DepthwiseChain& chain) {
  HWY_DYNAMIC_DISPATCH(DepthwiseWeightChainTarget)(chain);
}

void NoteNotFinite(const float* x, int64_t n, std::atomic<bool>* not_finite) {
  if (not_finite == nullptr) return;
  for (int64_t i = 0; i < n; ++i) {
    if (!std::isfinite(x[i])) return not_finite->store(true, std::memory_order_relaxed);
  }
}

}  // namespace lockstep::kernels
#endif  // HWY_ONCE
