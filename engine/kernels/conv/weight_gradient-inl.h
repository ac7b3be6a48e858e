// The micro-kernel of a convolution's weight gradient: a tile of inputs x outputs in registers, K
// are pixels. Both operands are read where they lie. Included once per SIMD target.
#if defined(LOCKSTEP_ENGINE_KERNELS_CONV_WEIGHT_GRADIENT_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LOCKSTEP_ENGINE_KERNELS_CONV_WEIGHT_GRADIENT_INL_H_
#undef LOCKSTEP_ENGINE_KERNELS_CONV_WEIGHT_GRADIENT_INL_H_
#else
#define LOCKSTEP_ENGINE_KERNELS_CONV_WEIGHT_GRADIENT_INL_H_
#endif

#include <cstdint>

#include "engine/kernels/targets.h"
//
#include <hwy/highway.h>

// Loops over accumulators must be unrolled completely, or they live in memory.
#if defined(__clang__)
#define LOCKSTEP_CONV_UNROLL _Pragma("clang loop unroll(full)")
#else
#define LOCKSTEP_CONV_UNROLL _Pragma("GCC unroll 64")
#endif

HWY_BEFORE_NAMESPACE();
namespace lockstep::inline v0_1::kernels::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using GradTag = hn::ScalableTag<float>;
using GradVec = hn::Vec<GradTag>;
inline constexpr int kGradLanes = HWY_LANES(float);

// As the tile of a product: accumulators and operands fill the register file. A tile of one vector
// serves the last outputs, with twice as many rows where each costs a broadcast and no register.
#if HWY_ARCH_X86 && HWY_TARGET <= HWY_AVX3  // and the sets beyond it: lower is better
inline constexpr int kGradRows = 14, kGradVecs = 2, kGradNarrowRows = 24;
#elif HWY_TARGET == HWY_AVX2
inline constexpr int kGradRows = 6, kGradVecs = 2, kGradNarrowRows = 12;
#elif HWY_ARCH_ARM && HWY_TARGET != HWY_EMU128 && HWY_TARGET != HWY_SCALAR
inline constexpr int kGradRows = 6, kGradVecs = 4, kGradNarrowRows = 12;
#else  // baselines: four lanes emulated, or one
inline constexpr int kGradRows = 4, kGradVecs = 8 / kGradLanes, kGradNarrowRows = 4;
#endif
inline constexpr int kGradWidth = kGradVecs * kGradLanes;
// Whether a tile fetches what the next visit reads (Zen 4: 1x1, 256 -> 64, from 0.77 to 0.91 of the
// peak rate). With AVX2 a pixel has too few multiply-adds to hide two fetches: 0.03 to 0.1 slower.
inline constexpr bool kGradFetchAhead = kGradLanes >= 16;

// Neighbouring pixels of a line for which the same rows of a tile's picture are inside it.
struct PixelRun {
  int64_t x;      // offset of the first row, for the first pixel; outside where lo > 0
  int64_t pixel;  // the first, counted from the first of the visit
  int32_t count;
  int32_t lo, hi;  // rows [lo, hi) are inside
};

struct GradChain {
  int32_t runs;     // how many of the runs are its
  int32_t waiting;  // older sums that wait for a partner when it begins
  int32_t merges;   // how many of those its sum is added to, the youngest first
};

struct GradTile {
  const float* x;   // at the first row of the tile, for a run with offset 0
  int64_t x_step;   // from pixel to pixel
  const float* dy;  // first pixel of the visit
  int64_t dy_step;
  // What the next visit reads, which tiles fetch into the L2 cache meanwhile, a line of x and a row
  // of dy for each pixel. x_ahead: how far it is from x; where a tile has nothing to fetch 0, and
  // dy_ahead is dy.
  int64_t x_ahead;
  const float* dy_ahead;
  int64_t dy_ahead_step;
  int32_t row;  // the first, within the runs' rows
  int32_t chains;
  const GradChain* chain;
  const PixelRun* runs;
  float* slots;  // sums that wait
  float* sums;   // where the sum of all goes, if the visit is the last; or null
  int64_t sums_stride;
};
using GradTileFunction = void (*)(const GradTile&);

