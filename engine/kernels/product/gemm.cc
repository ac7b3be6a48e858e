#include "engine/kernels/product/gemm.h"

#include "engine/kernels/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "engine/kernels/product/gemm.cc"
#include <hwy/foreach_target.h>
//
#include <hwy/highway.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cmath>
#include <cstdint>
#include <utility>

#include "engine/kernels/product/gemm-inl.h"
#include "engine/kernels/product/gemm_pack-inl.h"
#include "engine/kernels/product/gemm_row-inl.h"

HWY_BEFORE_NAMESPACE();
namespace lockstep::inline v0_1::kernels::HWY_NAMESPACE {

template <int kTileVecs, bool kPacked, int... kMinusOne>
constexpr auto TilesOf(std::integer_sequence<int, kMinusOne...>) {
  return std::array<TileFunction, sizeof...(kMinusOne)>{Tile<kMinusOne + 1, kTileVecs, kPacked>...};
}
template <int kTileVecs, bool kPacked, int kMaxRows>
constexpr auto TilesUpTo() {
  return TilesOf<kTileVecs, kPacked>(std::make_integer_sequence<int, kMaxRows>());
}
// Indexed by rows - 1. Narrow and wide panels do with one version for packed and direct A.
constexpr auto kPackedTiles = TilesUpTo<kVecs, true, kRows>();
constexpr auto kDirectTiles = TilesUpTo<kVecs, false, kDirectRows>();
constexpr auto kNarrowTiles = TilesUpTo<kNarrowVecs, false, kDirectRows>();
constexpr auto kWideTiles = TilesUpTo<kWideVecs, false, kWideRows>();

constexpr int64_t kL1Floats = 8192;  // 32 KB
// Tiles of A that are packed and used together; they stay in the L2 cache (147 KB with AVX2, 344 KB
// with AVX-512, whose machines have 1 MB or more). All panels of B pass by each group, so they are
// packed once for all rows of the block.
constexpr int64_t kGroupTiles = 24;
static_assert(kGroupTiles % kPackedAtOnce == 0);

constexpr int64_t CeilDiv(int64_t a, int64_t b) { return (a + b - 1) / b; }
constexpr int64_t AlignUp(int64_t floats) { return CeilDiv(floats, 16) * 16; }

// The panels of B (one, if one group of tiles is all), the panels of a group of tiles of A, the
// partial sums, in this order.
struct ScratchSizes {
  int64_t panels_b, panels_a, partial;
};
ScratchSizes SizesOf(int64_t m, int64_t n, int64_t k, int64_t segments) {
  const int64_t depth = std::min(k, kDepth);
  const bool one_visit = k <= kDepth && segments + k / kLongestChain <= Stretch::kMostChains;
  const int64_t tiles = one_visit ? 1 : CeilDiv(m, kDirectRows) * CeilDiv(n, kPanel);
  const int64_t width = kWideVecs * kLanes;
  const int64_t cols = m > kGroupTiles * kDirectRows ? CeilDiv(n, width) * width : width;
  const int64_t rows = std::min(m, kGroupTiles * kRows);
  return {AlignUp(cols * depth + kLanes), AlignUp(rows * depth + kLanes),
          tiles * WaitingSums(k, segments) * kRows * kPanel};
}

int64_t GemmScratchOf(int64_t m, int64_t n, int64_t k, int64_t segments) {
  const ScratchSizes sizes = SizesOf(m, n, k, segments);
  return sizes.panels_b + sizes.panels_a + sizes.partial;
}

// Fetches what the next panel of B will be packed from into the L2 cache, a little with each tile
// of this one. (Zen 3, B transposed: packing was 11 % of a 2048-cubed product without it.)
class PanelPrefetch {
 public:
  // The next panel is b[0..depth) x [0..cols); `tiles` calls of Some will follow.
  void Start(const ConstMatrix& b, int64_t depth, int64_t cols, int64_t tiles) {
    const bool by_rows = b.col_stride == 1;
    if (!by_rows && b.row_stride != 1) return;
    start_ = b.data;
    stride_ = by_rows ? b.row_stride : b.col_stride;
    lines_ = CeilDiv(by_rows ? cols : depth, kLineFloats);
    left_ = (by_rows ? depth : cols) * lines_;
    each_ = CeilDiv(left_, tiles);
  }
  void Some() {
    const int64_t count = std::min(each_, left_);
    for (int64_t i = 0; i < count; ++i) {
      __builtin_prefetch(start_ + line_ * kLineFloats, /*write=*/0, /*locality: L2*/ 2);
      if (++line_ == lines_) line_ = 0, start_ += stride_;
    }
    left_ -= count;
  }

