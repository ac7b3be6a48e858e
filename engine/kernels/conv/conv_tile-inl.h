// The micro-kernel of the convolution: a tile of pixels x channels in registers, from its first tap
// to its last. Included once per SIMD target. Registers, writing and merging are the product's
// (engine/kernels/product/gemm-inl.h).
#if defined(LOCKSTEP_ENGINE_KERNELS_CONV_CONV_TILE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LOCKSTEP_ENGINE_KERNELS_CONV_CONV_TILE_INL_H_
#undef LOCKSTEP_ENGINE_KERNELS_CONV_CONV_TILE_INL_H_
#else
#define LOCKSTEP_ENGINE_KERNELS_CONV_CONV_TILE_INL_H_
#endif

#include <algorithm>
#include <cstdint>

#include "engine/kernels/conv/conv.h"
#include "engine/kernels/product/gemm-inl.h"

HWY_BEFORE_NAMESPACE();
namespace lockstep::inline v0_1::kernels::HWY_NAMESPACE {

struct ConvTileArgs {
  const float* from;  // the first pixel's origin
  int64_t from_step;
  const float* weights;  // the first channel of the tile
  int64_t panel_stride;
  const ConvPiece* pieces;
  const ConvPiece* end;
  bool first, last;  // whether the tile begins, ends the run
  bool fetch_ahead;
  int64_t width;  // channels of the tile
  float* partial;
  TileArgs write;  // what WriteTile reads
};
using ConvTileFunction = void (*)(const ConvTileArgs&);

// The vectors of a tile lie in one panel, or one in each of two.
HWY_INLINE int64_t WeightOffset(int j, int64_t panel_stride) {
  const int64_t column = int64_t{j} * kLanes;
  return column / kConvPanel * panel_stride + column % kConvPanel;
}

// Adds a piece to the pixels [kBegin, kEnd) of a tile. kFetchAhead: fetches the same of the next
// tile of the run, a cache line of each pixel at a time. (Zen 4, 1x1 from 256 to 64 channels: 0.80
// of the peak rate, against 0.70 without. Where pixels are read again for other taps it costs 2 %.)
template <int kBegin, int kEnd, bool kFetchAhead = false, int kTileRows, int kTileVecs>
HWY_INLINE void AddPiece(const float* HWY_RESTRICT from, int64_t from_step,
                         const float* HWY_RESTRICT weights, int64_t panel_stride, int64_t length,
                         TileVec (&acc)[kTileRows][kTileVecs]) {
  const TileTag d;
  int64_t stretch = length;
  while (length > 0) {
    if (kFetchAhead) {
      LOCKSTEP_GEMM_UNROLL
      for (int i = kBegin; i < kEnd; ++i) PrefetchL2(from + (kTileRows + i) * from_step);
      stretch = std::min<int64_t>(length, 16);
    }
    length -= stretch;
    for (int64_t left = stretch; left > 0; --left) {
      TileVec weight[kTileVecs];
      LOCKSTEP_GEMM_UNROLL
      for (int j = 0; j < kTileVecs; ++j) {
        weight[j] = hn::LoadU(d, weights + WeightOffset(j, panel_stride));
      }
      LOCKSTEP_GEMM_UNROLL
      for (int i = kBegin; i < kEnd; ++i) {
        const TileVec pixel = hn::Set(d, from[i * from_step]);
        LOCKSTEP_GEMM_UNROLL
        for (int j = 0; j < kTileVecs; ++j) acc[i][j] = hn::MulAdd(pixel, weight[j], acc[i][j]);
      }
      ++from;
      weights += kConvPanel;
    }
  }
}

template <int kTileRows, int kTileVecs>
HWY_NOINLINE void ConvTile(const ConvTileArgs& args) {
  const TileTag d;
  constexpr int kCols = kTileVecs * kLanes;
  constexpr int64_t kSlot = kTileRows * kCols;
  const int64_t from_step = args.from_step, panel_stride = args.panel_stride;
  const ConvPiece* piece = args.pieces;
  // What is written is in no cache yet: the stores would wait for it. (Zen 4, 1x1: a quarter faster
  // from 64 to 256 channels, a tenth from 256 to 64.)
  for (int i = 0; i < kTileRows; ++i) {
    for (int j = 0; j < kCols; j += 16)
      PrefetchL2(args.write.c + i * args.write.output->c_stride + j);
  }
  for (;;) {
    TileVec acc[kTileRows][kTileVecs];
    LOCKSTEP_GEMM_UNROLL
    for (int i = 0; i < kTileRows; ++i) {
      LOCKSTEP_GEMM_UNROLL
      for (int j = 0; j < kTileVecs; ++j) acc[i][j] = hn::Zero(d);
    }
    for (;; ++piece) {
      const float* from = args.from + piece->from;
      const float* weights = args.weights + piece->weight * kConvPanel;
      const bool skips_first = piece->skips_first && args.first;
      const bool skips_last = piece->skips_last && args.last;
      const int64_t length = piece->length;
      if (HWY_UNLIKELY(skips_first && skips_last)) {
        AddPiece<1, kTileRows - 1>(from, from_step, weights, panel_stride, length, acc);
      } else if (skips_first) {
        AddPiece<1, kTileRows>(from, from_step, weights, panel_stride, length, acc);
      } else if (skips_last) {
        AddPiece<0, kTileRows - 1>(from, from_step, weights, panel_stride, length, acc);
      } else if (args.fetch_ahead) {
        AddPiece<0, kTileRows, true>(from, from_step, weights, panel_stride, length, acc);
      } else {
        AddPiece<0, kTileRows>(from, from_step, weights, panel_stride, length, acc);
      }
      if (piece->ends_chain) break;
    }
    float* slot = args.partial + piece->waiting * kSlot;
    for (int merge = 0; merge < piece->merges; ++merge) {
      slot -= kSlot;
      AddTile(slot, kCols, acc);
    }
    if (++piece == args.end) return WriteTile<kTileRows, kTileVecs>(args.write, acc);
    StoreTile(acc, kCols, slot);
  }
}

// NOLINTNEXTLINE(google-readability-namespace-comments)
}  // namespace lockstep::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // LOCKSTEP_ENGINE_KERNELS_CONV_CONV_TILE_INL_H_