template <int kRows, int kVecs>
HWY_NOINLINE void Tile(const GradTile& tile) {
  const GradTag d;
  constexpr int64_t kSlot = int64_t{kRows} * kVecs * kGradLanes;
  const int64_t x_step = tile.x_step, dy_step = tile.dy_step, x_ahead = tile.x_ahead;
  const int64_t dy_ahead_step = tile.dy_ahead_step;
  const PixelRun* run = tile.runs;
  for (int32_t c = 0;; ++c) {
    GradVec acc[kRows][kVecs];
    LOCKSTEP_CONV_UNROLL
    for (int i = 0; i < kRows; ++i) {
      LOCKSTEP_CONV_UNROLL
      for (int j = 0; j < kVecs; ++j) acc[i][j] = hn::Zero(d);
    }
    const GradChain& chain = tile.chain[c];
    for (const PixelRun* runs_end = run + chain.runs; run != runs_end; ++run) {
      const float* HWY_RESTRICT x = tile.x + run->x;
      const float* HWY_RESTRICT dy = tile.dy + run->pixel * dy_step;
      const float* dy_ahead = tile.dy_ahead + run->pixel * dy_ahead_step;
      if (HWY_LIKELY(run->lo <= tile.row && tile.row + kRows <= run->hi)) {
        for (int32_t left = run->count; left > 0; --left) {
          GradVec b[kVecs];
          LOCKSTEP_CONV_UNROLL
          for (int j = 0; j < kVecs; ++j) b[j] = hn::LoadU(d, dy + j * kGradLanes);
          if constexpr (kGradFetchAhead) {
            __builtin_prefetch(x + x_ahead, /*write=*/0, /*locality: L2*/ 2);
            LOCKSTEP_CONV_UNROLL
            for (int j = 0; j < kVecs * kGradLanes; j += 16) __builtin_prefetch(dy_ahead + j, 0, 2);
            dy_ahead += dy_ahead_step;
          }
          LOCKSTEP_CONV_UNROLL
          for (int i = 0; i < kRows; ++i) {
            const GradVec a = hn::Set(d, x[i]);
            LOCKSTEP_CONV_UNROLL
            for (int j = 0; j < kVecs; ++j) acc[i][j] = hn::MulAdd(a, b[j], acc[i][j]);
          }
          x += x_step;
          dy += dy_step;
        }
        continue;
      }
      const int32_t lo = run->lo - tile.row, hi = run->hi - tile.row;
      for (int32_t left = run->count; left > 0; --left) {
        GradVec b[kVecs];
        LOCKSTEP_CONV_UNROLL
        for (int j = 0; j < kVecs; ++j) b[j] = hn::LoadU(d, dy + j * kGradLanes);
        LOCKSTEP_CONV_UNROLL
        for (int i = 0; i < kRows; ++i) {
          if (i < lo || i >= hi) continue;
          const GradVec a = hn::Set(d, x[i]);
          LOCKSTEP_CONV_UNROLL
          for (int j = 0; j < kVecs; ++j) acc[i][j] = hn::MulAdd(a, b[j], acc[i][j]);
        }
        x += x_step;
        dy += dy_step;
      }
    }
    float* slot = tile.slots + chain.waiting * kSlot;
    for (int32_t merge = 0; merge < chain.merges; ++merge) {
      slot -= kSlot;
      LOCKSTEP_CONV_UNROLL
      for (int i = 0; i < kRows; ++i) {
        LOCKSTEP_CONV_UNROLL
        for (int j = 0; j < kVecs; ++j) {
          const float* from = slot + (i * kVecs + j) * kGradLanes;
          acc[i][j] = hn::Add(hn::LoadU(d, from), acc[i][j]);
        }
      }
    }
    const bool done = c + 1 == tile.chains;
    const bool ends = done && tile.sums != nullptr;
    float* to = ends ? tile.sums : slot;
    const int64_t stride = ends ? tile.sums_stride : kVecs * kGradLanes;
    LOCKSTEP_CONV_UNROLL
    for (int i = 0; i < kRows; ++i) {
      LOCKSTEP_CONV_UNROLL
      for (int j = 0; j < kVecs; ++j) hn::StoreU(acc[i][j], d, to + i * stride + j * kGradLanes);
    }
    if (done) return;
  }
}

// NOLINTNEXTLINE(google-readability-namespace-comments)
}  // namespace lockstep::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // LOCKSTEP_ENGINE_KERNELS_CONV_WEIGHT_GRADIENT_INL_H_