 private:
  static constexpr int64_t kLineFloats = 16;
  const float* start_ = nullptr;  // of a row or column of the panel
  int64_t stride_ = 0;
  int64_t lines_ = 0, line_ = 0;  // of each
  int64_t left_ = 0, each_ = 0;
};

// One product of a block: for each stretch of K, for each group of tiles of rows, for each panel of
// B, for each tile of the group.
class BlockProduct {
 public:
  // one_column: scale[0] and bias[0] serve every column.
  BlockProduct(const GemmArgs& args, bool one_column, float* scratch)
      : args_(args),
        output_{args.c_stride,
                args.epilogue.add_stride,
                args.accumulate,
                one_column,
                args.epilogue.activation == Activation::kRelu,
                args.not_finite} {
    wide_ = args.m <= kWideRows && args.n >= kWideVecs * kLanes;  // else it would be packed
    panel_cols_ = wide_ ? kWideVecs * kLanes : kPanel;
    panels_ = CeilDiv(args.n, panel_cols_);
    pack_a_ = !wide_ && PackingPays();
    // Rows are dealt evenly, so that no tile has too few chains in flight.
    tiles_ = CeilDiv(args.m, wide_ ? kWideRows : pack_a_ ? kRows : kDirectRows);
    tile_rows_ = args.m / tiles_;
    larger_tiles_ = args.m % tiles_;
    pack_b_ = args.b.col_stride != 1 || (tiles_ > 2 && args.k * args.b.row_stride > kL1Floats);
    narrow_ = !wide_ && FirstRow(1) <= kDirectRows;
    prefetch_b_ = panels_ > 1 && args.k * args.n > kL1Floats;

    const ScratchSizes sizes = SizesOf(args.m, args.n, args.k, args.segment_count());
    panels_b_ = scratch;
    panels_a_ = panels_b_ + sizes.panels_b;
    partial_ = panels_a_ + sizes.panels_a;
    slots_ = WaitingSums(args.k, args.segment_count()) * kRows * kPanel;
  }

  void Run() {
    const int64_t whole_k[] = {0, args_.k};
    Chains chains(args_.segment_count() > 1 ? args_.segments.data() : whole_k,
                  args_.segment_count());
    do {
      NextStretch(chains);
      for (group_ = 0; group_ < tiles_; group_ = group_end_) {
        group_end_ = std::min(group_ + kGroupTiles, tiles_);
        for (int64_t panel = 0; panel < panels_; ++panel) RunPanel(panel);
      }
    } while (!stretch_.last);
  }

 private:
  // Whether a packed copy of A makes up for its making: that takes several panels of B to read it,
  // and an A so large that reading it in place leaves the caches. (Zen 3; between the thresholds
  // and half or twice of them lie a few per cent, for small products the choice makes a third.)
  bool PackingPays() const {
    const int64_t floats = args_.m * args_.k;
    if (args_.a.col_stride == 1) return panels_ > 15 && floats > 16 * kL1Floats;
    return panels_ > 4 && (args_.a.row_stride != 1 || floats > 4 * kL1Floats);
  }

  // The first rows of tiles 0 .. tiles_.
  int64_t FirstRow(int64_t t) const { return t * tile_rows_ + std::min(t, larger_tiles_); }
  int64_t Depth() const { return stretch_.k_end - stretch_.k_begin; }

  // As many of the chains that are left as the panels have room for.
  void NextStretch(Chains& chains) {
    const bool first = stretch_.count == 0;
    stretch_.k_begin = stretch_.k_end;
    stretch_.count = 0;
    do {
      Chain& chain = stretch_.chains[stretch_.count++];
      chain = chains.Next();
      stretch_.k_end += chain.length;
    } while (!chains.done() && stretch_.count < Stretch::kMostChains &&
             Depth() + chains.length() <= kDepth);
    stretch_.last = chains.done();
    stretch_.only = first && stretch_.last;
  }

