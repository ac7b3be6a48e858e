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
namespace lockstep::kernels::HWY_NAMESPACE {
namespace {

// A largest score beyond this one, and what is not finite, makes its row NaN: exp would lose it.
constexpr float kLargestScore = 1048576.0f;
// Below every exponent of a score that counts.
constexpr float kNoExponent = -2097152.0f;

struct ForwardScratch {
  ForwardScratch(int64_t head_size, float* at) {
    Carver carver(at);
    q = carver.Take(head_size * kPanel + kLanes);
    p = carver.Take(kKeyTile * kPanel);
    keep = carver.Take(kKeyTile * kPanel);
    o = carver.Take(head_size * kPanel);
    rows = carver.Take(head_size * kPanel + kLanes);
    exponent = carver.Take(kPanel);
    sum = carver.Take(kPanel);
    factor = carver.Take(kPanel);
    size = carver.used();
  }
  float* q;         // (head_size, kPanel)
  float* p;         // (kKeyTile, kPanel)
  float* keep;      // likewise
  float* o;         // (head_size, kPanel)
  float* rows;      // o by queries
  float* exponent;  // (kPanel) n, and so on
  float* sum;
  float* factor;
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

// kLanes queries, from `lane` on, of a tile: scores in s.p become weights.
template <bool kDropout>
HWY_INLINE void Weigh(const AttentionTile& tile, int64_t rows, int64_t lane,
                      const ForwardScratch& s) {
  const TileTag d;
  const hn::RebindToSigned<TileTag> di;
  const int64_t whole = tile.WholeRows(lane);
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
  for (; r < rows; ++r) {
    const auto seen = hn::IfThenElse(SeesRow(tile, r, lane), hn::LoadU(d, p + r * kPanel), lowest);
    most[0] = hn::Max(most[0], seen);
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
  for (; r < rows; ++r) {
    float* at = p + r * kPanel;
    finish(hn::IfThenElseZero(SeesRow(tile, r, lane), weight_of(hn::LoadU(d, at))), at);
  }
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

void ForwardPanel(const AttentionHead& head, int64_t query, int64_t lanes, int32_t text,
                  uint64_t mask_stream, const PhiloxKeys& mask_keys, const ForwardScratch& s) {
  const int64_t size = head.head_size, worked = WorkedLanes(lanes);
  std::fill_n(s.exponent, kPanel, kNoExponent);
  std::fill_n(s.sum, kPanel, 0.0f);
  std::fill_n(s.o, size * kPanel, 0.0f);
  PackLanes(head.q + query * head.q_stride, head.q_stride, lanes, size, kPanel, head.scale, s.q);
  const int64_t end = head.causal
                          ? std::clamp<int64_t>(query + lanes + head.causal_offset, 0, head.keys)
                          : head.keys;
  for (TextPieces keys(head.k_segments, 0, end, kKeyTile); keys.Next();) {
    if (keys.text() != text) continue;
    const AttentionTile tile = TileOf(head, query, lanes, keys.begin(), keys.size());
    const int64_t rows = tile.SeenRows(0, lanes), whole = tile.WholeRows(0);
    if (rows == 0) continue;
    const float* k = head.k + tile.key * head.kv_stride;
    const float* v = head.v + tile.key * head.kv_stride;
    Multiply<RowsOfA::kApart>({.a = k,
                               .a_row = head.kv_stride,
                               .b = s.q,
                               .b_step = kPanel,
                               .depth = size,
                               .c = s.p,
                               .c_stride = kPanel},
                              rows, worked);
    if (head.drop_below != 0) {
      FillKeep(head, mask_stream, mask_keys, tile, rows, worked, kPanel, s.keep);
      for (int64_t lane = 0; lane < worked; lane += kLanes) Weigh<true>(tile, rows, lane, s);
    } else {
      for (int64_t lane = 0; lane < worked; lane += kLanes) Weigh<false>(tile, rows, lane, s);
    }
    const TileProduct product = {.a = v,
                                 .a_step = head.kv_stride,
                                 .b = s.p,
                                 .b_step = kPanel,
                                 .depth = rows,
                                 .c = s.o,
                                 .c_stride = kPanel,
                                 .factor = s.factor};
    if (AllFinite(v + whole * head.kv_stride, head.kv_stride, rows - whole, size)) {
      Multiply<RowsOfA::kAdjacent>(product, size, worked);
    } else {
      MultiplySeen(product, size, worked, tile.reach);
    }
  }
  StorePanel(head, query, lanes, s);
}

void ForwardOf(const AttentionHead& head, int64_t begin, int64_t end, float* scratch) {
  const ForwardScratch s(head.head_size, scratch);
  const PhiloxKeys mask_keys(head.seed);
  const uint64_t mask_stream =
      head.drop_below == 0
          ? 0
          : AttentionMaskStream(head.seed, head.stream, head.step, head.sample, head.head);
  int64_t done = begin;
  for (TextPieces queries(head.q_segments, begin, end, kPanel); queries.Next();) {
    StoreNothing(head, done, queries.begin());
    done = queries.begin() + queries.size();
    ForwardPanel(head, queries.begin(), queries.size(), queries.text(), mask_stream, mask_keys, s);
  }
  StoreNothing(head, done, end);
}

int64_t ForwardScratchOf(int64_t head_size) { return ForwardScratch(head_size, nullptr).size; }

}  // namespace
// NOLINTNEXTLINE(google-readability-namespace-comments)
}  // namespace lockstep::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace lockstep::kernels {
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
