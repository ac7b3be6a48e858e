// The micro-kernel of the matrix product: one tile of C in registers. Included once per SIMD
// target.
//
// Everything here is indifferent to how a product is cut: an element's sum runs through its own
// lane of its own accumulator, in ascending k, however wide the tile around it is.
#if defined(LOCKSTEP_ENGINE_KERNELS_PRODUCT_GEMM_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LOCKSTEP_ENGINE_KERNELS_PRODUCT_GEMM_INL_H_
#undef LOCKSTEP_ENGINE_KERNELS_PRODUCT_GEMM_INL_H_
#else
#define LOCKSTEP_ENGINE_KERNELS_PRODUCT_GEMM_INL_H_
#endif

#include <algorithm>
#include <bit>
#include <cstdint>
#include <cstring>

#include "engine/kernels/elementwise/activation_kind.h"
#include "engine/kernels/targets.h"
//
#include <hwy/cache_control.h>
#include <hwy/highway.h>

// Loops over accumulators must be unrolled completely, or they live in memory.
#if defined(__clang__)
#define LOCKSTEP_GEMM_UNROLL _Pragma("clang loop unroll(full)")
#else
#define LOCKSTEP_GEMM_UNROLL _Pragma("GCC unroll 64")
#endif

HWY_BEFORE_NAMESPACE();
namespace lockstep::kernels::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using TileTag = hn::ScalableTag<float>;
using TileVec = hn::Vec<TileTag>;
inline constexpr int kLanes = HWY_LANES(float);

// kRows x kVecs accumulators and kVecs + 1 operands fill the register file, and kRows * kVecs is at
// least latency x throughput of a fused multiply-add (4 x 2 on all of these), so the adders never
// wait. kDirectRows is the same where A is read in place, and each row takes an address register.
// kDepth is the longest stretch of k between two visits of a tile: a panel of B and two tiles of A
// (kDepth x (2 kRows + kVecs kLanes) floats, 29 of 32 KB with AVX2) share the L1 cache. 264 also
// cuts 784, 1024 and 2048 into stretches of nearly that length.
//
// Measured on Zen 3 (AVX2), one core, as shares of the peak rate. The tile alone with operands in
// L1: 6 x 2 reaches 0.97 to 1.00 from k = 256 on and 0.77 at k = 20. The loop over k must begin a
// cache line of code (the build says -falign-loops=64 for this file): a product gains a tenth.
// Tried and not better: 4 x 3 (0.90 to 0.97); the loop over k unrolled by 2 (same) or 4 (small
// products 8 % slower); kDepth 192 to 400 (within 3 %); A prefetched in the loop, or the next
// tile's rows of A before this tile (same); two or four times as many tasks (same); sums between
// two visits kept in C instead of `partial` (a tenth slower: its rows are powers of two apart).
#if HWY_TARGET == HWY_AVX3
inline constexpr int kRows = 14, kVecs = 2, kDirectRows = 8;
#elif HWY_TARGET == HWY_AVX2
inline constexpr int kRows = 6, kVecs = 2, kDirectRows = 6;
#elif HWY_ARCH_ARM && HWY_TARGET != HWY_EMU128 && HWY_TARGET != HWY_SCALAR
inline constexpr int kRows = 6, kVecs = 4, kDirectRows = 6;
#else  // baselines: four lanes emulated, or one
inline constexpr int kRows = 4, kVecs = 8 / kLanes, kDirectRows = 4;
#endif
inline constexpr int64_t kDepth = 264;
// A narrow panel serves the last columns, a wide one products of few rows, which would otherwise
// have too few chains in flight.
inline constexpr int kNarrowVecs = kVecs / 2, kWideVecs = kVecs * 2;
inline constexpr int kWideRows = kRows / 2;
inline constexpr int kPanel = kVecs * kLanes;

// The stretch [k_begin, k_end) of K that the panels hold, and where its segments end.
struct Stretch {
  const int64_t* bounds;  // segments + 1
  int64_t segments;
  int64_t first_segment;  // the one that k_begin continues or starts
  int64_t k_begin, k_end;
  bool last;
};

// What all tiles of a block share.
struct TileOutput {
  int64_t c_stride;
  bool accumulate;
  bool scalar_bias;  // bias[0] for every column
  bool relu;
};

struct TileArgs {
  const float* a;  // row i at a + i * a_row, its next k at + a_step
  int64_t a_row;   // (packed: 1)
  int64_t a_step;  // (packed: kTileRows)
  const float* b;  // kTileVecs vectors for each k, b_step apart
  int64_t b_step;
  float* c;
  int64_t cols;               // <= kTileVecs * kLanes: how many columns of C exist
  const float* bias;          // at the first column, or null
  float* partial;             // sums of unfinished segments: slots of kTileRows * kTileVecs vectors
  const float* next_partial;  // what the next tile will begin with, to be fetched; or null
  const Stretch* stretch;
  const TileOutput* output;
};
using TileFunction = void (*)(const TileArgs&);