  void RunPanel(int64_t panel) {
    const ConstMatrix &a = args_.a, &b = args_.b;
    int64_t col = panel * panel_cols_;
    int64_t cols = std::min(panel_cols_, args_.n - col);
    const bool narrow = narrow_ && cols <= kNarrowVecs * kLanes;
    const int64_t width = narrow ? kNarrowVecs * kLanes : panel_cols_;
    const Epilogue& epilogue = args_.epilogue;
    const bool reads_c = args_.accumulate || epilogue.add == args_.c;
    if (cols < width && args_.n >= width && !reads_c) {
      // A whole panel that begins earlier writes some columns again, with the same bits: faster
      // than part of a panel.
      col = args_.n - width;
      cols = width;
    }
    TileArgs tile;
    tile.cols = cols;
    const int64_t column = output_.one_column ? 0 : col;
    tile.scale = epilogue.scale == nullptr ? nullptr : epilogue.scale + column;
    tile.bias = epilogue.bias == nullptr ? nullptr : epilogue.bias + column;
    tile.stretch = &stretch_;
    tile.output = &output_;
    tile.b = b.data + stretch_.k_begin * b.row_stride + col * b.col_stride;
    tile.b_step = b.row_stride;
    if (pack_b_ || cols < width) {
      float* packed = panels_b_ + (tiles_ > kGroupTiles ? panel * panel_cols_ * Depth() : 0);
      if (group_ == 0) {
        PackPanel(tile.b, b.col_stride, b.row_stride, cols, Depth(), width, packed);
      }
      tile.b = packed;
      tile.b_step = width;
    }
    PanelPrefetch next_b;
    if (prefetch_b_ && panel + 1 < panels_ && group_ == 0) {
      const int64_t next_col = (panel + 1) * panel_cols_;
      next_b.Start(b.From(stretch_.k_begin, next_col), Depth(),
                   std::min(panel_cols_, args_.n - next_col), group_end_);
    }
    const TileFunction* functions = wide_     ? kWideTiles.data()
                                    : narrow  ? kNarrowTiles.data()
                                    : pack_a_ ? kPackedTiles.data()
                                              : kDirectTiles.data();
    tile.a_row = pack_a_ ? 1 : a.row_stride;
    for (int64_t t = group_; t < group_end_; ++t) {
      const int64_t row = FirstRow(t), rows = FirstRow(t + 1) - row;
      if (pack_a_) {
        tile.a = PackedTile(t);
        if (panel == 0) PackTile(t);
        tile.a_step = rows;
      } else {
        tile.a = a.data + row * a.row_stride + stretch_.k_begin * a.col_stride;
        tile.a_step = a.col_stride;
      }
      tile.c = args_.c + row * args_.c_stride + col;
      tile.add = epilogue.add == nullptr ? nullptr : epilogue.add + row * epilogue.add_stride + col;
      tile.partial = partial_ + (stretch_.only ? 0 : (panel * tiles_ + t) * slots_);
      next_b.Some();
      functions[rows - 1](tile);
    }
  }

  float* PackedTile(int64_t t) const {
    return panels_a_ + (FirstRow(t) - FirstRow(group_)) * Depth();
  }

  // Packs the rows of tile t of A, or of a group of tiles with the first of them.
  void PackTile(int64_t t) {
    const int64_t row = FirstRow(t);
    const ConstMatrix a = args_.a.From(row, stretch_.k_begin);
    if (a.row_stride != 1) {
      const int64_t rows = FirstRow(t + 1) - row;
      PackPanel(a.data, a.row_stride, a.col_stride, rows, Depth(), rows, PackedTile(t));
    } else if (t % kPackedAtOnce == 0) {
      int64_t first_row[kPackedAtOnce + 1];
      const int count = static_cast<int>(std::min<int64_t>(kPackedAtOnce, group_end_ - t));
      for (int i = 0; i <= count; ++i) first_row[i] = FirstRow(t + i);
      PackNeighbours(a.data, a.col_stride, first_row, count, args_.m - row, Depth(), PackedTile(t));
    }
  }

