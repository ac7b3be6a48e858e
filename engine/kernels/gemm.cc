#include "engine/kernels/gemm.h"

#include "engine/kernels/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "engine/kernels/gemm.cc"
#include <hwy/foreach_target.h>
//
#include <hwy/highway.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <utility>

#include "engine/kernels/gemm-inl.h"
#include "engine/kernels/gemm_pack-inl.h"

HWY_BEFORE_NAMESPACE();
namespace lockstep::kernels::HWY_NAMESPACE {

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

constexpr int64_t CeilDiv(int64_t a, int64_t b) { return (a + b - 1) / b; }
constexpr int64_t AlignUp(int64_t floats) { return CeilDiv(floats, 16) * 16; }

// Partial sums that one tile may have to keep: those that wait for a partner and the chain.
int64_t SlotsOf(int64_t segments) { return std::bit_width(static_cast<uint64_t>(segments)); }

// A panel of B, the panels of A, the partial sums, in this order.
struct ScratchSizes {
  int64_t panel_b, panels_a, partial;
};
ScratchSizes SizesOf(int64_t m, int64_t n, int64_t k, int64_t segments) {
  constexpr int64_t kTileFloats = kRows * kPanel;
  const int64_t depth = std::min(k, kDepth);
  const int64_t tiles = k > kDepth ? CeilDiv(m, kDirectRows) * CeilDiv(n, kPanel) : 1;
  return {depth * kWideVecs * kLanes + kLanes, AlignUp(m * depth + kLanes),
          tiles * SlotsOf(segments) * kTileFloats};
}

int64_t GemmScratchOf(int64_t m, int64_t n, int64_t k, int64_t segments) {
  const ScratchSizes sizes = SizesOf(m, n, k, segments);
  return AlignUp(sizes.panel_b) + sizes.panels_a + sizes.partial;
}

// Fetches the part of B that the next panel will be packed from, a little with each tile of this
// one, into the L2 cache. (Zen 3, B transposed: packing was 11 % of a 2048-cubed product without
// it.)
class PanelPrefetch {
 public:
  PanelPrefetch(const ConstMatrix& b, const Stretch& stretch, int64_t col, int64_t col_end,
                int64_t tiles) {
    const int64_t depth = stretch.k_end - stretch.k_begin;
    if (col >= col_end || depth * (col_end - col) < kL1Floats / 4) return;
    const bool by_rows = b.col_stride == 1;
    if (!by_rows && b.row_stride != 1) return;
    start_ = b.data + stretch.k_begin * b.row_stride + col * b.col_stride;
    stride_ = by_rows ? b.row_stride : b.col_stride;
    const int64_t runs = by_rows ? depth : col_end - col;
    lines_ = CeilDiv(by_rows ? col_end - col : depth, kLineFloats);
    left_ = runs * lines_;
    each_ = CeilDiv(left_, tiles);
  }
  void Some() {
    for (int64_t i = std::min(each_, left_); i > 0; --i) {
      __builtin_prefetch(start_ + line_ * kLineFloats, 0, 2);
      if (++line_ == lines_) line_ = 0, start_ += stride_;
    }
    left_ -= std::min(each_, left_);
  }