// Copies fewer than 2 * kPanel floats, by powers of two, without a call.
HWY_INLINE void CopyFew(const float* HWY_RESTRICT from, int64_t count, float* HWY_RESTRICT to) {
  for (; count >= 8; count -= 8, from += 8, to += 8) std::memcpy(to, from, 32);
  if (count & 4) std::memcpy(to, from, 16), from += 4, to += 4;
  if (count & 2) std::memcpy(to, from, 8), from += 2, to += 2;
  if (count & 1) *to = *from;
}

// Writes a tile that is wider than what is left of C: `sums` holds its rows, `width` floats each.
HWY_NOINLINE void WritePartialTile(const TileArgs& args, int64_t rows, int64_t width,
                                   float* HWY_RESTRICT sums) {
  const TileTag d;
  const TileOutput& out = *args.output;
  HWY_ALIGN float row[kWideVecs * kLanes];
  HWY_ALIGN float bias[kWideVecs * kLanes];
  for (int64_t j = 0; j < width; j += kLanes) {
    hn::Store(hn::Zero(d), d, row + j);
    hn::Store(hn::Set(d, args.bias != nullptr && out.scalar_bias ? *args.bias : 0.0f), d, bias + j);
  }
  if (args.bias != nullptr && !out.scalar_bias) CopyFew(args.bias, args.cols, bias);
  for (int64_t i = 0; i < rows; ++i) {
    float* c = args.c + i * out.c_stride;
    if (out.accumulate) CopyFew(c, args.cols, row);
    for (int64_t j = 0; j < width; j += kLanes) {
      float* at = sums + i * width + j;
      TileVec v = hn::Load(d, at);
      if (out.accumulate) v = hn::Add(hn::Load(d, row + j), v);
      if (args.bias != nullptr) v = hn::Add(v, hn::Load(d, bias + j));
      if (out.relu) v = hn::IfThenZeroElse(hn::Lt(v, hn::Zero(d)), v);
      hn::Store(v, d, at);
    }
    CopyFew(sums + i * width, args.cols, c);
  }
}

template <int kTileRows, int kTileVecs>
HWY_INLINE void WriteTile(const TileArgs& args, TileVec (&acc)[kTileRows][kTileVecs]) {
  const TileTag d;
  constexpr int kCols = kTileVecs * kLanes;
  const TileOutput out = *args.output;
  float* const c = args.c;
  if (HWY_UNLIKELY(args.cols != kCols)) {
    HWY_ALIGN float sums[kTileRows * kCols];
    LOCKSTEP_GEMM_UNROLL
    for (int i = 0; i < kTileRows; ++i) {
      LOCKSTEP_GEMM_UNROLL
      for (int j = 0; j < kTileVecs; ++j) hn::Store(acc[i][j], d, sums + i * kCols + j * kLanes);
    }
    WritePartialTile(args, kTileRows, kCols, sums);
    return;
  }
  if (out.accumulate) {
    LOCKSTEP_GEMM_UNROLL
    for (int i = 0; i < kTileRows; ++i) {
      LOCKSTEP_GEMM_UNROLL
      for (int j = 0; j < kTileVecs; ++j) {
        acc[i][j] = hn::Add(hn::LoadU(d, c + i * out.c_stride + j * kLanes), acc[i][j]);
      }
    }
  }
  if (args.bias != nullptr) {
    LOCKSTEP_GEMM_UNROLL
    for (int j = 0; j < kTileVecs; ++j) {
      const TileVec bias =
          out.scalar_bias ? hn::Set(d, args.bias[0]) : hn::LoadU(d, args.bias + j * kLanes);
      LOCKSTEP_GEMM_UNROLL
      for (int i = 0; i < kTileRows; ++i) acc[i][j] = hn::Add(acc[i][j], bias);
    }
  }
  if (out.relu) {
    LOCKSTEP_GEMM_UNROLL
    for (int i = 0; i < kTileRows; ++i) {
      LOCKSTEP_GEMM_UNROLL
      for (int j = 0; j < kTileVecs; ++j) {
        acc[i][j] = hn::IfThenZeroElse(hn::Lt(acc[i][j], hn::Zero(d)), acc[i][j]);
      }
    }
  }
  LOCKSTEP_GEMM_UNROLL
  for (int i = 0; i < kTileRows; ++i) {
    LOCKSTEP_GEMM_UNROLL
    for (int j = 0; j < kTileVecs; ++j) {
      hn::StoreU(acc[i][j], d, c + i * out.c_stride + j * kLanes);
    }
  }
}