  const GemmArgs& args_;
  const TileOutput output_;
  Stretch stretch_;
  bool wide_, narrow_;  // all panels; the last panel, if it has few columns
  bool pack_a_, pack_b_, prefetch_b_;
  int64_t panel_cols_, panels_;
  int64_t tiles_, tile_rows_, larger_tiles_;
  int64_t group_ = 0, group_end_ = 0;  // the tiles at hand
  float *panels_b_, *panels_a_, *partial_;
  int64_t slots_;  // floats of partial sums for each tile
};

// A product with one element is a sum in one lane: a tile would first have to pack B into lanes of
// which it needs one.
void DotOf(const GemmArgs& args) {
  const hn::CappedTag<float, 1> d;
  const Epilogue& epilogue = args.epilogue;
  const int64_t whole_k[] = {0, args.k};
  Chains chains(args.segment_count() > 1 ? args.segments.data() : whole_k, args.segment_count());
  float waiting[2 * 64];
  const float *a = args.a.data, *b = args.b.data;
  auto sum = hn::Zero(d);
  while (!chains.done()) {
    const Chain chain = chains.Next();
    sum = hn::Zero(d);
    for (int32_t k = 0; k < chain.length; ++k, a += args.a.col_stride, b += args.b.row_stride) {
      sum = hn::MulAdd(hn::Set(d, *a), hn::Set(d, *b), sum);
    }
    float* slot = waiting + chain.waiting;
    for (int32_t merge = 0; merge < chain.merges; ++merge) {
      sum = hn::Add(hn::Set(d, *--slot), sum);
    }
    *slot = hn::GetLane(sum);
  }
  if (args.accumulate) sum = hn::Add(hn::Set(d, *args.c), sum);
  const auto bias = hn::Set(d, epilogue.bias == nullptr ? 0.0f : *epilogue.bias);
  if (epilogue.scale != nullptr) {
    const auto scale = hn::Set(d, *epilogue.scale);
    sum = epilogue.bias != nullptr ? hn::MulAdd(scale, sum, bias) : hn::Mul(scale, sum);
  } else if (epilogue.bias != nullptr) {
    sum = hn::Add(sum, bias);
  }
  if (epilogue.add != nullptr) sum = hn::Add(sum, hn::Set(d, *epilogue.add));
  if (epilogue.activation == Activation::kRelu) {
    sum = hn::IfThenZeroElse(hn::Lt(sum, hn::Zero(d)), sum);
  }
  *args.c = hn::GetLane(sum);
  if (args.not_finite != nullptr && !(std::abs(*args.c) < HUGE_VALF)) {
    args.not_finite->store(true, std::memory_order_relaxed);
  }
}

void GemmOf(const GemmArgs& args, bool one_column, float* scratch) {
  if (args.m == 0 || args.n == 0) return;
  if (args.m == 1 && args.n == 1) return DotOf(args);
  if (!one_column && IsRow(args)) return RowOf(args);
  BlockProduct(args, one_column, scratch).Run();
}

// NOLINTNEXTLINE(google-readability-namespace-comments)
}  // namespace lockstep::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace lockstep::inline v0_1::kernels {

HWY_EXPORT(GemmScratchOf);
HWY_EXPORT(GemmOf);

int64_t GemmScratch(int64_t m, int64_t n, int64_t k, int64_t segments) {
  return HWY_DYNAMIC_DISPATCH(GemmScratchOf)(m, n, k, std::max<int64_t>(segments, 1));
}

void Gemm(const GemmArgs& args, float* scratch) {
  // A product with one column is a row when looked at from the side: then the vectors run over m.
  const bool add_in_a_row = args.epilogue.add == nullptr || args.epilogue.add_stride == 1;
  if (args.n == 1 && args.m > 1 && args.c_stride == 1 && add_in_a_row) {
    GemmArgs turned = args;
    turned.m = 1;
    turned.n = args.m;
    turned.a = args.b.Transposed();
    turned.b = args.a.Transposed();
    turned.c_stride = turned.epilogue.add_stride = args.m;
    HWY_DYNAMIC_DISPATCH(GemmOf)(turned, /*one_column=*/true, scratch);
    return;
  }
  HWY_DYNAMIC_DISPATCH(GemmOf)(args, /*one_column=*/false, scratch);
}

}  // namespace lockstep::kernels
#endif  // HWY_ONCE
