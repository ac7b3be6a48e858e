#include "engine/kernels/norm/moments.h"

#include "engine/kernels/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "engine/kernels/norm/moments.cc"
#include <hwy/cache_control.h>
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace lockstep::inline v0_1::kernels {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// Columns that are worked on together: their sums stay in L1.
constexpr int64_t kChunk = 1024;

// Single-precision sums of one tile: d = x - shift; sum d; sum d^2.
struct TileSums {
  HWY_ALIGN float shift[kChunk];
  HWY_ALIGN float sum[kChunk];
  HWY_ALIGN float squares[kChunk];
};

// Sums of a block, in double, about the shift of its first tile.
struct BlockSums {
  HWY_ALIGN double base[kChunk];
  HWY_ALIGN double sum[kChunk];
  HWY_ALIGN double squares[kChunk];
};

// What a tile is summed about: the mean of its first four rows. For any data the squares about it
// are then at most about 8 times those about the tile's own mean (all four may be outliers), which
// bounds what the subtraction in AddTile and Finish can cancel. The differences themselves are
// nearly always exact, because x and its neighbours share their leading bits.
//
// By count of operations this is cheaper than Welford's recurrence and than two passes over the
// tile, whose fp32 mean moreover does not fit a float at mean / sd = 1e4; the three were not timed
// against each other. Above the tiles the merge is Chan's, in double.
template <class D>
HWY_INLINE hn::Vec<D> Shift(D d, const float* x, int64_t rows, int64_t stride) {
  const int64_t last = rows - 1;
  const auto x0 = hn::LoadU(d, x);
  const auto x1 = hn::LoadU(d, x + HWY_MIN(int64_t{1}, last) * stride);
  const auto x2 = hn::LoadU(d, x + HWY_MIN(int64_t{2}, last) * stride);
  const auto x3 = hn::LoadU(d, x + HWY_MIN(int64_t{3}, last) * stride);
  return hn::Mul(hn::Add(hn::Add(x0, x1), hn::Add(x2, x3)), hn::Set(d, 0.25f));
}

// Adds four rows. One addition to each running sum for four rows keeps the chains short: a single
// vector of columns (C = 8) is not bound by their latency.
template <class D, class V = hn::Vec<D>>
HWY_INLINE void AddRows(D d, const float* x, int64_t stride, V shift, V& sum, V& squares) {
  const V d0 = hn::Sub(hn::LoadU(d, x), shift);
  const V d1 = hn::Sub(hn::LoadU(d, x + stride), shift);
  const V d2 = hn::Sub(hn::LoadU(d, x + 2 * stride), shift);
  const V d3 = hn::Sub(hn::LoadU(d, x + 3 * stride), shift);
  sum = hn::Add(sum, hn::Add(hn::Add(d0, d1), hn::Add(d2, d3)));
  const V q = hn::MulAdd(d3, d3, hn::MulAdd(d2, d2, hn::MulAdd(d1, d1, hn::Mul(d0, d0))));
  squares = hn::Add(squares, q);
}

template <class D, class V = hn::Vec<D>>
HWY_INLINE void AddRow(D d, const float* x, V shift, V& sum, V& squares) {
  const V difference = hn::Sub(hn::LoadU(d, x), shift);
  sum = hn::Add(sum, difference);
  squares = hn::MulAdd(difference, difference, squares);
}

// Columns [c, c + Lanes(d)) of a tile, its sums in registers.
template <class D>
HWY_INLINE void SumVector(D d, const float* x, int64_t rows, int64_t stride, int64_t c,
                          TileSums& tile) {
  x += c;
  const auto shift = Shift(d, x, rows, stride);
  auto sum = hn::Zero(d);
  auto squares = hn::Zero(d);
  int64_t r = 0;
  for (; r + 4 <= rows; r += 4) AddRows(d, x + r * stride, stride, shift, sum, squares);
  for (; r < rows; ++r) AddRow(d, x + r * stride, shift, sum, squares);
  hn::Store(shift, d, tile.shift + c);
  hn::Store(sum, d, tile.sum + c);
  hn::Store(squares, d, tile.squares + c);
}

// The same for two vectors: whole cache lines.
template <class D>
HWY_INLINE void SumVectorPair(D d, const float* x, int64_t rows, int64_t stride, int64_t c,
                              TileSums& tile) {
  const auto n = static_cast<int64_t>(hn::Lanes(d));
  x += c;
  const auto shift0 = Shift(d, x, rows, stride);
  const auto shift1 = Shift(d, x + n, rows, stride);
  auto sum0 = hn::Zero(d);
  auto sum1 = hn::Zero(d);
  auto squares0 = hn::Zero(d);
  auto squares1 = hn::Zero(d);
  int64_t r = 0;
  for (; r + 4 <= rows; r += 4) {
    AddRows(d, x + r * stride, stride, shift0, sum0, squares0);
    AddRows(d, x + r * stride + n, stride, shift1, sum1, squares1);
  }
  for (; r < rows; ++r) {
    AddRow(d, x + r * stride, shift0, sum0, squares0);
    AddRow(d, x + r * stride + n, shift1, sum1, squares1);
  }
  hn::Store(shift0, d, tile.shift + c);
  hn::Store(shift1, d, tile.shift + c + n);
  hn::Store(sum0, d, tile.sum + c);
  hn::Store(sum1, d, tile.sum + c + n);
  hn::Store(squares0, d, tile.squares + c);
  hn::Store(squares1, d, tile.squares + c + n);
}

// The same for the rows [row, row + kRows) alone, its sums in memory.
template <int kRows, class D>
HWY_INLINE void SweepVector(D d, const float* x, int64_t row, int64_t rows, int64_t stride,
                            int64_t c, TileSums& tile) {
  x += c;
  auto shift = hn::Load(d, tile.shift + c);
  auto sum = hn::Load(d, tile.sum + c);
  auto squares = hn::Load(d, tile.squares + c);
  if (row == 0) {
    shift = Shift(d, x, rows, stride);
    sum = squares = hn::Zero(d);
    hn::Store(shift, d, tile.shift + c);
  }
  x += row * stride;
  if constexpr (kRows == 1) {
    AddRow(d, x, shift, sum, squares);
  } else {
    AddRows(d, x, stride, shift, sum, squares);
    if constexpr (kRows == 8) AddRows(d, x + 4 * stride, stride, shift, sum, squares);
  }
  hn::Store(sum, d, tile.sum + c);
  hn::Store(squares, d, tile.squares + c);
}

// Asks for the lines from `from` on; where a dense matrix is read in order, kAhead bytes ahead. The
// rows that are read side by side keep the prefetchers from seeing that order: without this a
// matrix that comes from memory took twice as long (103 MB, Zen 3), with it as long as reading
// alone.
constexpr int64_t kAhead = 8192;
HWY_INLINE void PrefetchLines(const float* from, int64_t floats) {
  const char* bytes = reinterpret_cast<const char*>(from);
  for (int64_t i = 0; i < floats * static_cast<int64_t>(sizeof(float)); i += 64) {
    hwy::Prefetch(bytes + kAhead + i);
  }
}

template <int kRows>
void SweepRows(const float* x, int64_t row, int64_t rows, int64_t channels, int64_t stride,
               TileSums& tile) {
  const hn::ScalableTag<float> d;
  const hn::CappedTag<float, 4> d4;
  const hn::CappedTag<float, 1> d1;
  const auto n = static_cast<int64_t>(hn::Lanes(d));
  const auto n4 = static_cast<int64_t>(hn::Lanes(d4));
  int64_t c = 0;
  const bool dense = stride == channels;
  for (; c + n <= channels; c += n) {
    if (dense) PrefetchLines(x + row * stride + c * kRows, n * kRows);
    SweepVector<kRows>(d, x, row, rows, stride, c, tile);
  }
  for (; c + n4 <= channels; c += n4) SweepVector<kRows>(d4, x, row, rows, stride, c, tile);
  for (; c < channels; ++c) SweepVector<kRows>(d1, x, row, rows, stride, c, tile);
}

// A wide tile is swept along its rows, in the order of memory: walking down its columns instead,
// which saves the loads and stores of the sums, took three times as long at 1,024 channels, where
// prefetchers see one line of each page and the rows of a tile share one set of the L1.
constexpr int64_t kNarrow = 64;

void SumTile(const float* x, int64_t rows, int64_t channels, int64_t stride, TileSums& tile) {
  const hn::ScalableTag<float> d;
  const hn::CappedTag<float, 4> d4;
  const hn::CappedTag<float, 1> d1;
  const auto n = static_cast<int64_t>(hn::Lanes(d));
  const auto n4 = static_cast<int64_t>(hn::Lanes(d4));
  if (channels <= kNarrow) {
    int64_t c = 0;
    for (; c + 2 * n <= channels; c += 2 * n) SumVectorPair(d, x, rows, stride, c, tile);
    for (; c + n <= channels; c += n) SumVector(d, x, rows, stride, c, tile);
    for (; c + n4 <= channels; c += n4) SumVector(d4, x, rows, stride, c, tile);
    for (; c < channels; ++c) SumVector(d1, x, rows, stride, c, tile);
    return;
  }
  int64_t r = 0;
  for (; r + 8 <= rows; r += 8) SweepRows<8>(x, r, rows, channels, stride, tile);
  for (; r + 4 <= rows; r += 4) SweepRows<4>(x, r, rows, channels, stride, tile);
  for (; r < rows; ++r) SweepRows<1>(x, r, rows, channels, stride, tile);
}

// Moves the sums of a tile from its shift to the block's base and adds them:
//   e = shift - base;  sum += s + rows e;  squares += q + e (2 s + rows e)
template <class DD>
HWY_INLINE void AddTileVector(DD d, const TileSums& tile, double rows, int64_t c,
                              BlockSums& block) {
  const hn::Rebind<float, DD> df;
  const auto e =
      hn::Sub(hn::PromoteTo(d, hn::LoadU(df, tile.shift + c)), hn::LoadU(d, block.base + c));
  const auto s = hn::PromoteTo(d, hn::LoadU(df, tile.sum + c));
  const auto q = hn::PromoteTo(d, hn::LoadU(df, tile.squares + c));
  const auto moved = hn::MulAdd(e, hn::Set(d, rows), s);
  hn::StoreU(hn::Add(hn::LoadU(d, block.sum + c), moved), d, block.sum + c);
  hn::StoreU(hn::Add(hn::LoadU(d, block.squares + c), hn::MulAdd(e, hn::Add(s, moved), q)), d,
             block.squares + c);
}

void AddTile(const TileSums& tile, int64_t rows, int64_t channels, BlockSums& block) {
  const hn::ScalableTag<double> d;
  const hn::CappedTag<double, 1> d1;
  const auto n = static_cast<int64_t>(hn::Lanes(d));
  int64_t c = 0;
  for (; c + n <= channels; c += n) AddTileVector(d, tile, static_cast<double>(rows), c, block);
  for (; c < channels; ++c) AddTileVector(d1, tile, static_cast<double>(rows), c, block);
}

void StartBlock(const TileSums& tile, int64_t channels, BlockSums& block) {
  for (int64_t c = 0; c < channels; ++c) {
    block.base[c] = static_cast<double>(tile.shift[c]);
    block.sum[c] = 0.0;
    block.squares[c] = 0.0;
  }
}

// One column in double throughout: what single precision cannot hold (and columns of one value,
// which look the same).
HWY_NOINLINE void CarefulMoments(const float* x, int64_t rows, int64_t stride, double* mean,
                                 double* m2) {
  double sum = 0.0;
  bool constant = true;
  for (int64_t r = 0; r < rows; ++r) {
    sum += static_cast<double>(x[r * stride]);
    constant = constant && x[r * stride] == x[0];
  }
  *mean = constant ? static_cast<double>(x[0]) : sum / static_cast<double>(rows);
  *m2 = 0.0;
  if (constant) return;
  for (int64_t r = 0; r < rows; ++r) {
    const double difference = static_cast<double>(x[r * stride]) - *mean;
    *m2 += difference * difference;
  }
}

template <class DD>
HWY_INLINE bool FinishVector(DD d, const BlockSums& block, double rows, int64_t c, double* mean,
                             double* m2) {
  const auto sum = hn::LoadU(d, block.sum + c);
  const auto squares = hn::LoadU(d, block.squares + c);
  const auto offset = hn::Div(sum, hn::Set(d, rows));
  hn::StoreU(hn::Add(hn::LoadU(d, block.base + c), offset), d, mean + c);
  hn::StoreU(hn::NegMulAdd(offset, sum, squares), d, m2 + c);
  // Squares of differences below 1e-19 are denormal, hence flushed; above kTiny what was flushed
  // does not count. Anything that overflowed in a tile is infinite or not a number here.
  constexpr double kTiny = 1e-25;
  constexpr double kHuge = 1e+300;
  return hn::AllTrue(
      d, hn::And(hn::Ge(squares, hn::Set(d, kTiny)), hn::Le(squares, hn::Set(d, kHuge))));
}

template <class DD>
HWY_INLINE void FinishColumns(DD d, const float* x, int64_t rows, int64_t stride,
                              const BlockSums& block, int64_t c, double* mean, double* m2) {
  if (FinishVector(d, block, static_cast<double>(rows), c, mean, m2)) return;
  const hn::CappedTag<double, 1> d1;
  for (int64_t i = c; i < c + static_cast<int64_t>(hn::Lanes(d)); ++i) {
    if (!FinishVector(d1, block, static_cast<double>(rows), i, mean, m2)) {
      CarefulMoments(x + i, rows, stride, mean + i, m2 + i);
    }
  }
}

void ColumnMomentsChunk(const float* x, int64_t rows, int64_t channels, int64_t stride,
                        double* mean, double* m2) {
  TileSums tile;
  BlockSums block;
  for (int64_t r = 0; r < rows; r += kMomentTile) {
    const int64_t tile_rows = HWY_MIN(kMomentTile, rows - r);
    SumTile(x + r * stride, tile_rows, channels, stride, tile);
    if (r == 0) StartBlock(tile, channels, block);
    AddTile(tile, tile_rows, channels, block);
  }
  const hn::ScalableTag<double> d;
  const hn::CappedTag<double, 1> d1;
  const auto n = static_cast<int64_t>(hn::Lanes(d));
  int64_t c = 0;
  for (; c + n <= channels; c += n) FinishColumns(d, x, rows, stride, block, c, mean, m2);
  for (; c < channels; ++c) FinishColumns(d1, x, rows, stride, block, c, mean, m2);
}

void ColumnMoments(const float* x, int64_t rows, int64_t channels, int64_t stride, double* mean,
                   double* m2) {
  if (rows == 0) {
    for (int64_t c = 0; c < channels; ++c) mean[c] = m2[c] = 0.0;
    return;
  }
  for (int64_t c = 0; c < channels; c += kChunk) {
    ColumnMomentsChunk(x + c, rows, HWY_MIN(kChunk, channels - c), stride, mean + c, m2 + c);
  }
}

// delta = mean_b - mean_a;  mean_a += delta n_b / n;  m2_a += m2_b + delta^2 n_a n_b / n
template <class DD>
HWY_INLINE void MergeVector(DD d, double share_b, double weight, double* mean_a, double* m2_a,
                            const double* mean_b, const double* m2_b) {
  const auto mean = hn::LoadU(d, mean_a);
  const auto delta = hn::Sub(hn::LoadU(d, mean_b), mean);
  const auto m2 = hn::Add(hn::LoadU(d, m2_a), hn::LoadU(d, m2_b));
  hn::StoreU(hn::MulAdd(delta, hn::Set(d, share_b), mean), d, mean_a);
  hn::StoreU(hn::MulAdd(hn::Mul(delta, delta), hn::Set(d, weight), m2), d, m2_a);
}

void MergeMoments(int64_t count_a, double* mean_a, double* m2_a, int64_t count_b,
                  const double* mean_b, const double* m2_b, int64_t channels) {
  if (count_b == 0) return;
  if (count_a == 0) {
    for (int64_t c = 0; c < channels; ++c) {
      mean_a[c] = mean_b[c];
      m2_a[c] = m2_b[c];
    }
    return;
  }
  const double share_b = static_cast<double>(count_b) / static_cast<double>(count_a + count_b);
  const double weight = static_cast<double>(count_a) * share_b;
  const hn::ScalableTag<double> d;
  const hn::CappedTag<double, 1> d1;
  const auto n = static_cast<int64_t>(hn::Lanes(d));
  int64_t c = 0;
  for (; c + n <= channels; c += n) {
    MergeVector(d, share_b, weight, mean_a + c, m2_a + c, mean_b + c, m2_b + c);
  }
  for (; c < channels; ++c) {
    MergeVector(d1, share_b, weight, mean_a + c, m2_a + c, mean_b + c, m2_b + c);
  }
}

template <class DD>
HWY_INLINE void FinishStatistics(DD d, double count, const double* mean, const double* m2,
                                 double eps, float* mean32, float* mean_low, float* inv_std,
                                 double* variance) {
  const hn::Rebind<float, DD> df;
  const auto var = hn::Div(hn::LoadU(d, m2), hn::Set(d, count));
  const auto root = hn::Sqrt(hn::Add(var, hn::Set(d, eps)));
  hn::StoreU(hn::DemoteTo(df, hn::Div(hn::Set(d, 1.0), root)), df, inv_std);
  const auto exact = hn::LoadU(d, mean);
  const auto high = hn::DemoteTo(df, exact);
  hn::StoreU(high, df, mean32);
  if (mean_low != nullptr) {
    hn::StoreU(hn::DemoteTo(df, hn::Sub(exact, hn::PromoteTo(d, high))), df, mean_low);
  }
  if (variance != nullptr) hn::StoreU(var, d, variance);
}

void FinishMoments(int64_t count, const double* mean, const double* m2, int64_t channels,
                   double eps, float* mean32, float* mean_low, float* inv_std, double* variance) {
  const auto low = [&](int64_t c) { return mean_low == nullptr ? nullptr : mean_low + c; };
  const auto rows = static_cast<double>(count);
  const hn::ScalableTag<double> d;
  const hn::CappedTag<double, 1> d1;
  const auto n = static_cast<int64_t>(hn::Lanes(d));
  int64_t c = 0;
  for (; c + n <= channels; c += n) {
    FinishStatistics(d, rows, mean + c, m2 + c, eps, mean32 + c, low(c), inv_std + c,
                     variance == nullptr ? nullptr : variance + c);
  }
  for (; c < channels; ++c) {
    FinishStatistics(d1, rows, mean + c, m2 + c, eps, mean32 + c, low(c), inv_std + c,
                     variance == nullptr ? nullptr : variance + c);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace lockstep::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace lockstep::inline v0_1::kernels {

HWY_EXPORT(ColumnMoments);
HWY_EXPORT(MergeMoments);
HWY_EXPORT(FinishMoments);

void ColumnMoments(const float* x, int64_t rows, int64_t channels, int64_t stride, double* mean,
                   double* m2) {
  HWY_DYNAMIC_DISPATCH(ColumnMoments)(x, rows, channels, stride, mean, m2);
}

void MergeMoments(int64_t count_a, double* mean_a, double* m2_a, int64_t count_b,
                  const double* mean_b, const double* m2_b, int64_t channels) {
  HWY_DYNAMIC_DISPATCH(MergeMoments)
  (count_a, mean_a, m2_a, count_b, mean_b, m2_b, channels);
}

void FinishMoments(int64_t count, const double* mean, const double* m2, int64_t channels,
                   double eps, float* mean32, float* mean_low, float* inv_std, double* variance) {
  HWY_DYNAMIC_DISPATCH(FinishMoments)
  (count, mean, m2, channels, eps, mean32, mean_low, inv_std, variance);
}

}  // namespace lockstep::kernels
#endif  // HWY_ONCE
