// Copies panels of the operands of a matrix product into the order in which the micro-kernel reads
// them. Included once per SIMD target.
//
// A panel of `width` vectors v[0..width) over k holds v[i][p] at panel[p * width + i]. For A the
// vectors are the rows of a tile, for B the columns. `count` of them exist; where the panel is
// wider, its last lanes repeat one of them or are zero.
#if defined(LOCKSTEP_ENGINE_KERNELS_PRODUCT_GEMM_PACK_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LOCKSTEP_ENGINE_KERNELS_PRODUCT_GEMM_PACK_INL_H_
#undef LOCKSTEP_ENGINE_KERNELS_PRODUCT_GEMM_PACK_INL_H_
#else
#define LOCKSTEP_ENGINE_KERNELS_PRODUCT_GEMM_PACK_INL_H_
#endif

#include <algorithm>
#include <cstdint>

#include "engine/kernels/product/gemm-inl.h"
//
#include <hwy/cache_control.h>

HWY_BEFORE_NAMESPACE();
namespace lockstep::inline v0_1::kernels::HWY_NAMESPACE {

#if HWY_TARGET == HWY_SCALAR

HWY_INLINE void PackTransposed(const float* from, int64_t stride, int64_t count, int64_t k,
                               int64_t width, float* HWY_RESTRICT panel) {
  for (int64_t p = 0; p < k; ++p) {
    for (int64_t i = 0; i < width; ++i) *panel++ = from[std::min(i, count - 1) * stride + p];
  }
}

#else

// Four floats of each of kLanes vectors: block q of the result is from vector 4 * q + i.
HWY_INLINE TileVec LoadQuads(const float* const* from, int64_t i, int64_t p) {
  const hn::CappedTag<float, 4> d4;
#if HWY_MAX_BYTES == 64    // four blocks
  const hn::CappedTag<float, 8> d8;
  return hn::Combine(
      TileTag(), hn::Combine(d8, hn::LoadU(d4, from[12 + i] + p), hn::LoadU(d4, from[8 + i] + p)),
      hn::Combine(d8, hn::LoadU(d4, from[4 + i] + p), hn::LoadU(d4, from[i] + p)));
#elif HWY_MAX_BYTES == 32  // two
  return hn::Combine(TileTag(), hn::LoadU(d4, from[4 + i] + p), hn::LoadU(d4, from[i] + p));
#else
  return hn::LoadU(d4, from[i] + p);
#endif
}

// Vectors that are contiguous themselves: v[i][p] = from[i * stride + p]. Transposes 4 x kLanes at
// a time. Where `width` is no multiple of the lanes, up to kLanes - 1 floats behind each k are
// overwritten: those of the next k are written later, those behind the panel are lost.
//
// Tried where rows lie a power of two apart, so that kLanes of them want the same lines of L1 (Zen
// 4, AVX-512): 64 floats of each first copied to a buffer (2 to 12 % slower), or whole vectors of
// four rows at a time, stored in quarters (within 2 %; small products 5 % slower). Sapphire Rapids:
// 16 floats of each first copied to a buffer, or the next tile's rows fetched into L2 (no gain).
HWY_INLINE void PackTransposed(const float* from, int64_t stride, int64_t count, int64_t k,
                               int64_t width, float* HWY_RESTRICT panel) {
  const TileTag d;
  const hn::Repartition<uint64_t, TileTag> pairs;
  const int64_t groups = (width + kLanes - 1) / kLanes;
  for (int64_t group = groups - 1; group >= 0; --group) {
    const float* row[kLanes];
    for (int64_t i = 0; i < kLanes; ++i) {
      row[i] = from + std::min(group * kLanes + i, count - 1) * stride;
    }
    float* HWY_RESTRICT to = panel + group * kLanes;
    int64_t p = 0;
    for (; p + 4 <= k; p += 4, to += 4 * width) {
      const TileVec r0 = LoadQuads(row, 0, p);
      const TileVec r1 = LoadQuads(row, 1, p);
      const TileVec r2 = LoadQuads(row, 2, p);
      const TileVec r3 = LoadQuads(row, 3, p);
      const auto lo01 = hn::BitCast(pairs, hn::InterleaveLower(d, r0, r1));
      const auto lo23 = hn::BitCast(pairs, hn::InterleaveLower(d, r2, r3));
      const auto hi01 = hn::BitCast(pairs, hn::InterleaveUpper(d, r0, r1));
      const auto hi23 = hn::BitCast(pairs, hn::InterleaveUpper(d, r2, r3));
      hn::StoreU(hn::BitCast(d, hn::InterleaveLower(pairs, lo01, lo23)), d, to);
      hn::StoreU(hn::BitCast(d, hn::InterleaveUpper(pairs, lo01, lo23)), d, to + width);
      hn::StoreU(hn::BitCast(d, hn::InterleaveLower(pairs, hi01, hi23)), d, to + 2 * width);
      hn::StoreU(hn::BitCast(d, hn::InterleaveUpper(pairs, hi01, hi23)), d, to + 3 * width);
    }
    const int64_t members = std::min<int64_t>(kLanes, width - group * kLanes);
    for (; p < k; ++p, to += width) {
      for (int64_t i = 0; i < members; ++i) to[i] = row[i][p];
    }
  }
}

#endif  // HWY_TARGET == HWY_SCALAR

// Vectors side by side: v[i][p] = from[p * stride + i].
HWY_INLINE void PackCopied(const float* HWY_RESTRICT from, int64_t stride, int64_t count, int64_t k,
                           int64_t width, float* HWY_RESTRICT panel) {
  const TileTag d;
  if (count == kPanel && width == kPanel) {
    for (int64_t p = 0; p < k; ++p, from += stride, panel += kPanel) {
      LOCKSTEP_GEMM_UNROLL
      for (int i = 0; i < kPanel; i += kLanes) {
        hn::StoreU(hn::LoadU(d, from + i), d, panel + i);
      }
    }
    return;
  }
  for (int64_t p = 0; p < k; ++p, from += stride, panel += width) {
    for (int64_t i = count; i < width; ++i) panel[i] = 0.0f;
    CopyFew(from, count, panel);
  }
}

// The panels of several neighbouring tiles of A at once, where the rows of A are side by side: a
// row of tiles shares its cache lines, and where k steps from page to page, or by a power of two
// that makes lines collide, it pays to meet each only once. Tile t begins at row first_row[t] of A
// and its panel at panels + first_row[t] * k; first_row has one entry more than there are tiles.
// `readable`: rows of A that exist from first_row[0] on.
inline constexpr int kPackedAtOnce = 8;
HWY_INLINE void PackNeighbours(const float* from, int64_t stride, const int64_t* first_row,
                               int tiles, int64_t readable, int64_t k, float* panels) {
  const TileTag d;
  if (k == 0) return;
  float* to[kPackedAtOnce];
  int64_t offset[kPackedAtOnce], rows[kPackedAtOnce];
  // Whole vectors are copied where that reads nothing beyond A; what they write too much is written
  // again in the next k, so the last k is copied exactly. From the first tile that does not fit on,
  // all go the exact way.
  int vectors = 0;
  for (int t = 0; t < tiles; ++t) {
    offset[t] = first_row[t] - first_row[0];
    to[t] = panels + offset[t] * k;
    rows[t] = first_row[t + 1] - first_row[t];
    const bool fits = rows[t] <= kLanes && kLanes <= 2 * rows[t] && offset[t] + kLanes <= readable;
    if (fits && vectors == t) vectors = t + 1;
  }
  constexpr int64_t kAhead = 16;
  for (int64_t p = 0; p + 1 < k; ++p, from += stride) {
    for (int64_t i = 0; i < kPackedAtOnce * kRows; i += 16) {
      hwy::Prefetch(from + std::min(kAhead, k - 1 - p) * stride + std::min(i, readable - 1));
    }
    for (int t = 0; t < vectors; ++t) {
      hn::StoreU(hn::LoadU(d, from + offset[t]), d, to[t] + p * rows[t]);
    }
    for (int t = vectors; t < tiles; ++t) CopyFew(from + offset[t], rows[t], to[t] + p * rows[t]);
  }
  for (int t = 0; t < tiles; ++t) CopyFew(from + offset[t], rows[t], to[t] + (k - 1) * rows[t]);
}

// Any strides: v[i][p] = from[i * stride + p * step].
HWY_INLINE void PackPanel(const float* from, int64_t stride, int64_t step, int64_t count, int64_t k,
                          int64_t width, float* HWY_RESTRICT panel) {
  if (step == 1) return PackTransposed(from, stride, count, k, width, panel);
  if (stride == 1) return PackCopied(from, step, count, k, width, panel);
  for (int64_t p = 0; p < k; ++p) {
    for (int64_t i = 0; i < width; ++i) {
      panel[p * width + i] = from[std::min(i, count - 1) * stride + p * step];
    }
  }
}

}  // namespace lockstep::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // LOCKSTEP_ENGINE_KERNELS_PRODUCT_GEMM_PACK_INL_H_