// Adds the stretch of K to one tile, and writes C if K ends with it. kPacked: the panel of A was
// packed, so its strides are known here.
//
// The tree over segments is a binary counter: while segment s is summed, the partial sums that wait
// for a partner are popcount(s) many, the oldest in slot 0; the unfinished chain goes to the slot
// above them.
template <int kTileRows, int kTileVecs, bool kPacked>
HWY_NOINLINE void Tile(const TileArgs& args) {
  const TileTag d;
  constexpr int kCols = kTileVecs * kLanes;
  constexpr int64_t kSlot = kTileRows * kCols;
  const Stretch& stretch = *args.stretch;
  const int64_t a_row = kPacked ? 1 : args.a_row;
  const int64_t a_step = kPacked ? kTileRows : args.a_step;
  const int64_t b_step = args.b_step;
  const float* HWY_RESTRICT a = args.a;
  const float* HWY_RESTRICT b = args.b;
  if (stretch.last) {
    for (int i = 0; i < kTileRows; ++i) {
      for (int j = 0; j < kCols; j += 16) hwy::Prefetch(args.c + i * args.output->c_stride + j);
    }
  }
  if (args.next_partial != nullptr) {
    for (int64_t i = 0; i < kSlot; i += 16) hwy::Prefetch(args.next_partial + i);
  }
  int64_t k = stretch.k_begin;
  for (int64_t segment = stretch.first_segment;; ++segment) {
    const int64_t waiting = std::popcount(static_cast<uint64_t>(segment));
    const int64_t segment_end = stretch.bounds[segment + 1];
    const int64_t end = std::min(segment_end, stretch.k_end);
    TileVec acc[kTileRows][kTileVecs];
    if (k == stretch.bounds[segment]) {
      LOCKSTEP_GEMM_UNROLL
      for (int i = 0; i < kTileRows; ++i) {
        LOCKSTEP_GEMM_UNROLL
        for (int j = 0; j < kTileVecs; ++j) acc[i][j] = hn::Zero(d);
      }
    } else {
      const float* chain = args.partial + waiting * kSlot;
      LOCKSTEP_GEMM_UNROLL
      for (int i = 0; i < kTileRows; ++i) {
        LOCKSTEP_GEMM_UNROLL
        for (int j = 0; j < kTileVecs; ++j) {
          acc[i][j] = hn::LoadU(d, chain + i * kCols + j * kLanes);
        }
      }
    }
    for (int64_t left = end - k; left > 0; --left) {
      TileVec b_now[kTileVecs];
      LOCKSTEP_GEMM_UNROLL
      for (int j = 0; j < kTileVecs; ++j) b_now[j] = hn::LoadU(d, b + j * kLanes);
      LOCKSTEP_GEMM_UNROLL
      for (int i = 0; i < kTileRows; ++i) {
        const TileVec a_now = hn::Set(d, a[i * a_row]);
        LOCKSTEP_GEMM_UNROLL
        for (int j = 0; j < kTileVecs; ++j) acc[i][j] = hn::MulAdd(a_now, b_now[j], acc[i][j]);
      }
      a += a_step;
      b += b_step;
    }
    k = end;
    const bool ended = end == segment_end;
    const bool all = ended && segment + 1 == stretch.segments;
    // Older sums stand to the left of younger ones; the pairs that are complete merge.
    int64_t merges = 0;
    if (ended) merges = all ? waiting : std::countr_one(static_cast<uint64_t>(segment));
    const float* older = args.partial + waiting * kSlot;
    for (int64_t merge = 0; merge < merges; ++merge) {
      older -= kSlot;
      LOCKSTEP_GEMM_UNROLL
      for (int i = 0; i < kTileRows; ++i) {
        LOCKSTEP_GEMM_UNROLL
        for (int j = 0; j < kTileVecs; ++j) {
          acc[i][j] = hn::Add(hn::LoadU(d, older + i * kCols + j * kLanes), acc[i][j]);
        }
      }
    }
    if (all) {
      WriteTile<kTileRows, kTileVecs>(args, acc);
      return;
    }
    float* slot = args.partial + (waiting - merges) * kSlot;
    LOCKSTEP_GEMM_UNROLL
    for (int i = 0; i < kTileRows; ++i) {
      LOCKSTEP_GEMM_UNROLL
      for (int j = 0; j < kTileVecs; ++j) {
        hn::StoreU(acc[i][j], d, slot + i * kCols + j * kLanes);
      }
    }
    if (!ended || (k == stretch.k_end && !stretch.last)) return;
  }
}

// NOLINTNEXTLINE(google-readability-namespace-comments)
}  // namespace lockstep::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // LOCKSTEP_ENGINE_KERNELS_PRODUCT_GEMM_INL_H_
