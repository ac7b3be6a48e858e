// Forward of attention: for a panel of queries, over tiles of keys,
//
//   s = K (scale Q)^T,  n_i = max(n_i, round(max_j s_ij / ln 2)),  f_i = 2^(n_i before - n_i)
//   p_ij = exp(s_ij) 2^-n_i,  l_i = f_i l_i + sum_j p_ij,  o_i = f_i o_i + sum_j m_ij p_ij v_j
//   y_i = o_i / l_i,  L_i = ln l_i + n_i ln 2
//
// ("Online normalizer calculation for softmax", Milakov and Gimelshein, 2018, with powers of two.)
#include "engine/kernels/attention/attention.h"
#include "engine/kernels/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "engine/kernels/attention/forward.cc"
#include <hwy/foreach_target.h>
//
#include <hwy/highway.h>

#include <algorithm>
#include <cstdint>

#include "engine/kernels/attention/attention-inl.h"

HWY_BEFORE_NAMESPACE();
namespace lockstep::inline v0_1::kernels::HWY_NAMESPACE {
namespace {

// A largest score beyond this one, and what is not finite, makes its row NaN: exp would lose it.
constexpr float kLargestScore = 1048576.0f;
// Below every exponent of a score that counts.
constexpr float kNoExponent = -2097152.0f;

// So many queries, as when a text is written token by token, leave most lanes of a panel idle: keys
// and the columns of v take the lanes then. Every element is the same chain.
constexpr int64_t kFewQueries = 8;

struct ForwardScratch {
  ForwardScratch(int64_t head_size, float* at) : padded(RoundUp(head_size, kNarrowPanel)) {
    Carver carver(at);
    q = carver.Take(head_size * kQueryPanel + kLanes);
    k = carver.Take(kKeyTile * padded + kLanes);
    v = carver.Take(kKeyTile * padded);
    p = carver.Take(kKeyTile * kPanel);
    keep = carver.Take(kKeyTile * kPanel);
    o = carver.Take(head_size * kQueryPanel);
    rows = carver.Take(head_size * kPanel + kLanes);
    exponent = carver.Take(kQueryPanel);
    sum = carver.Take(kQueryPanel);
    factor = carver.Take(kPanel);
    few_q = carver.Take(kFewQueries * head_size);
    few_s = carver.Take(kFewQueries * kKeyTile);
    few_o = carver.Take(kFewQueries * padded);
    size = carver.used();
  }
  // That of the panel of queries from `lane` on.
  ForwardScratch From(int64_t head_size, int64_t lane) const {
    ForwardScratch panel = *this;
    panel.q += lane * head_size;
    panel.o += lane * head_size;
    panel.exponent += lane;
    panel.sum += lane;
    return panel;
  }
  int64_t padded;         // head_size, to whole vectors
  float* q;               // panels (head_size, kPanel): scale Q
  float *k, *v;           // (kKeyTile, padded)
  float *p, *keep;        // (kKeyTile, kPanel)
  float* o;               // panels (head_size, kPanel)
  float* rows;            // one of them by queries
  float *exponent, *sum;  // (kQueryPanel) n, l
  float* factor;          // (kPanel) f
  // Of few queries, by queries: (kFewQueries, head_size) scale q, (.., kKeyTile) s, (.., padded) o.
  float *few_q, *few_s, *few_o;
  int64_t size;
};

// 2^n for floats n <= 0 that are integers; 0 where it would be denormal.
HWY_INLINE TileVec PowerOf(TileVec n) {
  const TileTag d;
  const hn::RebindToSigned<TileTag> di;
  const auto low = hn::Set(d, -126.0f);
  const auto power = PowerOfTwo(d, hn::ShiftLeft<23>(hn::ConvertTo(di, hn::Max(n, low))));
  return hn::IfThenZeroElse(hn::Lt(n, low), power);
}

// kLanes queries, from `lane` on, of a tile: scores in the first `rows` of s.p become weights.
template <bool kDropout>
HWY_INLINE void Weigh(const AttentionTile& tile, int64_t rows, int64_t lane,
                      const ForwardScratch& s) {
  const TileTag d;
  const hn::RebindToSigned<TileTag> di;
  const int64_t whole = tile.WholeRows(lane), seen = tile.SeenRows(lane, kLanes);
  float* HWY_RESTRICT p = s.p + lane;
  const auto lowest = hn::BitCast(d, hn::Set(di, static_cast<int32_t>(0xFF800000)));
  TileVec most[4] = {lowest, lowest, lowest, lowest};
  int64_t r = 0;
  for (; r + 4 <= whole; r += 4) {
    for (int j = 0; j < 4; ++j) {
      most[j] = hn::Max(most[j], hn::LoadU(d, p + (r + j) * kPanel));
    }
  }
  for (; r < whole; ++r) most[0] = hn::Max(most[0], hn::LoadU(d, p + r * kPanel));
  for (; r < seen; ++r) {
    const auto score = hn::LoadU(d, p + r * kPanel);
    most[0] = hn::Max(most[0], hn::IfThenElse(SeesRow(tile, r, lane), score, lowest));
  }
  const auto max = hn::Max(hn::Max(most[0], most[1]), hn::Max(most[2], most[3]));

  const auto large = hn::Set(d, kLargestScore);
  const auto magic = hn::Set(d, 12582912.0f);  // as in SplitExp
  const auto before = hn::LoadU(d, s.exponent + lane);
  const auto clamped = hn::Min(hn::Max(max, hn::Neg(large)), large);
  const auto of_max = hn::Sub(hn::MulAdd(clamped, hn::Set(d, 1.44269504f), magic), magic);
  const auto n = hn::Max(before, hn::IfThenElse(hn::Gt(max, lowest), of_max, before));
  const auto lost =
      hn::Or(hn::Gt(max, large), hn::And(hn::Lt(max, hn::Neg(large)), hn::Gt(max, lowest)));
  const auto nan = hn::BitCast(d, hn::Set(di, 0x7FC00000));
  const auto factor = hn::IfThenElse(lost, nan, PowerOf(hn::Sub(before, n)));
  hn::StoreU(n, d, s.exponent + lane);
  hn::StoreU(factor, d, s.factor + lane);

  // Weights below 2^-126 are 0. What SplitExp makes of scores far below is not looked at.
  const auto low = hn::Mul(hn::Sub(n, hn::Set(d, 125.0f)), hn::Set(d, 0.693147181f));
  const auto minus_n = hn::Neg(hn::ShiftLeft<23>(hn::BitCast(di, hn::Add(n, magic))));
  const auto weight_of = [&](TileVec score) HWY_ATTR {
    const auto parts = SplitExp(d, score);
    const auto power = PowerOfTwo(d, hn::Add(parts.exponent, minus_n));
    const auto weight = hn::MulAdd(parts.expm1_r, power, power);
    return hn::IfThenZeroElse(hn::Lt(score, low), weight);
  };
  auto sum = hn::Zero(d);
  const auto finish = [&](TileVec weight, float* HWY_RESTRICT at) HWY_ATTR {
    sum = hn::Add(sum, weight);
    if constexpr (kDropout) weight = hn::Mul(weight, hn::LoadU(d, s.keep + (at - s.p)));
    hn::StoreU(weight, d, at);
  };
  for (r = 0; r < whole; ++r) {
    float* at = p + r * kPanel;
    finish(weight_of(hn::LoadU(d, at)), at);
  }
  for (; r < seen; ++r) {
    float* at = p + r * kPanel;
    finish(hn::IfThenElseZero(SeesRow(tile, r, lane), weight_of(hn::LoadU(d, at))), at);
  }
  for (; r < rows; ++r) hn::StoreU(hn::Zero(d), d, p + r * kPanel);
  hn::StoreU(hn::MulAdd(hn::LoadU(d, s.sum + lane), factor, sum), d, s.sum + lane);
}

// y and L of a panel.
HWY_INLINE void StorePanel(const AttentionHead& head, int64_t query, int64_t lanes,
                           const ForwardScratch& s) {
  const TileTag d;
  const int64_t size = head.head_size, worked = WorkedLanes(lanes);
  const auto one = hn::Set(d, 1.0f), zero = hn::Zero(d);
  HWY_ALIGN float log_sum[kPanel];
  for (int64_t lane = 0; lane < worked; lane += kLanes) {
    const hn::RebindToSigned<TileTag> di;
    const auto sum = hn::LoadU(d, s.sum + lane);
    const auto none = hn::Eq(sum, zero);
    const auto inverse = hn::IfThenZeroElse(none, hn::Div(one, sum));
    for (int64_t c = 0; c < size; ++c) {
      float* at = s.o + c * kPanel + lane;
      hn::StoreU(hn::IfThenZeroElse(none, hn::Mul(hn::LoadU(d, at), inverse)), d, at);
    }
    // From the exponent of all, so that the bits do not depend on what n happened to be.
    const auto e = NearestExponent(d, sum);
    const auto m = hn::BitCast(d, hn::Sub(hn::BitCast(di, sum), hn::ShiftLeft<23>(e)));
    auto log = LogOfParts(d, hn::Sub(m, one),
                          hn::Add(hn::ConvertTo(d, e), hn::LoadU(d, s.exponent + lane)));
    log = hn::IfThenElse(hn::Lt(sum, hn::BitCast(d, hn::Set(di, 0x7F800000))), log,
                         hn::Sub(sum, sum));  // NaN
    const auto lowest = hn::BitCast(d, hn::Set(di, static_cast<int32_t>(0xFF800000)));
    hn::Store(hn::IfThenElse(none, lowest, log), d, log_sum + lane);
  }
  PackTransposed(s.o, kPanel, size, lanes, size, s.rows);
  for (int64_t l = 0; l < lanes; ++l) {
    std::copy_n(s.rows + l * size, size, head.y + (query + l) * head.y_stride);
  }
  if (head.log_sum != nullptr) std::copy_n(log_sum, lanes, head.log_sum + query);
}

HWY_INLINE void StoreNothing(const AttentionHead& head, int64_t begin, int64_t end) {
  for (int64_t i = begin; i < end; ++i) {
    std::fill_n(head.y + i * head.y_stride, head.head_size, 0.0f);
    if (head.log_sum != nullptr) head.log_sum[i] = -HUGE_VALF;
  }
}

void WeighTile(const AttentionHead& head, const MaskDraws& draws, const AttentionTile& tile,
               int64_t rows, const ForwardScratch& s) {
  const int64_t worked = WorkedLanes(tile.lanes);
  if (head.drop_below != 0) {
    FillKeep(head, draws, tile, rows, worked, kPanel, s.keep);
    for (int64_t lane = 0; lane < worked; lane += kLanes) Weigh<true>(tile, rows, lane, s);
  } else {
    for (int64_t lane = 0; lane < worked; lane += kLanes) Weigh<false>(tile, rows, lane, s);
  }
}

// A panel of up to kPanel queries and a tile of keys.
void ForwardTile(const AttentionHead& head, const MaskDraws& draws, const AttentionTile& tile,
                 const RowsOf& k, const RowsOf& v, Ahead& ahead, const ForwardScratch& s) {
  const int64_t size = head.head_size, worked = WorkedLanes(tile.lanes);
  const int64_t rows = tile.SeenRows(0, tile.lanes), whole = tile.WholeRows(0);
  if (rows == 0) return;
  Multiply<RowsOfA::kApart>({.a = k.rows,
                             .a_row = k.stride,
                             .b = s.q,
                             .b_step = kPanel,
                             .depth = size,
                             .c = s.p,
                             .c_stride = kPanel,
                             .ahead = &ahead},
                            rows, worked);
  WeighTile(head, draws, tile, rows, s);
  const TileProduct product = {.a = v.rows,
                               .a_step = v.stride,
                               .b = s.p,
                               .b_step = kPanel,
                               .depth = rows,
                               .c = s.o,
                               .c_stride = kPanel,
                               .factor = s.factor,
                               .ahead = &ahead};
  if (AllFinite(v.rows + whole * v.stride, v.stride, rows - whole, size)) {
    Multiply<RowsOfA::kAdjacent>(product, size, worked);
  } else {
    MultiplySeen(product, size, worked, tile.reach);
  }
}

// The same for up to kFewQueries, whose sums gather in few_o.
void FewTile(const AttentionHead& head, const MaskDraws& draws, const AttentionTile& tile,
             const RowsOf& k, const RowsOf& v, const ForwardScratch& s) {
  const TileTag d;
  const int64_t size = head.head_size, rows = tile.SeenRows(0, tile.lanes);
  if (rows == 0) return;
  PackLanes(k.rows, k.stride, rows, size, 1.0f, s.k);
  for (int64_t r = 0; r < rows; r += kPanel) {
    Multiply<RowsOfA::kApart>({.a = s.few_q,
                               .a_row = size,
                               .b = s.k + r * size,
                               .b_step = kPanel,
                               .depth = size,
                               .c = s.few_s + r,
                               .c_stride = kKeyTile},
                              tile.lanes, kPanel);
  }
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t l = 0; l < WorkedLanes(tile.lanes); l += kLanes) {
      hn::StoreU(hn::Set(d, s.few_s[r]), d, s.p + r * kPanel + l);
    }
    for (int64_t l = 1; l < tile.lanes; ++l) s.p[r * kPanel + l] = s.few_s[l * kKeyTile + r];
  }
  WeighTile(head, draws, tile, rows, s);
  const RowsOf columns =
      s.padded == size ? v : PackRows(v.rows, v.stride, rows, size, s.padded, s.v);
  for (int64_t l = 0; l < tile.lanes; ++l) {
    float* o = s.few_o + l * s.padded;
    for (int64_t c = 0; c < s.padded; c += kLanes) {  // exact: a power of two
      hn::StoreU(hn::Mul(hn::LoadU(d, o + c), hn::Set(d, s.factor[l])), d, o + c);
    }
  }
  const auto add = [&](int64_t first, int64_t count, int64_t depth) {
    Multiply<RowsOfA::kAdjacent>({.a = s.p + first,
                                  .a_step = kPanel,
                                  .b = columns.rows,
                                  .b_step = columns.stride,
                                  .depth = depth,
                                  .c = s.few_o + first * s.padded,
                                  .c_stride = s.padded,
                                  .accumulate = true},
                                 count, s.padded);
  };
  if (tile.WholeRows(0) == rows) return add(0, tile.lanes, rows);
  for (int64_t l = 0; l < tile.lanes; ++l) add(l, 1, tile.SeenRows(l, 1));
}