 private:
  static constexpr int64_t kLineFloats = 16;
  const float* start_ = nullptr;  // of the run: a row or column of the panel
  int64_t stride_ = 0, lines_ = 0, line_ = 0, left_ = 0, each_ = 0;
};

// scalar_bias: one bias for every column.
void GemmOf(const GemmArgs& args, bool scalar_bias, float* scratch) {
  const int64_t m = args.m, n = args.n, k = args.k;
  if (m == 0 || n == 0) return;
  const ConstMatrix &a = args.a, &b = args.b;
  const TileOutput output{args.c_stride, args.accumulate, scalar_bias,
                          args.activation == Activation::kRelu};

  const int64_t one_segment[2] = {0, k};
  const bool segmented = args.segments.size() > 2;
  Stretch stretch{};
  stretch.bounds = segmented ? args.segments.data() : one_segment;
  stretch.segments = segmented ? static_cast<int64_t>(args.segments.size()) - 1 : 1;

  const bool wide = m <= kWideRows;
  const int64_t panel_cols = wide ? kWideVecs * kLanes : kPanel;
  const int64_t panels = CeilDiv(n, panel_cols);
  // Packing A pays when several panels of B read it.
  const bool pack_a = !wide && (panels > 4 || (panels > 1 && m * k > kL1Floats));
  // Rows are dealt evenly, so that no tile has too few chains in flight.
  const int64_t most_rows = wide ? kWideRows : pack_a ? kRows : kDirectRows;
  const int64_t tiles = CeilDiv(m, most_rows);
  const int64_t tile_rows = m / tiles, larger_tiles = m % tiles;
  const auto first_row = [=](int64_t t) { return t * tile_rows + std::min(t, larger_tiles); };
  const bool pack_b = b.col_stride != 1 || (tiles > 2 && k * b.row_stride > kL1Floats);

  const ScratchSizes sizes = SizesOf(m, n, k, stretch.segments);
  float* panel_b = scratch;
  float* panels_a = panel_b + AlignUp(sizes.panel_b);
  float* partial = panels_a + sizes.panels_a;
  const int64_t slots = SlotsOf(stretch.segments) * kRows * kPanel;

  const int64_t steps = std::max<int64_t>(1, CeilDiv(k, kDepth));
  for (int64_t step = 0; step < steps; ++step) {
    stretch.k_begin = k * step / steps;
    stretch.k_end = k * (step + 1) / steps;
    stretch.last = step + 1 == steps;
    while (stretch.bounds[stretch.first_segment + 1] < stretch.k_begin) ++stretch.first_segment;
    if (step > 0 && stretch.bounds[stretch.first_segment + 1] == stretch.k_begin) {
      ++stretch.first_segment;
    }
    const int64_t depth = stretch.k_end - stretch.k_begin;

    for (int64_t panel = 0; panel < panels; ++panel) {
      int64_t col = panel * panel_cols;
      int64_t cols = std::min(panel_cols, n - col);
      const bool narrow = !wide && cols <= kNarrowVecs * kLanes && first_row(1) <= kDirectRows;
      const int64_t width = narrow ? kNarrowVecs * kLanes : panel_cols;
      if (cols < width && n >= width && !args.accumulate) {
        // A whole panel that begins earlier writes some columns again, with the same bits: faster
        // than part of a panel.
        col = n - width;
        cols = width;
      }
      TileArgs tile;
      tile.cols = cols;
      tile.bias = args.bias == nullptr ? nullptr : args.bias + (scalar_bias ? 0 : col);
      tile.stretch = &stretch;
      tile.output = &output;
      tile.b = b.data + stretch.k_begin * b.row_stride + col * b.col_stride;
      tile.b_step = b.row_stride;
      if (pack_b || cols < width) {
        PackPanel(tile.b, b.col_stride, b.row_stride, cols, depth, width, panel_b);
        tile.b = panel_b;
        tile.b_step = width;
      }
      const TileFunction* functions = wide     ? kWideTiles.data()
                                      : narrow ? kNarrowTiles.data()
                                      : pack_a ? kPackedTiles.data()
                                               : kDirectTiles.data();
      PanelPrefetch next_b(b, stretch, col + panel_cols, std::min(n, col + 2 * panel_cols), tiles);
      for (int64_t t = 0; t < tiles; ++t) {
        const int64_t row = first_row(t), rows = first_row(t + 1) - row;
        tile.a = a.data + row * a.row_stride + stretch.k_begin * a.col_stride;
        tile.a_row = a.row_stride;
        tile.a_step = a.col_stride;
        if (pack_a) {
          float* packed = panels_a + row * depth;
          if (panel == 0 && a.row_stride != 1) {
            PackPanel(tile.a, a.row_stride, a.col_stride, rows, depth, rows, packed);
          } else if (panel == 0 && t % kPackedAtOnce == 0) {
            int64_t rows_of[kPackedAtOnce + 1];
            const int many = static_cast<int>(std::min<int64_t>(kPackedAtOnce, tiles - t));
            for (int i = 0; i <= many; ++i) rows_of[i] = first_row(t + i);
            PackNeighbours(tile.a, a.col_stride, rows_of, many, m - row, depth, panels_a);
          }
          tile.a = packed;
          tile.a_row = 1;
          tile.a_step = rows;
        }
        next_b.Some();
        tile.c = args.c + row * args.c_stride + col;
        tile.partial = partial + (steps > 1 ? (panel * tiles + t) * slots : 0);
        tile.next_partial = steps > 1 && step > 0 ? tile.partial + slots : nullptr;
        functions[rows - 1](tile);
      }
    }
  }
}

// NOLINTNEXTLINE(google-readability-namespace-comments)
}  // namespace lockstep::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace lockstep::kernels {

HWY_EXPORT(GemmScratchOf);
HWY_EXPORT(GemmOf);

int64_t GemmScratch(int64_t m, int64_t n, int64_t k, int64_t segments) {
  return HWY_DYNAMIC_DISPATCH(GemmScratchOf)(m, n, k, std::max<int64_t>(segments, 1));
}

void Gemm(const GemmArgs& args, float* scratch) {
  // A product with one column is a row when looked at from the side: then the vectors run over m.
  if (args.n == 1 && args.m > 1 && args.c_stride == 1) {
    GemmArgs turned = args;
    turned.m = 1;
    turned.n = args.m;
    turned.a = args.b.Transposed();
    turned.b = args.a.Transposed();
    turned.c_stride = args.m;
    HWY_DYNAMIC_DISPATCH(GemmOf)(turned, /*scalar_bias=*/true, scratch);
    return;
  }
  HWY_DYNAMIC_DISPATCH(GemmOf)(args, /*scalar_bias=*/false, scratch);
}

}  // namespace lockstep::kernels
#endif  // HWY_ONCE
