// The micro-kernel of the matrix product: one tile of C in registers. Included once per SIMD
// target.
//
// Everything here is indifferent to how a product is cut into tiles: an element's chains run
// through their own lane of their own accumulator, however wide the tile around it is.
#if defined(LOCKSTEP_ENGINE_KERNELS_PRODUCT_GEMM_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LOCKSTEP_ENGINE_KERNELS_PRODUCT_GEMM_INL_H_
#undef LOCKSTEP_ENGINE_KERNELS_PRODUCT_GEMM_INL_H_
#else
#define LOCKSTEP_ENGINE_KERNELS_PRODUCT_GEMM_INL_H_
#endif

#include <algorithm>
#include <atomic>
#include <bit>
#include <cstdint>
#include <cstring>

#include "engine/kernels/epilogue.h"
#include "engine/kernels/product/chains.h"
#include "engine/kernels/targets.h"
//
#include <hwy/highway.h>

// Loops over accumulators must be unrolled completely, or they live in memory.
#if defined(__clang__)
#define LOCKSTEP_GEMM_UNROLL _Pragma("clang loop unroll(full)")
#else
#define LOCKSTEP_GEMM_UNROLL _Pragma("GCC unroll 64")
#endif

HWY_BEFORE_NAMESPACE();
namespace lockstep::inline v0_1::kernels::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using TileTag = hn::ScalableTag<float>;
using TileVec = hn::Vec<TileTag>;
inline constexpr int kLanes = HWY_LANES(float);

// kRows x kVecs accumulators and kVecs + 1 operands fill the register file, and kRows * kVecs is at
// least latency x throughput of a fused multiply-add (4 x 2 on all of these), so the adders never
// wait. kDirectRows is the same where A is read in place, and each row takes an address register.
// kDepth is the longest stretch of k in one visit of a tile: a panel of B and two tiles of A
// (kDepth x (2 kRows + kVecs kLanes) floats) share the 32 KB of the L1 cache with AVX2. With
// AVX-512 the panel alone is that large and streams from the L2 cache: 3 cache lines for 28 vectors
// of multiply-adds (on Zen 4 the loop over k still runs at 0.98 of the peak rate).
//
// Measured on Zen 3 (AVX2), one core, as shares of the peak rate. The tile alone with operands in
// L1: 6 x 2 reaches 0.97 to 1.00 from k = 256 on and 0.77 at k = 20. The loop over k must begin a
// cache line of code (the build says -falign-loops=64 for this file): a product gains a tenth.
// Tried and not better: 4 x 3 (0.90 to 0.97); the loop over k unrolled by 2 (same) or 4 (small
// products 8 % slower); kDepth 192 to 400 (within 3 %); A prefetched in the loop, or the next
// tile's rows of A before this tile (same); two or four times as many tasks (same); sums between
// two visits kept in C instead of `partial` (a tenth slower: its rows are powers of two apart).
//
// On Zen 4, which does a 512-bit operation as two halves, AVX-512 and AVX2 tiles reach the same
// within 3 % (large products) and AVX-512 is 3 to 10 % faster on small ones. kDepth 392 or 512
// there: within 2 % either way.
//
// Sapphire Rapids (whole 512-bit units, 48 KB of L1) reaches 0.94 of its peak rate with K = 256,
// but 0.80 to 0.84 with K of 1024 and more: packing A and B is 8 % there, the rest is the loop over
// k and the sums between visits. Tried there and not better: B or A fetched into L1 in the loop, C
// a line with each k as `partial` is, kDepth 512 or 1024, blocks of 512 x 512 or x 256.
#if HWY_ARCH_X86 && HWY_TARGET <= HWY_AVX3  // and the sets beyond it: lower is better
inline constexpr int kRows = 14, kVecs = 2, kDirectRows = 8;
#elif HWY_TARGET == HWY_AVX2
inline constexpr int kRows = 6, kVecs = 2, kDirectRows = 6;
#elif HWY_ARCH_ARM && HWY_TARGET != HWY_EMU128 && HWY_TARGET != HWY_SCALAR
inline constexpr int kRows = 6, kVecs = 4, kDirectRows = 6;
#else  // baselines: four lanes emulated, or one
inline constexpr int kRows = 4, kVecs = 8 / kLanes, kDirectRows = 4;
#endif
inline constexpr int64_t kDepth = kLongestChain;
// A narrow panel serves the last columns, a wide one products of few rows, which would otherwise
// have too few chains in flight.
inline constexpr int kNarrowVecs = kVecs / 2, kWideVecs = kVecs * 2;
inline constexpr int kWideRows = kRows / 2;
inline constexpr int kPanel = kVecs * kLanes;