// Up to kQueryPanel queries of one text.
void ForwardPanels(const AttentionHead& head, const MaskDraws& draws, int64_t query, int64_t lanes,
                   int32_t text, const ForwardScratch& s) {
  const int64_t size = head.head_size, stride = head.kv_stride;
  std::fill_n(s.exponent, kQueryPanel, kNoExponent);
  std::fill_n(s.sum, kQueryPanel, 0.0f);
  std::fill_n(s.o, size * RoundUp(lanes, kPanel), 0.0f);
  const float* q = head.q + query * head.q_stride;
  if (lanes <= kFewQueries) {
    std::fill_n(s.few_o, kFewQueries * s.padded, 0.0f);
    for (int64_t l = 0; l < lanes; ++l) {
      for (int64_t c = 0; c < size; ++c) {
        s.few_q[l * size + c] = q[l * head.q_stride + c] * head.scale;
      }
    }
  } else {
    PackLanes(q, head.q_stride, lanes, size, head.scale, s.q);
  }
  const int64_t end = head.causal
                          ? std::clamp<int64_t>(query + lanes + head.causal_offset, 0, head.keys)
                          : head.keys;
  // Where the results go, and what the next head of these rows needs: it is likely to come next.
  Ahead ahead;
  ahead.later.Add(head.y + query * head.y_stride, head.y_stride, lanes, size);
  ahead.later.Add(head.q + query * head.q_stride + size, head.q_stride, lanes, size);
  if (query < head.keys) {
    const int64_t at = query * stride + size, rows = std::min(lanes, head.keys - query);
    ahead.later.Add(head.k + at, stride, rows, size);
    ahead.later.Add(head.v + at, stride, rows, size);
  }
  for (TextPieces keys(head.k_segments, 0, end, kKeyTile); keys.Next();) {
    if (keys.text() != text) continue;
    const int64_t next = keys.begin() + keys.size(), next_rows = std::min(kKeyTile, end - next);
    ahead.soon.Clear();
    ahead.soon.Add(head.k + next * stride, stride, next_rows, size);
    ahead.soon.Add(head.v + next * stride, stride, next_rows, size);
    RowsOf k = {head.k + keys.begin() * stride, stride};
    RowsOf v = {head.v + keys.begin() * stride, stride};
    if (lanes <= kFewQueries) {
      FewTile(head, draws, TileOf(head, query, lanes, keys.begin(), keys.size()), k, v, s);
      continue;
    }
    if (lanes > kPanel) {  // they will be read more than once
      k = PackRows(k.rows, stride, keys.size(), size, s.padded, s.k);
      v = PackRows(v.rows, stride, keys.size(), size, s.padded, s.v);
    }
    for (int64_t lane = 0; lane < lanes; lane += kPanel) {
      const AttentionTile tile = TileOf(head, query + lane, std::min<int64_t>(kPanel, lanes - lane),
                                        keys.begin(), keys.size());
      ForwardTile(head, draws, tile, k, v, ahead, s.From(size, lane));
    }
  }
  for (int64_t l = 0; lanes <= kFewQueries && l < lanes; ++l) {
    for (int64_t c = 0; c < size; ++c) s.o[c * kPanel + l] = s.few_o[l * s.padded + c];
  }
  for (int64_t lane = 0; lane < lanes; lane += kPanel) {
    StorePanel(head, query + lane, std::min<int64_t>(kPanel, lanes - lane), s.From(size, lane));
  }
}

