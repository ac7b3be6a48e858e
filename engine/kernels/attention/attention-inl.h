// What forward and backward of attention share. Included once per SIMD target.
#if defined(LOCKSTEP_ENGINE_KERNELS_ATTENTION_ATTENTION_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LOCKSTEP_ENGINE_KERNELS_ATTENTION_ATTENTION_INL_H_
#undef LOCKSTEP_ENGINE_KERNELS_ATTENTION_ATTENTION_INL_H_
#else
#define LOCKSTEP_ENGINE_KERNELS_ATTENTION_ATTENTION_INL_H_
#endif

#include <algorithm>
#include <cstdint>

#include "engine/base/integers.h"
#include "engine/kernels/attention/attention.h"
#include "engine/kernels/attention/attention_mask.h"
#include "engine/kernels/attention/attention_tiles.h"
#include "engine/kernels/attention/tile_product-inl.h"
#include "engine/kernels/elementwise/math-inl.h"
#include "engine/kernels/elementwise/philox-inl.h"
#include "engine/kernels/product/gemm_pack-inl.h"

HWY_BEFORE_NAMESPACE();
namespace lockstep::inline v0_1::kernels::HWY_NAMESPACE {

// Arrays one behind the other in scratch, each at a cache line.
class Carver {
 public:
  explicit Carver(float* at) : at_(at) {}
  float* Take(int64_t floats) {
    float* taken = at_ == nullptr ? nullptr : at_ + used_;
    used_ += RoundUp(floats, 16);
    return taken;
  }
  int64_t used() const { return used_; }

 private:
  float* at_;
  int64_t used_ = 0;
};

// The lanes that products work on for `lanes` queries.
constexpr int64_t WorkedLanes(int64_t lanes) { return RoundUp(lanes, kNarrowPanel); }

// Rows of x, times `scale`, as columns: panels (head_size, kPanel) one behind the other. Lanes
// beyond `lanes` repeat the last.
HWY_INLINE void PackLanes(const float* x, int64_t stride, int64_t lanes, int64_t head_size,
                          float scale, float* HWY_RESTRICT panels) {
  const TileTag d;
  const auto factor = hn::Set(d, scale);
  for (int64_t lane = 0; lane < lanes; lane += kPanel, panels += head_size * kPanel) {
    PackTransposed(x + lane * stride, stride, std::min<int64_t>(kPanel, lanes - lane), head_size,
                   kPanel, panels);
    if (scale == 1.0f) continue;
    for (int64_t i = 0; i < head_size * kPanel; i += kLanes) {
      hn::StoreU(hn::Mul(hn::LoadU(d, panels + i), factor), d, panels + i);
    }
  }
}

// Rows, and how far apart they are.
struct RowsOf {
  const float* rows;
  int64_t stride;
};

// Rows of x side by side, each padded to whole vectors with zeros. (Heads lie side by side in a row
// of a batch: a head's own rows are often a large power of two apart, or nearly, and want the same
// lines of the L1 cache. Read in place they cost a third of the time.)
HWY_INLINE RowsOf PackRows(const float* x, int64_t stride, int64_t rows, int64_t head_size,
                           int64_t padded, float* HWY_RESTRICT to) {
  const TileTag d;
  if (stride == head_size && padded == head_size) return {x, stride};
  const int64_t whole = head_size / kLanes * kLanes;
  for (int64_t r = 0; r < rows; ++r, x += stride, to += padded) {
    for (int64_t c = 0; c < whole; c += kLanes) hn::StoreU(hn::LoadU(d, x + c), d, to + c);
    for (int64_t c = whole; c < padded; ++c) to[c] = c < head_size ? x[c] : 0.0f;
  }
  return {to - rows * padded, padded};
}

// The tile of this panel's queries from `query` on and these keys.
HWY_INLINE AttentionTile TileOf(const AttentionHead& head, int64_t query, int64_t lanes,
                                int64_t key, int64_t rows) {
  return {query, lanes, key, rows, head.causal ? query + head.causal_offset - key : rows};
}

// The lanes from `lane` on that see row r.
HWY_INLINE hn::Mask<TileTag> SeesRow(const AttentionTile& tile, int64_t r, int64_t lane) {
  const TileTag d;
  const hn::RebindToSigned<TileTag> di;
  const auto first = hn::Set(di, static_cast<int32_t>(tile.FirstLane(r) - lane));
  return hn::RebindMask(d, hn::Gt(hn::Iota(di, 1), first));
}

// What a head draws its mask from.
struct MaskDraws {
  explicit MaskDraws(const AttentionHead& head)
      : stream(head.drop_below == 0 ? 0
                                    : AttentionMaskStream(head.seed, head.stream, head.step,
                                                          head.sample, head.head)),
        keys(head.seed) {}
  uint64_t stream;
  PhiloxKeys keys;
};

// keep (rows, width): 0 or keep_scale, for `worked` lanes of the tile.
HWY_INLINE void FillKeep(const AttentionHead& head, const MaskDraws& draws,
                         const AttentionTile& tile, int64_t rows, int64_t worked, int64_t width,
                         float* HWY_RESTRICT keep) {
#if HWY_TARGET == HWY_SCALAR
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t l = 0; l < worked; ++l) {
      const bool drops =
          AttentionDrops(head.seed, draws.stream, head.drop_below, tile.query + l, tile.key + r);
      keep[r * width + l] = drops ? 0.0f : head.keep_scale;
    }
  }
#else
  const TileTag d;
  const hn::RebindToSigned<TileTag> di;
  const hn::RebindToUnsigned<TileTag> du;
  const hn::Repartition<uint64_t, TileTag> d64;
  using V = hn::Vec<decltype(d64)>;
  constexpr int kChains = 2;
  constexpr int64_t kHalf = kLanes / kChains;
  const auto flip = hn::Set(du, 0x80000000u);
  const auto limit = hn::BitCast(di, hn::Set(du, head.drop_below ^ 0x80000000u));
  const auto scale = hn::Set(d, head.keep_scale);
  for (int64_t block = tile.key / 4; block * 4 < tile.key + rows; ++block) {
    for (int64_t l = 0; l < worked; l += kLanes) {
      V c0[kChains], c1[kChains], c2[kChains], c3[kChains];
      for (int j = 0; j < kChains; ++j) {
        c0[j] = hn::Iota(d64, static_cast<uint64_t>(tile.query + l + j * kHalf));
        c1[j] = hn::Set(d64, static_cast<uint64_t>(block));
        c2[j] = hn::Set(d64, draws.stream & 0xFFFFFFFF);
        c3[j] = hn::Set(d64, draws.stream >> 32);
      }
      PhiloxRounds<kChains>(draws.keys, c0, c1, c2, c3);
      const auto store = [&](int64_t word, const V(&c)[kChains]) HWY_ATTR {
        const int64_t r = block * 4 + word - tile.key;
        if (r < 0 || r >= rows) return;
        const auto drawn = hn::ConcatEven(du, hn::BitCast(du, c[1]), hn::BitCast(du, c[0]));
        const auto drops = hn::Lt(hn::BitCast(di, hn::Xor(drawn, flip)), limit);
        hn::StoreU(hn::IfThenZeroElse(hn::RebindMask(d, drops), scale), d, keep + r * width + l);
      };
      store(0, c0), store(1, c1), store(2, c2), store(3, c3);
    }
  }
#endif
}

}  // namespace lockstep::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // LOCKSTEP_ENGINE_KERNELS_ATTENTION_ATTENTION_INL_H_