// What one visit adds to a tile: the stretch [k_begin, k_end) of K, which the panels hold. It is
// made of whole chains, so no chain is ever put aside and taken up again.
struct Stretch {
  static constexpr int kMostChains = 32;
  int64_t k_begin = 0, k_end = 0;
  bool last = false;  // C is written
  bool only = false;  // the first and the last
  int32_t count = 0;  // of chains
  Chain chains[kMostChains];
};

// What all tiles of a block share.
struct TileOutput {
  int64_t c_stride;
  int64_t add_stride;
  bool accumulate;
  bool one_column;  // scale[0] and bias[0] serve every column
  bool relu;
  std::atomic<bool>* not_finite;  // or null
};

struct TileArgs {
  const float* a;  // row i at a + i * a_row, its next k at + a_step
  int64_t a_row;   // (packed: 1)
  int64_t a_step;  // (packed: kTileRows)
  const float* b;  // kTileVecs vectors for each k, b_step apart
  int64_t b_step;
  float* c;
  int64_t cols;        // <= kTileVecs * kLanes: how many columns of C exist
  const float* scale;  // at the first column, or null
  const float* bias;   // likewise
  const float* add;    // where c is, or null
  float* partial;      // sums that wait for a partner: slots of kTileRows * kTileVecs vectors
  const Stretch* stretch;
  const TileOutput* output;
};
using TileFunction = void (*)(const TileArgs&);

// What a tile needs when its sums are done. Fetched into L1, it would have left it again by then:
// so many fetches at once stand in the way of the first multiply-adds, and the operands pass
// through. (Zen 4: L2 gains 4 % in a product of 2048 cubed, 2 % in one of 256 x 2048 x 2048.)
HWY_INLINE void PrefetchL2(const float* from) { __builtin_prefetch(from, /*write=*/0, 2); }

// Copies fewer than 2 * kPanel floats, by powers of two, without a call.
HWY_INLINE void CopyFew(const float* HWY_RESTRICT from, int64_t count, float* HWY_RESTRICT to) {
  for (; count >= 8; count -= 8, from += 8, to += 8) std::memcpy(to, from, 32);
  if (count & 4) std::memcpy(to, from, 16), from += 4, to += 4;
  if (count & 2) std::memcpy(to, from, 8), from += 2, to += 2;
  if (count & 1) *to = *from;
}

// `found`: sums of 0 * v, which is 0 for what is finite and NaN for the rest.
HWY_INLINE void Report(TileVec found, std::atomic<bool>* not_finite) {
  const TileTag d;
  if (HWY_LIKELY(hn::AllTrue(d, hn::Eq(found, hn::Zero(d))))) return;
  not_finite->store(true, std::memory_order_relaxed);
}

// A row of scale or bias as WritePartialTile reads it, padded; `row` holds it.
HWY_INLINE void LoadColumns(const float* from, bool one_column, int64_t cols, int64_t width,
                            float* HWY_RESTRICT row) {
  const TileTag d;
  for (int64_t j = 0; j < width; j += kLanes) {
    hn::Store(hn::Set(d, one_column ? *from : 0.0f), d, row + j);
  }
  if (!one_column) CopyFew(from, cols, row);
}

