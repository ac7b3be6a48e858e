// A task of forward takes lines of pictures. Tiles lie on a grid that begins at each picture's
// first pixel; a tile whose lines belong to two tasks is computed by both, each writing its own
// lines. As many tiles as the caches hold are transformed at once; then, for 32 channels of the
// result at a time, all their positions are multiplied and the tiles are finished.
#include "engine/ops/winograd.h"

#include <algorithm>
#include <array>
#include <cstdint>

#include "engine/base/check.h"
#include "engine/base/integers.h"
#include "engine/kernels/conv/conv.h"
#include "engine/kernels/conv/panel_product.h"
#include "engine/kernels/conv/winograd.h"
#include "engine/ops/conv_cells.h"

namespace lockstep::inline v0_1::ops {
namespace {

using kernels::kConvColumns;
using kernels::kConvPanel;

constexpr int64_t kMostTiles = 56;  // at once: four times the rows of the tallest tile of products
constexpr int64_t kFewestTiles = 28;
constexpr int64_t kCachedFloats = 160 * 1024;

struct Pass {
  Pass(const ConvShape& s, bool gradient)
      : m(s.algorithm == ConvAlgorithm::kWinograd4 ? 4 : 2),
        positions(kernels::WinogradPositions(m)),
        height(gradient ? s.in_h : s.out_h),
        width(gradient ? s.in_w : s.out_w),
        channels(gradient ? s.in_c : s.out_c),
        from_height(gradient ? s.out_h : s.in_h),
        from_width(gradient ? s.out_w : s.in_w),
        from_channels(gradient ? s.out_c : s.in_c),
        pad_top(gradient ? 2 - s.pad_top : s.pad_top),
        pad_left(gradient ? 2 - s.pad_left : s.pad_left),
        tile_columns(CeilDiv(width, m)) {
    const int64_t fitting = kCachedFloats / (positions * (from_channels + kConvColumns));
    tiles = std::clamp(fitting / 14 * 14, kFewestTiles, kMostTiles);
  }

  int64_t panel_floats() const { return from_channels * kConvPanel; }  // of one position
  int64_t packed_floats() const { return channels / kConvPanel * positions * panel_floats(); }
  int64_t input_stride() const { return PositionStride(tiles * from_channels); }
  int64_t output_stride() const { return PositionStride(tiles * kConvColumns); }
  int64_t input_floats() const { return positions * input_stride(); }
  int64_t output_floats() const { return positions * output_stride(); }
  int64_t thread_scratch() const {
    return input_floats() + output_floats() + kernels::PanelProduct::Scratch(from_channels);
  }

  int m;
  int64_t positions;
  int64_t height, width, channels;                 // of the result
  int64_t from_height, from_width, from_channels;  // of what is read
  int64_t pad_top, pad_left;
  int64_t tile_columns;
  int64_t tiles;  // at once
};

// Neighbouring tiles of a row of tiles, and which of its lines are to be written.
struct Stretch {
  int64_t sample, row, column, tiles;
  int64_t first_line, last_line;
};

class Worker {
 public:
  Worker(const Pass& pass, const ConvArgs& args, float* scratch)
      : pass_(pass),
        args_(args),
        input_(scratch),
        output_(input_ + pass.input_floats()),
        product_(pass.from_channels, output_ + pass.output_floats()) {}

  // Lines of the batch, and channels.
  void Run(IndexRange lines, IndexRange channels) {
    channels_ = channels;
    for (int64_t line = lines.begin; line < lines.end;) {
      const int64_t sample = line / pass_.height, at = line % pass_.height;
      const int64_t row = at / pass_.m;
      const int64_t last = std::min({pass_.height, (row + 1) * pass_.m, at + lines.end - line});
      for (int64_t tile = 0; tile < pass_.tile_columns;) {
        const int64_t count = std::min(pass_.tile_columns - tile, pass_.tiles - tiles_);
        Add({sample, row, tile, count, at - row * pass_.m, last - row * pass_.m});
        tile += count;
      }
      line += last - at;
    }
    Finish();
  }

 private:
  void Add(const Stretch& stretch) {
    kernels::WinogradInput(
        pass_.m, {.from = args_.from + stretch.sample * pass_.from_height * pass_.from_width *
                                           pass_.from_channels,
                  .height = pass_.from_height,
                  .width = pass_.from_width,
                  .channels = pass_.from_channels,
                  .pixel_stride = pass_.from_channels,
                  .line = stretch.row * pass_.m - pass_.pad_top,
                  .column = stretch.column * pass_.m - pass_.pad_left,
                  .tiles = stretch.tiles,
                  .to = input_ + tiles_ * pass_.from_channels,
                  .position_stride = pass_.input_stride()});
    stretches_[static_cast<size_t>(stretch_count_++)] = stretch;
    tiles_ += stretch.tiles;
    if (tiles_ == pass_.tiles) Finish();
  }

  void Finish() {
    if (tiles_ == 0) return;
    for (int64_t c = channels_.begin; c < channels_.end; c += kConvColumns) {
      const int64_t columns = std::min(kConvColumns, channels_.end - c);
      Multiply(c, columns);
      int64_t tile = 0;
      for (int64_t i = 0; i < stretch_count_; ++i) {
        const Stretch& stretch = stretches_[static_cast<size_t>(i)];
        Write(stretch, c, columns, output_ + tile * columns);
        tile += stretch.tiles;
      }
    }
    tiles_ = stretch_count_ = 0;
  }

