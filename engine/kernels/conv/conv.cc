#include "engine/kernels/conv/conv.h"

#include "engine/kernels/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "engine/kernels/conv/conv.cc"
#include <hwy/foreach_target.h>
//
#include <hwy/highway.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <utility>

#include "engine/kernels/conv/conv_tile-inl.h"
#include "engine/kernels/product/gemm_pack-inl.h"

HWY_BEFORE_NAMESPACE();
namespace lockstep::inline v0_1::kernels::HWY_NAMESPACE {

template <int kTileVecs, int... kMinusOne>
constexpr auto ConvTilesOf(std::integer_sequence<int, kMinusOne...>) {
  return std::array<ConvTileFunction, sizeof...(kMinusOne)>{ConvTile<kMinusOne + 1, kTileVecs>...};
}
// Indexed by rows - 1.
constexpr auto kConvTiles = ConvTilesOf<kVecs>(std::make_integer_sequence<int, kRows>());
constexpr auto kConvNarrowTiles =
    ConvTilesOf<kNarrowVecs>(std::make_integer_sequence<int, kRows>());

static_assert(kRows * kVecs * kLanes <= kConvSlot);
static_assert(kConvColumns % kPanel == 0);

void ConvRunOf(const ConvRunArgs& args) {
  const TileOutput output{args.to_step,         args.to_step, args.accumulate,
                          /*one_column=*/false, args.relu,    /*not_finite=*/nullptr};
  // Pixels are dealt evenly, so that no tile has too few chains in flight.
  const int64_t tiles = (args.pixels + kRows - 1) / kRows;
  for (int64_t column = 0; column < args.columns;) {
    const int64_t left = args.columns - column;
    const bool narrow = left <= kNarrowVecs * kLanes;
    ConvTileArgs tile;
    tile.width = narrow ? kNarrowVecs * kLanes : kPanel;
    tile.write.cols = std::min(left, tile.width);
    tile.write.scale = args.scale == nullptr ? nullptr : args.scale + column;
    tile.write.bias = args.bias == nullptr ? nullptr : args.bias + column;
    tile.write.output = &output;
    tile.from_step = args.from_step;
    tile.weights = args.packed + column / kConvPanel * args.panel_stride + column % kConvPanel;
    tile.panel_stride = args.panel_stride;
    tile.pieces = args.pieces;
    tile.end = args.pieces + args.count;
    tile.partial = args.partial;
    tile.fetch_ahead = args.fetch_ahead && column == 0;
    for (int64_t t = 0; t < tiles; ++t) {
      const int64_t row = args.pixels * t / tiles, end = args.pixels * (t + 1) / tiles;
      tile.first = row == 0;
      tile.last = end == args.pixels;
      tile.from = args.from + row * args.from_step;
      tile.write.c = args.to + row * args.to_step + column;
      tile.write.add = args.add == nullptr ? nullptr : args.add + row * args.to_step + column;
      (narrow ? kConvNarrowTiles : kConvTiles)[static_cast<size_t>(end - row - 1)](tile);
    }
    column += tile.width;
  }
}

void ConvPackPanelOf(const float* from, int64_t channel_step, int64_t k_step, int64_t channels,
                     int64_t k, float* panel) {
  PackPanel(from, channel_step, k_step, channels, k, kConvPanel, panel);
}

// NOLINTNEXTLINE(google-readability-namespace-comments)
}  // namespace lockstep::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace lockstep::inline v0_1::kernels {

HWY_EXPORT(ConvRunOf);
HWY_EXPORT(ConvPackPanelOf);

void ConvRun(const ConvRunArgs& args) { HWY_DYNAMIC_DISPATCH(ConvRunOf)(args); }

void ConvPackPanel(const float* from, int64_t channel_step, int64_t k_step, int64_t channels,
                   int64_t k, float* panel) {
  HWY_DYNAMIC_DISPATCH(ConvPackPanelOf)(from, channel_step, k_step, channels, k, panel);
}

}  // namespace lockstep::kernels
#endif  // HWY_ONCE