// Writes a tile that is wider than what is left of C: `sums` holds its rows, `width` floats each.
static HWY_NOINLINE HWY_MAYBE_UNUSED void WritePartialTile(const TileArgs& args, int64_t rows,
                                                           int64_t width,
                                                           float* HWY_RESTRICT sums) {
  const TileTag d;
  const TileOutput& out = *args.output;
  HWY_ALIGN float scale[kWideVecs * kLanes];
  HWY_ALIGN float bias[kWideVecs * kLanes];
  HWY_ALIGN float old[kWideVecs * kLanes];
  HWY_ALIGN float add[kWideVecs * kLanes];
  if (args.scale != nullptr) LoadColumns(args.scale, out.one_column, args.cols, width, scale);
  if (args.bias != nullptr) LoadColumns(args.bias, out.one_column, args.cols, width, bias);
  for (int64_t j = 0; j < width; j += kLanes) {
    hn::Store(hn::Zero(d), d, old + j);
    hn::Store(hn::Zero(d), d, add + j);
  }
  TileVec found = hn::Zero(d);
  for (int64_t i = 0; i < rows; ++i) {
    float* c = args.c + i * out.c_stride;
    if (out.accumulate) CopyFew(c, args.cols, old);
    if (args.add != nullptr) CopyFew(args.add + i * out.add_stride, args.cols, add);
    for (int64_t j = 0; j < width; j += kLanes) {
      float* at = sums + i * width + j;
      TileVec v = hn::Load(d, at);
      if (out.accumulate) v = hn::Add(hn::Load(d, old + j), v);
      if (args.scale != nullptr) {
        const TileVec factor = hn::Load(d, scale + j);
        v = args.bias != nullptr ? hn::MulAdd(factor, v, hn::Load(d, bias + j))
                                 : hn::Mul(factor, v);
      } else if (args.bias != nullptr) {
        v = hn::Add(v, hn::Load(d, bias + j));
      }
      if (args.add != nullptr) v = hn::Add(v, hn::Load(d, add + j));
      if (out.relu) v = hn::IfThenZeroElse(hn::Lt(v, hn::Zero(d)), v);
      hn::Store(v, d, at);
      if (out.not_finite != nullptr) {
        const auto exists = hn::FirstN(d, static_cast<size_t>(std::max<int64_t>(args.cols - j, 0)));
        found = hn::MulAdd(hn::IfThenElseZero(exists, v), hn::Zero(d), found);
      }
    }
    CopyFew(sums + i * width, args.cols, c);
  }
  if (out.not_finite != nullptr) Report(found, out.not_finite);
}

template <int kTileRows, int kTileVecs>
HWY_INLINE void StoreTile(TileVec (&acc)[kTileRows][kTileVecs], int64_t stride, float* to) {
  const TileTag d;
  LOCKSTEP_GEMM_UNROLL
  for (int i = 0; i < kTileRows; ++i) {
    LOCKSTEP_GEMM_UNROLL
    for (int j = 0; j < kTileVecs; ++j) hn::StoreU(acc[i][j], d, to + i * stride + j * kLanes);
  }
}

// acc = acc + the same place of `from`; a sum has the same bits whichever operand stands first.
template <int kTileRows, int kTileVecs>
HWY_INLINE void AddTile(const float* from, int64_t stride, TileVec (&acc)[kTileRows][kTileVecs]) {
  const TileTag d;
  LOCKSTEP_GEMM_UNROLL
  for (int i = 0; i < kTileRows; ++i) {
    LOCKSTEP_GEMM_UNROLL
    for (int j = 0; j < kTileVecs; ++j) {
      acc[i][j] = hn::Add(hn::LoadU(d, from + i * stride + j * kLanes), acc[i][j]);
    }
  }
}

template <int kTileRows, int kTileVecs>
HWY_INLINE void ReportTile(TileVec (&acc)[kTileRows][kTileVecs], std::atomic<bool>* not_finite) {
  const TileTag d;
  TileVec even = hn::Zero(d), odd = hn::Zero(d);  // two chains: the adders wait less
  LOCKSTEP_GEMM_UNROLL
  for (int i = 0; i < kTileRows; ++i) {
    LOCKSTEP_GEMM_UNROLL
    for (int j = 0; j < kTileVecs; ++j) {
      TileVec& found = (i + j) % 2 == 0 ? even : odd;
      found = hn::MulAdd(acc[i][j], hn::Zero(d), found);
    }
  }
  Report(hn::Add(even, odd), not_finite);
}