void ForwardOf(const AttentionHead& head, int64_t begin, int64_t end, float* scratch) {
  const ForwardScratch s(head.head_size, scratch);
  const MaskDraws draws(head);
  int64_t done = begin;
  for (TextPieces queries(head.q_segments, begin, end, kQueryPanel); queries.Next();) {
    StoreNothing(head, done, queries.begin());
    done = queries.begin() + queries.size();
    ForwardPanels(head, draws, queries.begin(), queries.size(), queries.text(), s);
  }
  StoreNothing(head, done, end);
}

int64_t ForwardScratchOf(int64_t head_size) { return ForwardScratch(head_size, nullptr).size; }

}  // namespace
// NOLINTNEXTLINE(google-readability-namespace-comments)
}  // namespace lockstep::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace lockstep::inline v0_1::kernels {
namespace {
HWY_EXPORT(ForwardOf);
HWY_EXPORT(ForwardScratchOf);
}  // namespace

int64_t AttentionForwardScratch(int64_t head_size) {
  return HWY_DYNAMIC_DISPATCH(ForwardScratchOf)(head_size);
}

void AttentionForward(const AttentionHead& head, int64_t begin, int64_t end, float* scratch) {
  HWY_DYNAMIC_DISPATCH(ForwardOf)(head, begin, end, scratch);
}

}  // namespace lockstep::kernels
#endif  // HWY_ONCE
