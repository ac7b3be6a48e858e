// The products of attention: C (rows, lanes) = A (rows, depth) B (depth, lanes), a tile of C in
// registers, A and B read where they are. Every element is one chain of multiply-adds over the
// depth, begun at zero, whatever the tile around it. Included once per SIMD target.
#if defined(LOCKSTEP_ENGINE_KERNELS_ATTENTION_TILE_PRODUCT_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LOCKSTEP_ENGINE_KERNELS_ATTENTION_TILE_PRODUCT_INL_H_
#undef LOCKSTEP_ENGINE_KERNELS_ATTENTION_TILE_PRODUCT_INL_H_
#else
#define LOCKSTEP_ENGINE_KERNELS_ATTENTION_TILE_PRODUCT_INL_H_
#endif

#include <algorithm>
#include <array>
#include <cstdint>
#include <utility>

#include "engine/kernels/attention/attention_tiles.h"
#include "engine/kernels/product/gemm-inl.h"

HWY_BEFORE_NAMESPACE();
namespace lockstep::inline v0_1::kernels::HWY_NAMESPACE {

inline constexpr int64_t kNarrowPanel = kNarrowVecs * kLanes;

// Where the rows of A lie: any distance apart (fewer rows in a tile: each takes an address
// register), side by side, or as rows of a tile, kLaneStride apart.
enum class RowsOfA { kApart, kAdjacent, kPanel };

// Rows that will be read soon, fetched into the L2 cache a few lines with each tile of registers:
// heads lie side by side in a row, so that a head's rows are pages apart, and no hardware fetches
// them ahead. (A copy of rows of 256 bytes, 3 KB apart, moves 9 GB/s here where a stream has 60.)
class RowsAhead {
 public:
  // Instead of what is left of the last ones.
  void Clear() { count_ = at_ = 0; }
  void Add(const float* x, int64_t stride, int64_t rows, int64_t size) {
    if (rows > 0 && count_ < kMost) ranges_[count_++] = {x, stride, rows, size};
  }
  // Whether there was anything to fetch.
  bool Some() {
    for (int row = 0; row < kRowsAtOnce; ++row) {
      if (at_ == count_) return row > 0;
      Range& range = ranges_[at_];
      for (int64_t c = 0; c < range.size; c += 16) PrefetchL2(range.x + c);
      range.x += range.stride;
      if (--range.rows == 0) ++at_;
    }
    return true;
  }

