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
namespace lockstep::kernels::HWY_NAMESPACE {
namespace {

struct BackwardScratch {
  BackwardScratch(int64_t head_size, float* at) : padded(RoundUp(head_size, kNarrowPanel)) {
    Carver carver(at);
    q = carver.Take(head_size * kQueryPanel + kLanes);
    dy = carver.Take(head_size * kQueryPanel + kLanes);
    q_rows = carver.Take(kQueryPanel * padded);
    dy_rows = carver.Take(kQueryPanel * padded);
    p = carver.Take(kKeyTile * kQueryPanel);
    ds = carver.Take(kKeyTile * kQueryPanel);
    keep = carver.Take(kKeyTile * kQueryPanel);
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
  float *q_rows, *dy_rows;  // (kQueryPanel, padded), where head_size is not
  float *p, *ds, *keep;     // (kKeyTile, kQueryPanel)
  float *dq, *dq_rows;      // of one tile: (head_size, kQueryPanel), and by queries
  float *dk, *dv;           // of one tile: (kKeyTile, padded)
  float *log_sum, *dots;    // (kQueryPanel)
  int64_t size;
};

// Rows of Q and dY as the products for dK and dV read them.
struct RowPanel {
  const float* rows;
  int64_t stride;
};

// The part of a panel that does not depend on the keys.
struct Panel {
  int64_t query, lanes;
  int32_t text;
  RowPanel q, dy;
};

HWY_INLINE RowPanel PadRows(const float* x, int64_t stride, int64_t lanes, int64_t head_size,
                            int64_t padded, float* HWY_RESTRICT to) {
  if (padded == head_size) return {x, stride};
  for (int64_t l = 0; l < lanes; ++l) {
    std::copy_n(x + l * stride, head_size, to + l * padded);
    std::fill_n(to + l * padded + head_size, padded - head_size, 0.0f);
  }
  return {to, padded};
}

Panel PackPanelOf(const AttentionHead& head, const AttentionHeadGradients& gradients,
                  const TextPieces& piece, bool with_rows, const BackwardScratch& s) {
  const int64_t query = piece.begin(), lanes = piece.size(), size = head.head_size;
  const float* q = head.q + query * head.q_stride;
  const float* dy = gradients.dy + query * head.y_stride;
  PackLanes(q, head.q_stride, lanes, size, kQueryPanel, head.scale, s.q);
  PackLanes(dy, head.y_stride, lanes, size, kQueryPanel, 1.0f, s.dy);
  for (int64_t l = 0; l < kQueryPanel; ++l) {
    s.log_sum[l] = head.log_sum[query + std::min(l, lanes - 1)];
    s.dots[l] = gradients.dots[query + std::min(l, lanes - 1)];
  }
  if (!with_rows) return {query, lanes, piece.text(), {}, {}};
  return {query, lanes, piece.text(), PadRows(q, head.q_stride, lanes, size, s.padded, s.q_rows),
          PadRows(dy, head.y_stride, lanes, size, s.padded, s.dy_rows)};
}

// kLanes queries, from `lane` on, of a tile: s and dp become m p and ds.
template <bool kDropout>
HWY_INLINE void Weigh(const AttentionTile& tile, int64_t rows, int64_t lane,
                      const BackwardScratch& s) {
  const TileTag d;
  const int64_t whole = std::min(rows, tile.WholeRows(lane));
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
    const int64_t at = r * kQueryPanel + lane;
    weigh(at, p, ds);
    hn::StoreU(p, d, s.p + at);
    hn::StoreU(ds, d, s.ds + at);
  }
  for (; r < rows; ++r) {
    const int64_t at = r * kQueryPanel + lane;
    const auto seen = SeesRow(tile, r, lane);
    weigh(at, p, ds);
    hn::StoreU(hn::IfThenElseZero(seen, p), d, s.p + at);
    hn::StoreU(hn::IfThenElseZero(seen, ds), d, s.ds + at);
  }
}

// C (rows of the tile, head_size) += W^T X, W of p or ds, X rows of Q or dY. Rows are side by side
// in kQueryPanel lanes, and no lane before the first that sees a row adds anything to it.
HWY_INLINE void AddRows(const AttentionTile& tile, int64_t rows, const float* weights,
                        const RowPanel& x, int64_t head_size, int64_t padded, float* c) {
  const TileProduct product = {.a = weights,
                               .a_step = 1,
                               .b = x.rows,
                               .b_step = x.stride,
                               .depth = tile.lanes,
                               .c = c,
                               .c_stride = padded,
                               .accumulate = true};
  if (tile.WholeRows(0) == rows || AllFinite(x.rows, x.stride, tile.lanes, head_size)) {
    Multiply<RowsOfA::kPanel>(product, rows, padded, [&](int64_t r) { return tile.FirstLane(r); });
    return;
  }
  for (int64_t r = 0; r < rows; ++r) {  // what is not finite must not meet a zero
    TileProduct row = product;
    row.a += r * kQueryPanel;
    row.c += r * padded;
    Multiply<RowsOfA::kPanel>(row, 1, padded, [&](int64_t) { return tile.FirstLane(r); });
  }
}

// dq rows of the panel += scale (this tile's part).
HWY_INLINE void AddToQueries(const AttentionHead& head, const AttentionHeadGradients& gradients,
                             const Panel& panel, const BackwardScratch& s) {
  const int64_t size = head.head_size;
  PackTransposed(s.dq, kQueryPanel, size, panel.lanes, size, s.dq_rows);
  for (int64_t l = 0; l < panel.lanes; ++l) {
    float* HWY_RESTRICT dq = gradients.dq + (panel.query + l) * head.q_stride;
    const float* HWY_RESTRICT part = s.dq_rows + l * size;
    ForEachVector(size, [&](auto d, int64_t c) HWY_ATTR {
      const auto scale = hn::Set(d, head.scale);
      hn::StoreU(hn::MulAdd(scale, hn::LoadU(d, part + c), hn::LoadU(d, dq + c)), d, dq + c);
    });
  }
}

struct MaskDraws {
  explicit MaskDraws(const AttentionHead& head)
      : stream(head.drop_below == 0 ? 0
                                    : AttentionMaskStream(head.seed, head.stream, head.step,
                                                          head.sample, head.head)),
        keys(head.seed) {}
  uint64_t stream;
  PhiloxKeys keys;
};

void BackwardTile(const AttentionHead& head, const AttentionHeadGradients& gradients,
                  const MaskDraws& draws, const Panel& panel, int64_t key, int64_t tile_rows,
                  bool with_keys, bool with_queries, const BackwardScratch& s) {
  const AttentionTile tile = TileOf(head, panel.query, panel.lanes, key, tile_rows);
  const int64_t size = head.head_size, worked = WorkedLanes(panel.lanes);
  const int64_t rows = tile.SeenRows(0, tile.lanes);
  if (rows == 0) return;
  const float* k = head.k + key * head.kv_stride;
  const float* v = head.v + key * head.kv_stride;
  if (head.drop_below != 0) {
    FillKeep(head, draws.stream, draws.keys, tile, rows, worked, kQueryPanel, s.keep);
  }
  for (int64_t lane = 0; lane < worked; lane += kPanel) {
    const int64_t lanes = std::min<int64_t>(kPanel, worked - lane);
    const int64_t seen = tile.SeenRows(lane, lanes);
    if (seen > 0) {
      TileProduct product = {.a = k,
                             .a_row = head.kv_stride,
                             .b = s.q + lane,
                             .b_step = kQueryPanel,
                             .depth = size,
                             .c = s.p + lane,
                             .c_stride = kQueryPanel};
      Multiply<RowsOfA::kApart>(product, seen, lanes);
      product.a = v;
      product.b = s.dy + lane;
      product.c = s.ds + lane;
      Multiply<RowsOfA::kApart>(product, seen, lanes);
      for (int64_t l = lane; l < lane + lanes; l += kLanes) {
        head.drop_below != 0 ? Weigh<true>(tile, seen, l, s) : Weigh<false>(tile, seen, l, s);
      }
    }
    // Rows that only later lanes see, in the tiles of registers that reach across.
    for (int64_t r = seen; r < std::min<int64_t>(rows, seen + kRows); ++r) {
      std::fill_n(s.p + r * kQueryPanel + lane, lanes, 0.0f);
      std::fill_n(s.ds + r * kQueryPanel + lane, lanes, 0.0f);
    }
    if (!with_queries) continue;
    const TileProduct product = {.a = k,
                                 .a_step = head.kv_stride,
                                 .b = s.ds + lane,
                                 .b_step = kQueryPanel,
                                 .depth = seen,
                                 .c = s.dq + lane,
                                 .c_stride = kQueryPanel};
    const int64_t whole = std::min(seen, tile.WholeRows(lane));
    if (AllFinite(k + whole * head.kv_stride, head.kv_stride, seen - whole, size)) {
      Multiply<RowsOfA::kAdjacent>(product, size, lanes);
    } else {
      MultiplySeen(product, size, lanes, tile.reach + lane);
    }
  }
  if (with_queries) AddToQueries(head, gradients, panel, s);
  if (with_keys) {
    AddRows(tile, rows, s.p, panel.dy, size, s.padded, s.dv);
    AddRows(tile, rows, s.ds, panel.q, size, s.padded, s.dk);
  }
}

void DotsOf(const AttentionHead& head, const AttentionHeadGradients& gradients, int64_t begin,
            int64_t end) {
  for (int64_t i = begin; i < end; ++i) {
    const float* dy = gradients.dy + i * head.y_stride;
    const float* y = head.y + i * head.y_stride;
    const auto sums = SumRow<1>(head.head_size, [&](auto d, int64_t c, auto* sum) HWY_ATTR {
      sum[0] = hn::MulAdd(hn::LoadU(d, dy + c), hn::LoadU(d, y + c), sum[0]);
    });
    gradients.dots[i] = static_cast<float>(sums[0]);
  }
}

HWY_INLINE void ClearRows(float* x, int64_t stride, int64_t begin, int64_t end, int64_t size) {
  for (int64_t i = begin; i < end; ++i) std::fill_n(x + i * stride, size, 0.0f);
}

void BackwardQueriesOf(const AttentionHead& head, const AttentionHeadGradients& gradients,
                       int64_t begin, int64_t end, float* scratch) {
  const BackwardScratch s(head.head_size, scratch);
  const MaskDraws draws(head);
  ClearRows(gradients.dq, head.q_stride, begin, end, head.head_size);
  for (TextPieces queries(head.q_segments, begin, end, kQueryPanel); queries.Next();) {
    const Panel panel = PackPanelOf(head, gradients, queries, /*with_rows=*/false, s);
    for (TextPieces keys(head.k_segments, 0, head.keys, kKeyTile); keys.Next();) {
      if (keys.text() != panel.text) continue;
      BackwardTile(head, gradients, draws, panel, keys.begin(), keys.size(), /*with_keys=*/false,
                   /*with_queries=*/true, s);
    }
  }
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
  for (int64_t g = 0; with_dq && g < group; ++g) {
    take_head(g);
    ClearRows(gradients.dq, head.q_stride, 0, head.queries, size);
  }
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
    for (int64_t g = 0; g < group; ++g) {
      take_head(g);
      const MaskDraws draws(head);
      for (TextPieces queries(head.q_segments, 0, head.queries, kQueryPanel); queries.Next();) {
        if (queries.text() != keys.text()) continue;
        if (!TileOf(head, queries.begin(), queries.size(), keys.begin(), keys.size()).any()) {
          continue;
        }
        const Panel panel = PackPanelOf(head, gradients, queries, /*with_rows=*/true, s);
        BackwardTile(head, gradients, draws, panel, keys.begin(), keys.size(), /*with_keys=*/true,
                     with_dq, s);
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
namespace lockstep::kernels {
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