template <int kTileRows, int kTileVecs>
HWY_INLINE void WriteTile(const TileArgs& args, TileVec (&acc)[kTileRows][kTileVecs]) {
  const TileTag d;
  constexpr int kCols = kTileVecs * kLanes;
  const TileOutput out = *args.output;
  if (HWY_UNLIKELY(args.cols != kCols)) {
    HWY_ALIGN float sums[kTileRows * kCols];
    StoreTile(acc, kCols, sums);
    WritePartialTile(args, kTileRows, kCols, sums);
    return;
  }
  if (out.accumulate) AddTile(args.c, out.c_stride, acc);
  if (args.scale != nullptr || args.bias != nullptr) {
    const auto column = [&](const float* from, int j) HWY_ATTR {
      return out.one_column ? hn::Set(d, from[0]) : hn::LoadU(d, from + j * kLanes);
    };
    LOCKSTEP_GEMM_UNROLL
    for (int j = 0; j < kTileVecs; ++j) {
      if (args.scale == nullptr) {
        const TileVec bias = column(args.bias, j);
        LOCKSTEP_GEMM_UNROLL
        for (int i = 0; i < kTileRows; ++i) acc[i][j] = hn::Add(acc[i][j], bias);
        continue;
      }
      const TileVec scale = column(args.scale, j);
      if (args.bias == nullptr) {
        LOCKSTEP_GEMM_UNROLL
        for (int i = 0; i < kTileRows; ++i) acc[i][j] = hn::Mul(scale, acc[i][j]);
        continue;
      }
      const TileVec bias = column(args.bias, j);
      LOCKSTEP_GEMM_UNROLL
      for (int i = 0; i < kTileRows; ++i) acc[i][j] = hn::MulAdd(scale, acc[i][j], bias);
    }
  }
  if (args.add != nullptr) AddTile(args.add, out.add_stride, acc);
  if (out.relu) {
    LOCKSTEP_GEMM_UNROLL
    for (int i = 0; i < kTileRows; ++i) {
      LOCKSTEP_GEMM_UNROLL
      for (int j = 0; j < kTileVecs; ++j) {
        acc[i][j] = hn::IfThenZeroElse(hn::Lt(acc[i][j], hn::Zero(d)), acc[i][j]);
      }
    }
  }
  StoreTile(acc, out.c_stride, args.c);
  if (out.not_finite != nullptr) ReportTile(acc, out.not_finite);
}

// Adds the stretch of K to one tile, and writes C if K ends with it. kPacked: the panel of A was
// packed, so its strides are known here.
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
      for (int j = 0; j < kCols; j += 16) PrefetchL2(args.c + i * args.output->c_stride + j);
    }
  }
  // The slots that the first chain reads, or the one it writes. A large tile fetches them a line
  // with each k, over and over: all at once, they fill the buffers for misses and the loop waits
  // (Sapphire Rapids, whose L3 cache is far away: 1 to 3 % of products with K of 1024 and more).
  constexpr bool kSpread = kTileRows * kTileVecs > 16;
  const float* ahead = b;
  int64_t ahead_mask = 0;
  if (!stretch.only) {
    const Chain& first = stretch.chains[0];
    const float* slot = args.partial + (first.waiting - first.merges) * kSlot;
    const int64_t floats = std::max<int64_t>(first.merges, 1) * kSlot;
    if constexpr (kSpread) {
      ahead = slot;
      ahead_mask = static_cast<int64_t>(std::bit_ceil(static_cast<uint64_t>(floats / 16))) - 1;
    } else {
      for (int64_t i = 0; i < floats; i += 16) PrefetchL2(slot + i);
    }
  }
  for (const Chain* chain = stretch.chains;; ++chain) {
    TileVec acc[kTileRows][kTileVecs];
    LOCKSTEP_GEMM_UNROLL
    for (int i = 0; i < kTileRows; ++i) {
      LOCKSTEP_GEMM_UNROLL
      for (int j = 0; j < kTileVecs; ++j) acc[i][j] = hn::Zero(d);
    }
    for (int64_t left = chain->length; left > 0; --left) {
      TileVec b_now[kTileVecs];
      LOCKSTEP_GEMM_UNROLL
      for (int j = 0; j < kTileVecs; ++j) b_now[j] = hn::LoadU(d, b + j * kLanes);
      LOCKSTEP_GEMM_UNROLL
      for (int i = 0; i < kTileRows; ++i) {
        const TileVec a_now = hn::Set(d, a[i * a_row]);
        LOCKSTEP_GEMM_UNROLL
        for (int j = 0; j < kTileVecs; ++j) acc[i][j] = hn::MulAdd(a_now, b_now[j], acc[i][j]);
      }
      if constexpr (kSpread) PrefetchL2(ahead + 16 * (left & ahead_mask));
      a += a_step;
      b += b_step;
    }
    float* slot = args.partial + chain->waiting * kSlot;
    for (int32_t merge = 0; merge < chain->merges; ++merge) {
      slot -= kSlot;
      AddTile(slot, kCols, acc);
    }
    const bool done = chain + 1 == stretch.chains + stretch.count;
    if (done && stretch.last) {
      WriteTile<kTileRows, kTileVecs>(args, acc);
      return;
    }
    StoreTile(acc, kCols, slot);
    if (done) return;
  }
}

// NOLINTNEXTLINE(google-readability-namespace-comments)
}  // namespace lockstep::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // LOCKSTEP_ENGINE_KERNELS_PRODUCT_GEMM_INL_H_