  void Multiply(int64_t column, int64_t columns) {
    const int64_t panel_stride = pass_.positions * pass_.panel_floats();
    for (int64_t p = 0; p < pass_.positions; ++p) {
      product_.Run(tiles_, input_ + p * pass_.input_stride(),
                   args_.packed + column / kConvPanel * panel_stride + p * pass_.panel_floats(),
                   panel_stride, columns, columns, output_ + p * pass_.output_stride());
    }
  }

  void Write(const Stretch& stretch, int64_t column, int64_t columns, const float* from) {
    const int64_t line = pass_.width * pass_.channels;
    const int64_t to = (stretch.sample * pass_.height + stretch.row * pass_.m) * line +
                       stretch.column * pass_.m * pass_.channels + column;
    const kernels::Epilogue& epilogue = args_.epilogue;
    const auto at = [](const float* p, int64_t i) { return p == nullptr ? nullptr : p + i; };
    kernels::WinogradOutput(pass_.m, {.from = from,
                                      .position_stride = pass_.output_stride(),
                                      .tiles = stretch.tiles,
                                      .channels = columns,
                                      .to = args_.to + to,
                                      .line_stride = line,
                                      .pixel_stride = pass_.channels,
                                      .first_line = stretch.first_line,
                                      .last_line = stretch.last_line,
                                      .columns = pass_.width - stretch.column * pass_.m,
                                      .accumulate = args_.accumulate,
                                      .scale = at(epilogue.scale, column),
                                      .bias = at(epilogue.bias, column),
                                      .add = at(epilogue.add, to),
                                      .relu = epilogue.activation == kernels::Activation::kRelu});
  }

  const Pass& pass_;
  const ConvArgs& args_;
  float *input_, *output_;
  kernels::PanelProduct product_;
  std::array<Stretch, kMostTiles> stretches_;  // transformed, not yet finished
  int64_t stretch_count_ = 0, tiles_ = 0;
  IndexRange channels_;
};

}  // namespace

bool WinogradApplies(const ConvShape& s) {
  const auto whole = [](int64_t channels) {
    return channels > 0 && channels % kernels::kWinogradChannels == 0;
  };
  return s.kernel_h == 3 && s.kernel_w == 3 && s.stride_h == 1 && s.stride_w == 1 &&
         s.dilation_h == 1 && s.dilation_w == 1 && s.groups == 1 && whole(s.in_c) &&
         whole(s.out_c) && s.pad_top <= 2 && s.pad_left <= 2;
}

bool UsesWinograd(const ConvShape& s) {
  constexpr int64_t kFewest = 32;  // channels on either side
  constexpr int64_t kLeast = 4;    // extent: below, most of a tile lies outside of the picture
  constexpr int64_t kMost = 8;     // channels for each pixel: above, all time goes to the weights
  return s.algorithm != ConvAlgorithm::kDirect && WinogradApplies(s) &&
         std::min(s.in_c, s.out_c) >= kFewest && std::min(s.out_h, s.out_w) >= kLeast &&
         std::max(s.in_c, s.out_c) <= kMost * s.out_h * s.out_w;
}

int64_t WinogradPackedFloats(const ConvShape& shape, bool gradient) {
  return Pass(shape, gradient).packed_floats();
}

void WinogradPack(Context& ctx, const ConvShape& shape, bool gradient, const float* w,
                  float* packed) {
  const Pass pass(shape, gradient);
  const int64_t panels = pass.channels / kConvPanel, filter = 9 * shape.in_c;
  ctx.For(panels, pass.packed_floats() * 2, [&](int64_t panel) {
    const int64_t c = panel * kConvPanel;
    float* to = packed + panel * pass.positions * pass.panel_floats();
    if (gradient) {  // turned around: the last tap comes first
      kernels::WinogradFilter(pass.m, w + c + 8 * shape.in_c, -shape.in_c, 1, filter, shape.out_c,
                              to, pass.panel_floats());
    } else {
      kernels::WinogradFilter(pass.m, w + c * filter, shape.in_c, filter, 1, shape.in_c, to,
                              pass.panel_floats());
    }
  });
}

int64_t WinogradScratch(int threads, const ConvShape& shape, bool gradient) {
  return threads * Pass(shape, gradient).thread_scratch();
}

void WinogradConv(Context& ctx, const ConvShape& shape, bool gradient, const ConvArgs& args,
                  std::span<float> scratch) {
  const Pass pass(shape, gradient);
  const int64_t lines = args.batch * pass.height;
  const int64_t work = lines * pass.width * pass.channels * pass.from_channels / 2;
  const int64_t threads = work < Context::kInlineWork ? 1 : ctx.threads();
  LOCKSTEP_CHECK_GE(static_cast<int64_t>(scratch.size()), threads * pass.thread_scratch());
  constexpr int64_t kTaskFloats = 128 * 1024;
  const ConvCells cells(args, args.batch, pass.height, pass.width, pass.m);
  const ConvTasks tasks(cells, pass.channels, threads,
                        lines * pass.width * std::max(pass.channels, pass.from_channels),
                        kTaskFloats, /*splits=*/true, kConvColumns);
  ctx.ForWithThread(tasks.count(), work, [&](int64_t task, int thread) {
    Worker worker(pass, args, scratch.data() + thread * pass.thread_scratch());
    worker.Run(cells.Lines(tasks.Cells(task)), tasks.Channels(task));
    cells.Finish(tasks.Cells(task), tasks.Channels(task));
  });
}

}  // namespace lockstep::ops