 private:
  struct Range {
    const float* x;
    int64_t stride, rows, size;
  };
  static constexpr int kMost = 8, kRowsAtOnce = 4;
  Range ranges_[kMost];
  int count_ = 0, at_ = 0;
};
struct Ahead {
  void Some() {
    if (!soon.Some()) later.Some();
  }
  RowsAhead soon, later;
};

struct TileProduct {
  const float* a = nullptr;
  int64_t a_row = 0;   // kApart only
  int64_t a_step = 0;  // to the next of the depth
  const float* b = nullptr;
  int64_t b_step = 0;
  int64_t depth = 0;
  float* c = nullptr;
  int64_t c_stride = 0;
  // What happens to the sums: C = sums, C + sums, or C factor[lane] + sums.
  bool accumulate = false;
  const float* factor = nullptr;
  Ahead* ahead = nullptr;
};

template <int kTileRows, int kTileVecs, RowsOfA kRowsOfA>
HWY_NOINLINE void AttentionProductTile(const TileProduct& args) {
  const TileTag d;
  const int64_t a_row = kRowsOfA == RowsOfA::kAdjacent ? 1
                        : kRowsOfA == RowsOfA::kPanel  ? kLaneStride
                                                       : args.a_row;
  const int64_t a_step = kRowsOfA == RowsOfA::kAdjacent ? args.a_step : 1;
  const int64_t b_step = args.b_step;
  const float* HWY_RESTRICT a = args.a;
  const float* HWY_RESTRICT b = args.b;
  TileVec acc[kTileRows][kTileVecs];
  LOCKSTEP_GEMM_UNROLL
  for (int i = 0; i < kTileRows; ++i) {
    LOCKSTEP_GEMM_UNROLL
    for (int j = 0; j < kTileVecs; ++j) acc[i][j] = hn::Zero(d);
  }
  for (int64_t left = args.depth; left > 0; --left) {
    TileVec b_now[kTileVecs];
    LOCKSTEP_GEMM_UNROLL
    for (int j = 0; j < kTileVecs; ++j) b_now[j] = hn::LoadU(d, b + j * kLanes);
    LOCKSTEP_GEMM_UNROLL
    for (int i = 0; i < kTileRows; ++i) {
      const TileVec a_now = hn::Set(d, a[i * a_row]);
      LOCKSTEP_GEMM_UNROLL
      for (int j = 0; j < kTileVecs; ++j) acc[i][j] = hn::MulAdd(a_now, b_now[j], acc[i][j]);
    }
    a += a_step;
    b += b_step;
  }
  if (args.factor != nullptr) {
    LOCKSTEP_GEMM_UNROLL
    for (int j = 0; j < kTileVecs; ++j) {
      const TileVec factor = hn::LoadU(d, args.factor + j * kLanes);
      LOCKSTEP_GEMM_UNROLL
      for (int i = 0; i < kTileRows; ++i) {
        acc[i][j] =
            hn::MulAdd(hn::LoadU(d, args.c + i * args.c_stride + j * kLanes), factor, acc[i][j]);
      }
    }
  } else if (args.accumulate) {
    AddTile(args.c, args.c_stride, acc);
  }
  StoreTile(acc, args.c_stride, args.c);
}

template <int kTileVecs, RowsOfA kRowsOfA, int... kMinusOne>
constexpr auto AttentionTilesOf(std::integer_sequence<int, kMinusOne...>) {
  return std::array<void (*)(const TileProduct&), sizeof...(kMinusOne)>{
      AttentionProductTile<kMinusOne + 1, kTileVecs, kRowsOfA>...};
}

// Tiles of up to kMost rows, and how `rows` of them are dealt evenly.
template <RowsOfA kRowsOfA>
struct AttentionTileSet {
  static constexpr int kMost = kRowsOfA == RowsOfA::kApart ? kDirectRows : kRows;
  static constexpr auto kWhole =
      AttentionTilesOf<kVecs, kRowsOfA>(std::make_integer_sequence<int, kMost>());
  static constexpr auto kNarrow =
      AttentionTilesOf<kNarrowVecs, kRowsOfA>(std::make_integer_sequence<int, kMost>());
};

// All rows of C, and the `lanes` that B has: whole panels of kPanel, then kNarrowPanel.
// depth_from(r): where the depth begins for the tile of rows from r on (what is left out is zero).
template <RowsOfA kRowsOfA, class DepthFrom>
HWY_INLINE void Multiply(const TileProduct& args, int64_t rows, int64_t lanes,
                         const DepthFrom& depth_from) {
  using Set = AttentionTileSet<kRowsOfA>;
  const int64_t a_row = kRowsOfA == RowsOfA::kAdjacent ? 1
                        : kRowsOfA == RowsOfA::kPanel  ? kLaneStride
                                                       : args.a_row;
  const int64_t a_step = kRowsOfA == RowsOfA::kAdjacent ? args.a_step : 1;
  const int64_t tiles = (rows + Set::kMost - 1) / Set::kMost;
  for (int64_t lane = 0; lane < lanes;) {
    const bool narrow = lanes - lane <= kNarrowPanel;
    const auto& functions = narrow ? Set::kNarrow : Set::kWhole;
    TileProduct tile = args;
    if (args.factor != nullptr) tile.factor += lane;
    for (int64_t t = 0, row = 0; t < tiles; ++t) {
      const int64_t count = rows / tiles + (t < rows % tiles ? 1 : 0);
      const int64_t skip = depth_from(row);
      tile.a = args.a + row * a_row + skip * a_step;
      tile.b = args.b + lane + skip * args.b_step;
      tile.depth = args.depth - skip;
      tile.c = args.c + row * args.c_stride + lane;
      if (args.ahead != nullptr) args.ahead->Some();
      functions[static_cast<size_t>(count - 1)](tile);
      row += count;
    }
    lane += narrow ? kNarrowPanel : kPanel;
  }
}
template <RowsOfA kRowsOfA>
HWY_INLINE void Multiply(const TileProduct& args, int64_t rows, int64_t lanes) {
  Multiply<kRowsOfA>(args, rows, lanes, [](int64_t) { return int64_t{0}; });
}

// The same for A with adjacent rows and B of rows of a tile, where some that a lane does not see
// meet a value of A that is not finite: those are left out instead of multiplied by zero.
static HWY_NOINLINE HWY_MAYBE_UNUSED void MultiplySeen(const TileProduct& args, int64_t rows,
                                                       int64_t lanes, int64_t reach) {
  const hn::CappedTag<float, 1> d;
  for (int64_t row = 0; row < rows; ++row) {
    for (int64_t lane = 0; lane < lanes; ++lane) {
      auto sum = hn::Zero(d);
      for (int64_t k = 0; k < std::min(args.depth, reach + lane + 1); ++k) {
        sum = hn::MulAdd(hn::LoadU(d, args.a + row + k * args.a_step),
                         hn::LoadU(d, args.b + k * args.b_step + lane), sum);
      }
      float* c = args.c + row * args.c_stride + lane;
      if (args.factor != nullptr) {
        sum = hn::MulAdd(hn::LoadU(d, c), hn::LoadU(d, args.factor + lane), sum);
      } else if (args.accumulate) {
        sum = hn::Add(hn::LoadU(d, c), sum);
      }
      hn::StoreU(sum, d, c);
    }
  }
}

// Whether all of (rows, columns) is finite.
HWY_INLINE bool AllFinite(const float* x, int64_t stride, int64_t rows, int64_t columns) {
  const TileTag d;
  auto found = hn::Zero(d);
  float rest = 0.0f;
  for (int64_t r = 0; r < rows; ++r, x += stride) {
    int64_t c = 0;
    for (; c + kLanes <= columns; c += kLanes) {
      found = hn::MulAdd(hn::LoadU(d, x + c), hn::Zero(d), found);
    }
    for (; c < columns; ++c) rest += x[c] * 0.0f;
  }
  return rest == 0.0f && hn::AllTrue(d, hn::Eq(found, hn::Zero(d)));
}

}  // namespace lockstep::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // LOCKSTEP_ENGINE_KERNELS_ATTENTION_TILE_PRODUCT_INL_H_
