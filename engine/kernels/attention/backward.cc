// Backward of attention: for a panel of queries and a tile of keys,
//
//   s = K (scale Q)^T,  p_ij = exp(s_ij - L_i),  dp = V dY^T,  ds_ij = p_ij (m_ij dp_ij - D_i)
//   dV += (m p) dY,  dK += scale ds Q,  dQ += scale ds^T K
//
// Whoever works through all panels for a tile has s and dp for three results; whoever makes dQ or
// dK and dV alone makes s and dp again. Each sum has the same order either way: dQ over tiles, dK
// and dV over heads and, in each, over panels.
#include "engine/kernels/attention/attention.h"
#include "engine/kernels/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "engine/kernels/attention/backward.cc"
#include <hwy/foreach_target.h>
//
#include <hwy/highway.h>

#include <algorithm>
#include <array>
#include <cstdint>

#include "engine/kernels/attention/attention-inl.h"
#include "engine/kernels/norm/row_sum-inl.h"

HWY_BEFORE_NAMESPACE();
namespace lockstep::inline v0_1::kernels::HWY_NAMESPACE {
namespace {

struct BackwardScratch {
  BackwardScratch(int64_t head_size, float* at) : padded(RoundUp(head_size, kNarrowPanel)) {
    Carver carver(at);
    q = carver.Take(head_size * kQueryPanel + kLanes);
    dy = carver.Take(head_size * kQueryPanel + kLanes);
    q_rows = carver.Take(kQueryPanel * padded);
    dy_rows = carver.Take(kQueryPanel * padded);
    k = carver.Take(kKeyTile * padded);
    v = carver.Take(kKeyTile * padded);
    p = carver.Take(kKeyTile * kLaneStride);
    ds = carver.Take(kKeyTile * kLaneStride);
    keep = carver.Take(kKeyTile * kLaneStride);
    dq = carver.Take(head_size * kQueryPanel);
    dq_rows = carver.Take(kQueryPanel * head_size + kLanes);
    dk = carver.Take(kKeyTile * padded);
    dv = carver.Take(kKeyTile * padded);
    log_sum = carver.Take(kQueryPanel);
    dots = carver.Take(kQueryPanel);
    size = carver.used();
  }
  int64_t padded;           // head_size, to whole vectors
  float *q, *dy;            // (head_size, kQueryPanel): scale Q, dY
  float *q_rows, *dy_rows;  // (kQueryPanel, padded)
  float *k, *v;             // (kKeyTile, padded)
  float *p, *ds, *keep;     // (kKeyTile, kLaneStride)
  float *dq, *dq_rows;      // of one tile: (head_size, kQueryPanel), and by queries
  float *dk, *dv;           // of one tile: (kKeyTile, padded)
  float *log_sum, *dots;    // (kQueryPanel)
  int64_t size;
};

// The part of a panel that does not depend on the keys.
struct Panel {
  int64_t query, lanes;
  int32_t text;
  RowsOf q, dy;
};

Panel PackPanelOf(const AttentionHead& head, const AttentionHeadGradients& gradients,
                  const TextPieces& piece, bool with_rows, const BackwardScratch& s) {
  const int64_t query = piece.begin(), lanes = piece.size(), size = head.head_size;
  const float* q = head.q + query * head.q_stride;
  const float* dy = gradients.dy + query * head.y_stride;
  PackLanes(q, head.q_stride, lanes, size, head.scale, s.q);
  PackLanes(dy, head.y_stride, lanes, size, 1.0f, s.dy);
  for (int64_t l = 0; l < kQueryPanel; ++l) {
    s.log_sum[l] = head.log_sum[query + std::min(l, lanes - 1)];
    s.dots[l] = gradients.dots[query + std::min(l, lanes - 1)];
  }
  if (!with_rows) return {query, lanes, piece.text(), {}, {}};
  return {query, lanes, piece.text(), PackRows(q, head.q_stride, lanes, size, s.padded, s.q_rows),
          PackRows(dy, head.y_stride, lanes, size, s.padded, s.dy_rows)};
}

struct KeyTile {
  int64_t key, rows;
  RowsOf k, v;
};

HWY_INLINE KeyTile PackKeys(const AttentionHead& head, const TextPieces& piece,
                            const BackwardScratch& s) {
  const int64_t at = piece.begin() * head.kv_stride;
  return {piece.begin(), piece.size(),
          PackRows(head.k + at, head.kv_stride, piece.size(), head.head_size, s.padded, s.k),
          PackRows(head.v + at, head.kv_stride, piece.size(), head.head_size, s.padded, s.v)};
}

// kLanes queries, from `lane` on, of a tile: s and dp of its first `rows` become m p and ds.
template <bool kDropout>
HWY_INLINE void Weigh(const AttentionTile& tile, int64_t rows, int64_t lane,
                      const BackwardScratch& s) {
  const TileTag d;
  const int64_t whole = tile.WholeRows(lane), seen = tile.SeenRows(lane, kLanes);
  const auto log_sum = hn::LoadU(d, s.log_sum + lane), dots = hn::LoadU(d, s.dots + lane);
  const auto weigh = [&](int64_t at, TileVec& p, TileVec& ds) HWY_ATTR {
    p = ExpOfNonPositive(d, hn::Sub(hn::LoadU(d, s.p + at), log_sum));
    auto dp = hn::LoadU(d, s.ds + at);
    if constexpr (kDropout) {
      const auto keep = hn::LoadU(d, s.keep + at);
      ds = hn::Mul(p, hn::Sub(hn::Mul(keep, dp), dots));
      p = hn::Mul(p, keep);
    } else {
      ds = hn::Mul(p, hn::Sub(dp, dots));
    }
  };
  TileVec p, ds;
  int64_t r = 0;
  for (; r < whole; ++r) {
    const int64_t at = r * kLaneStride + lane;
    weigh(at, p, ds);
    hn::StoreU(p, d, s.p + at);
    hn::StoreU(ds, d, s.ds + at);
  }
  for (; r < seen; ++r) {
    const int64_t at = r * kLaneStride + lane;
    const auto sees = SeesRow(tile, r, lane);
    weigh(at, p, ds);
    hn::StoreU(hn::IfThenElseZero(sees, p), d, s.p + at);
    hn::StoreU(hn::IfThenElseZero(sees, ds), d, s.ds + at);
  }
  for (; r < rows; ++r) {
    hn::StoreU(hn::Zero(d), d, s.p + r * kLaneStride + lane);
    hn::StoreU(hn::Zero(d), d, s.ds + r * kLaneStride + lane);
  }
}

// C (rows of the tile, head_size) += W^T X, W of p or ds, X rows of Q or dY. Rows are side by side
// in lanes, and no lane before the first that sees a row adds anything to it.
HWY_INLINE void AddRows(const AttentionTile& tile, int64_t rows, const float* weights,
                        const RowsOf& x, int64_t head_size, int64_t padded, Ahead& ahead,
                        float* c) {
  const TileProduct product = {.a = weights,
                               .a_step = 1,
                               .b = x.rows,
                               .b_step = x.stride,
                               .depth = tile.lanes,
                               .c = c,
                               .c_stride = padded,
                               .accumulate = true,
                               .ahead = &ahead};
  if (tile.WholeRows(0) == rows || AllFinite(x.rows, x.stride, tile.lanes, head_size)) {
    Multiply<RowsOfA::kPanel>(product, rows, padded, [&](int64_t r) { return tile.FirstLane(r); });
    return;
  }
  for (int64_t r = 0; r < rows; ++r) {  // what is not finite must not meet a zero
    TileProduct row = product;
    row.a += r * kLaneStride;
    row.c += r * padded;
    Multiply<RowsOfA::kPanel>(row, 1, padded, [&](int64_t) { return tile.FirstLane(r); });
  }
}

// dq rows of the panel += scale (this tile's part). fresh: they hold nothing yet.
HWY_INLINE void AddToQueries(const AttentionHead& head, const AttentionHeadGradients& gradients,
                             const Panel& panel, bool fresh, const BackwardScratch& s) {
  const int64_t size = head.head_size;
  PackTransposed(s.dq, kQueryPanel, size, panel.lanes, size, s.dq_rows);
  for (int64_t l = 0; l < panel.lanes; ++l) {
    float* HWY_RESTRICT dq = gradients.dq + (panel.query + l) * head.q_stride;
    const float* HWY_RESTRICT part = s.dq_rows + l * size;
    ForEachVector(size, [&](auto d, int64_t c) HWY_ATTR {
      const auto before = fresh ? hn::Zero(d) : hn::LoadU(d, dq + c);
      const auto sum = hn::MulAdd(hn::Set(d, head.scale), hn::LoadU(d, part + c), before);
      hn::StoreU(sum, d, dq + c);
    });
  }
}

// What is made of a tile.
struct Wanted {
  bool keys;      // dk and dv
  bool queries;   // dq
  bool fresh_dq;  // which holds nothing yet
};

void BackwardTile(const AttentionHead& head, const AttentionHeadGradients& gradients,
                  const MaskDraws& draws, const Panel& panel, const KeyTile& keys,
                  const Wanted& wanted, Ahead& ahead, const BackwardScratch& s) {
  const AttentionTile tile = TileOf(head, panel.query, panel.lanes, keys.key, keys.rows);
  const int64_t size = head.head_size, worked = WorkedLanes(panel.lanes);
  const int64_t rows = tile.SeenRows(0, tile.lanes);
  const RowsOf &k = keys.k, &v = keys.v;
  if (head.drop_below != 0) {
    FillKeep(head, draws, tile, rows, worked, kLaneStride, s.keep);
  }
  for (int64_t lane = 0; lane < worked; lane += kPanel) {
    const int64_t lanes = std::min<int64_t>(kPanel, worked - lane);
    const int64_t seen = tile.SeenRows(lane, lanes);
    if (seen > 0) {
      TileProduct product = {.a = k.rows,
                             .a_row = k.stride,
                             .b = s.q + lane * size,
                             .b_step = kPanel,
                             .depth = size,
                             .c = s.p + lane,
                             .c_stride = kLaneStride,
                             .ahead = &ahead};
      Multiply<RowsOfA::kApart>(product, seen, lanes);
      product.a = v.rows;
      product.a_row = v.stride;
      product.b = s.dy + lane * size;
      product.c = s.ds + lane;
      Multiply<RowsOfA::kApart>(product, seen, lanes);
      for (int64_t l = lane; l < lane + lanes; l += kLanes) {
        head.drop_below != 0 ? Weigh<true>(tile, seen, l, s) : Weigh<false>(tile, seen, l, s);
      }
    }
    // Rows that only later lanes see, in the tiles of registers that reach across.
    for (int64_t r = seen; r < std::min<int64_t>(rows, seen + kRows); ++r) {
      std::fill_n(s.p + r * kLaneStride + lane, lanes, 0.0f);
      std::fill_n(s.ds + r * kLaneStride + lane, lanes, 0.0f);
    }
    if (!wanted.queries) continue;
    const TileProduct product = {.a = k.rows,
                                 .a_step = k.stride,
                                 .b = s.ds + lane,
                                 .b_step = kLaneStride,
                                 .depth = seen,
                                 .c = s.dq + lane,
                                 .c_stride = kQueryPanel,
                                 .ahead = &ahead};
    const int64_t whole = std::min(seen, tile.WholeRows(lane));
    if (AllFinite(k.rows + whole * k.stride, k.stride, seen - whole, size)) {
      Multiply<RowsOfA::kAdjacent>(product, size, lanes);
    } else {
      MultiplySeen(product, size, lanes, tile.reach + lane);
    }
  }
  if (wanted.queries) AddToQueries(head, gradients, panel, wanted.fresh_dq, s);
  if (wanted.keys) {
    AddRows(tile, rows, s.p, panel.dy, size, s.padded, ahead, s.dv);
    AddRows(tile, rows, s.ds, panel.q, size, s.padded, ahead, s.dk);
  }
}

// D of up to kVirtualLanes rows: sums of virtual lanes as in SumRow, folded for all rows at once.
// (One row at a time took a twelfth of forward and backward of short rows.)
HWY_INLINE void DotsOfRows(const float* dy, const float* y, int64_t stride, int64_t rows,
                           int64_t size, float* HWY_RESTRICT dots) {
  const hn::CappedTag<float, kVirtualLanes> d;
  constexpr auto kStep = static_cast<int64_t>(hn::MaxLanes(decltype(d)()));
  HWY_ALIGN float lanes[kVirtualLanes * kVirtualLanes];
  HWY_ALIGN float turned[(kVirtualLanes + 1) * kVirtualLanes];
  const int64_t whole = size / kVirtualLanes * kVirtualLanes;
  for (int64_t r = 0; r < rows; ++r, dy += stride, y += stride) {
    float* HWY_RESTRICT row = lanes + r * kVirtualLanes;
    for (int64_t j = 0; j < kVirtualLanes; j += kStep) {
      auto sum = hn::Zero(d);
      for (int64_t c = j; c < whole; c += kVirtualLanes) {
        sum = hn::MulAdd(hn::LoadU(d, dy + c), hn::LoadU(d, y + c), sum);
      }
      hn::Store(sum, d, row + j);
    }
    const hn::CappedTag<float, 1> d1;
    for (int64_t c = whole; c < size; ++c) {
      float* lane = row + (c - whole);
      hn::StoreU(hn::MulAdd(hn::LoadU(d1, dy + c), hn::LoadU(d1, y + c), hn::LoadU(d1, lane)), d1,
                 lane);
    }
  }
  PackTransposed(lanes, kVirtualLanes, rows, kVirtualLanes, kVirtualLanes, turned);
  for (int64_t half = kVirtualLanes / 2; half > 0; half /= 2) {
    for (int64_t j = 0; j < half * kVirtualLanes; j += kStep) {
      const auto sum =
          hn::Add(hn::Load(d, turned + j), hn::Load(d, turned + half * kVirtualLanes + j));
      hn::Store(sum, d, turned + j);
    }
  }
  std::copy_n(turned, rows, dots);
}

void DotsOf(const AttentionHead& head, const AttentionHeadGradients& gradients, int64_t begin,
            int64_t end) {
  for (int64_t i = begin; i < end; i += kVirtualLanes) {
    DotsOfRows(gradients.dy + i * head.y_stride, head.y + i * head.y_stride, head.y_stride,
               std::min<int64_t>(kVirtualLanes, end - i), head.head_size, gradients.dots + i);
  }
}

HWY_INLINE void ClearRows(float* x, int64_t stride, int64_t begin, int64_t end, int64_t size) {
  for (int64_t i = begin; i < end; ++i) std::fill_n(x + i * stride, size, 0.0f);
}

void BackwardQueriesOf(const AttentionHead& head, const AttentionHeadGradients& gradients,
                       int64_t begin, int64_t end, float* scratch) {
  const BackwardScratch s(head.head_size, scratch);
  const MaskDraws draws(head);
  Ahead ahead;
  ClearRows(gradients.dq, head.q_stride, begin, end, head.head_size);
  for (TextPieces queries(head.q_segments, begin, end, kQueryPanel); queries.Next();) {
    const Panel panel = PackPanelOf(head, gradients, queries, /*with_rows=*/false, s);
    for (TextPieces keys(head.k_segments, 0, head.keys, kKeyTile); keys.Next();) {
      if (keys.text() != panel.text) continue;
      if (!TileOf(head, panel.query, panel.lanes, keys.begin(), keys.size()).any()) continue;
      const int64_t next = keys.begin() + keys.size();
      const int64_t next_rows = std::min(kKeyTile, head.keys - next), stride = head.kv_stride;
      ahead.soon.Clear();
      ahead.soon.Add(head.k + next * stride, stride, next_rows, head.head_size);
      ahead.soon.Add(head.v + next * stride, stride, next_rows, head.head_size);
      BackwardTile(head, gradients, draws, panel, PackKeys(head, keys, s),
                   {.keys = false, .queries = true, .fresh_dq = false}, ahead, s);
    }
  }
}

// The panel that comes next, or the keys.
HWY_INLINE void FetchNext(const AttentionHead& head, const AttentionHeadGradients& gradients,
                          int64_t query, int64_t key, Ahead& ahead) {
  const int64_t size = head.head_size;
  ahead.soon.Clear();
  if (query < head.queries) {
    const int64_t rows = std::min(kQueryPanel, head.queries - query);
    ahead.soon.Add(head.q + query * head.q_stride, head.q_stride, rows, size);
    ahead.soon.Add(gradients.dy + query * head.y_stride, head.y_stride, rows, size);
    ahead.soon.Add(gradients.dq + query * head.q_stride, head.q_stride, rows, size);
  } else {
    const int64_t at = key * head.kv_stride, rows = std::min(kKeyTile, head.keys - key);
    ahead.soon.Add(head.k + at, head.kv_stride, rows, size);
    ahead.soon.Add(head.v + at, head.kv_stride, rows, size);
  }
}

// Where the results of these keys go, and what the next heads of these rows need: they are likely
// to come next.
HWY_INLINE void FetchLater(const AttentionHead& head, const AttentionHeadGradients& gradients,
                           int64_t group, const TextPieces& keys, Ahead& ahead) {
  const int64_t size = head.head_size, at = keys.begin() * head.kv_stride;
  ahead.later.Clear();
  ahead.later.Add(gradients.dk + at, head.kv_stride, keys.size(), size);
  ahead.later.Add(gradients.dv + at, head.kv_stride, keys.size(), size);
  ahead.later.Add(head.k + at + size, head.kv_stride, keys.size(), size);
  ahead.later.Add(head.v + at + size, head.kv_stride, keys.size(), size);
  if (keys.begin() + keys.size() > head.queries) return;
  const int64_t heads = group * size;
  const int64_t y_at = keys.begin() * head.y_stride + heads;
  ahead.later.Add(head.y + y_at, head.y_stride, keys.size(), heads);
  ahead.later.Add(gradients.dy + y_at, head.y_stride, keys.size(), heads);
  ahead.later.Add(head.q + keys.begin() * head.q_stride + heads, head.q_stride, keys.size(), heads);
}

void BackwardKeysOf(const AttentionHead& first, const AttentionHeadGradients& first_gradients,
                    int64_t group, int64_t begin, int64_t end, bool with_dq, float* scratch) {
  const int64_t size = first.head_size;
  const BackwardScratch s(size, scratch);
  AttentionHead head = first;
  AttentionHeadGradients gradients = first_gradients;
  const auto take_head = [&](int64_t g) {
    head.q = first.q + g * size;
    head.log_sum = first.log_sum + g * first.queries;
    head.head = first.head + g;
    gradients.dy = first_gradients.dy + g * size;
    gradients.dots = first_gradients.dots + g * first.queries;
    gradients.dq = first_gradients.dq + g * size;
  };
  // Of one text, all queries that see any key see the first one, and find dq fresh there.
  const bool one_text = head.k_segments == nullptr && head.keys > 0;
  for (int64_t g = 0; with_dq && !one_text && g < group; ++g) {
    take_head(g);
    ClearRows(gradients.dq, head.q_stride, 0, head.queries, size);
  }
  Ahead ahead;
  int64_t done = begin;
  const auto clear_to = [&](int64_t row) {
    ClearRows(gradients.dk, head.kv_stride, done, row, size);
    ClearRows(gradients.dv, head.kv_stride, done, row, size);
  };
  for (TextPieces keys(head.k_segments, begin, end, kKeyTile); keys.Next();) {
    clear_to(keys.begin());
    done = keys.begin() + keys.size();
    std::fill_n(s.dk, keys.size() * s.padded, 0.0f);
    std::fill_n(s.dv, keys.size() * s.padded, 0.0f);
    const KeyTile tile = PackKeys(head, keys, s);
    FetchLater(first, first_gradients, group, keys, ahead);
    for (int64_t g = 0; g < group; ++g) {
      take_head(g);
      const MaskDraws draws(head);
      const bool fresh_dq = with_dq && one_text && keys.begin() == 0;
      for (TextPieces queries(head.q_segments, 0, head.queries, kQueryPanel); queries.Next();) {
        if (queries.text() != keys.text()) continue;
        if (!TileOf(head, queries.begin(), queries.size(), keys.begin(), keys.size()).any()) {
          if (fresh_dq) {
            ClearRows(gradients.dq, head.q_stride, queries.begin(),
                      queries.begin() + queries.size(), size);
          }
          continue;
        }
        const Panel panel = PackPanelOf(head, gradients, queries, /*with_rows=*/true, s);
        FetchNext(head, gradients, queries.begin() + queries.size(), done, ahead);
        BackwardTile(head, gradients, draws, panel, tile,
                     {.keys = true, .queries = with_dq, .fresh_dq = fresh_dq}, ahead, s);
      }
    }
    for (int64_t r = 0; r < keys.size(); ++r) {
      const int64_t at = (keys.begin() + r) * head.kv_stride;
      std::copy_n(s.dv + r * s.padded, size, gradients.dv + at);
      ForEachVector(size, [&](auto d, int64_t c) HWY_ATTR {
        const auto sum = hn::LoadU(d, s.dk + r * s.padded + c);
        hn::StoreU(hn::Mul(sum, hn::Set(d, head.scale)), d, gradients.dk + at + c);
      });
    }
  }
  clear_to(end);
}

int64_t BackwardScratchOf(int64_t head_size) { return BackwardScratch(head_size, nullptr).size; }

}  // namespace
// NOLINTNEXTLINE(google-readability-namespace-comments)
}  // namespace lockstep::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace lockstep::inline v0_1::kernels {
namespace {
HWY_EXPORT(BackwardKeysOf);
HWY_EXPORT(BackwardQueriesOf);
HWY_EXPORT(BackwardScratchOf);
HWY_EXPORT(DotsOf);
}  // namespace

int64_t AttentionBackwardScratch(int64_t head_size) {
  return HWY_DYNAMIC_DISPATCH(BackwardScratchOf)(head_size);
}

void AttentionDots(const AttentionHead& head, const AttentionHeadGradients& gradients,
                   int64_t begin, int64_t end) {
  HWY_DYNAMIC_DISPATCH(DotsOf)(head, gradients, begin, end);
}

void AttentionBackwardQueries(const AttentionHead& head, const AttentionHeadGradients& gradients,
                              int64_t begin, int64_t end, float* scratch) {
  HWY_DYNAMIC_DISPATCH(BackwardQueriesOf)(head, gradients, begin, end, scratch);
}

void AttentionBackwardKeys(const AttentionHead& head, const AttentionHeadGradients& gradients,
                           int64_t group, int64_t begin, int64_t end, bool with_dq,
                           float* scratch) {
  HWY_DYNAMIC_DISPATCH(BackwardKeysOf)(head, gradients, group, begin, end, with_dq, scratch);
}

}  // namespace lockstep::kernels
#endif  // HWY_ONCE
