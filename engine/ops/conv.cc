// Forward and data gradient are one gathering pass: each pixel of the result adds up what it reads
// through the taps that lie within the picture.
//
//   along one axis   forward     f = t * stride - pad + k * dilation
//                    gradient    f = (t + pad - k * dilation) / stride, where that is whole
//
// for the pixel t of the result, the tap k and the pixel f it reads. In the gradient the pixels t
// of one residue modulo the stride read through the same taps, every so many-th one
// (stride / gcd(stride, dilation)), and so are a dense convolution of their own.
//
// A task takes whole lines of the result and a range of its channels; 32 channels at a time, whose
// weights stay in the caches while the lines pass by. Pixels that read through the same taps are
// runs (engine/kernels/conv/conv.h) along the longest of three directions: the line, the column, or
// from sample to sample.
#include "engine/ops/conv.h"

#include <algorithm>
#include <cstdint>
#include <numeric>
#include <span>

#include "engine/base/check.h"
#include "engine/base/integers.h"
#include "engine/kernels/conv/conv.h"
#include "engine/kernels/conv/conv_program.h"
#include "engine/ops/conv_cells.h"
#include "engine/ops/conv_depthwise.h"
#include "engine/ops/conv_few_channels.h"
#include "engine/ops/winograd.h"

namespace lockstep::inline v0_1::ops {
namespace {

using kernels::kConvColumns;
using kernels::kConvPanel;

// The taps through which a pixel reads: k = first + i * step for i in [begin, end), which lie at
// from + i * from_step; from may lie outside the picture. None if end <= begin.
struct Taps {
  int64_t first = 0, step = 1;
  int64_t from = 0, from_step = 1;
  int64_t begin = 0, end = 0;

  bool SameAs(const Taps& o) const { return begin == o.begin && end == o.end; }
  bool Contain(const Taps& o) const { return begin <= o.begin && o.end <= end; }
};

// One of the two axes of a pass.
struct Axis {
  bool gradient;
  int64_t to, from;  // extents
  int64_t kernel, stride, pad, dilation;

  // Pixels so far apart read through the same taps, but for the edges of the picture,
  int64_t period() const { return gradient ? stride : 1; }
  // and pixels of `from` so far apart.
  int64_t from_period() const { return gradient ? 1 : stride; }

  // Along the pixels of a class begin and end never rise, or in the gradient never fall.
  Taps At(int64_t t) const {
    Taps taps;
    int64_t count = kernel;
    if (!gradient) {
      taps.from = t * stride - pad;
      taps.from_step = dilation;
    } else {
      const int64_t common = std::gcd(stride, dilation);
      taps.step = stride / common;
      while (taps.first < taps.step && (t + pad - taps.first * dilation) % stride != 0) {
        ++taps.first;
      }
      if (taps.first == taps.step || taps.first >= kernel) return taps;  // none
      taps.from = (t + pad - taps.first * dilation) / stride;
      taps.from_step = -dilation / common;
      count = CeilDiv(kernel - taps.first, taps.step);
    }
    // 0 <= from + i * from_step < this->from
    const int64_t step = gradient ? -taps.from_step : taps.from_step;
    const int64_t before = gradient ? taps.from - (from - 1) : -taps.from;
    const int64_t room = gradient ? taps.from : from - 1 - taps.from;
    taps.begin = before > 0 ? std::min(count, CeilDiv(before, step)) : 0;
    taps.end = room < 0 ? 0 : std::min(count, room / step + 1);
    return taps;
  }
};

// A gathering pass, forward or data gradient.
struct Pass {
  Pass(const ConvShape& s, bool gradient)
      : rows{gradient,
             gradient ? s.in_h : s.out_h,
             gradient ? s.out_h : s.in_h,
             s.kernel_h,
             s.stride_h,
             s.pad_top,
             s.dilation_h},
        columns{gradient,
                gradient ? s.in_w : s.out_w,
                gradient ? s.out_w : s.in_w,
                s.kernel_w,
                s.stride_w,
                s.pad_left,
                s.dilation_w},
        groups(s.groups),
        to_c(gradient ? s.in_c : s.out_c),
        from_c(gradient ? s.out_c : s.in_c),
        group_to(to_c / groups),
        group_from(from_c / groups),
        chains(s.kernel_h * s.kernel_w, group_from) {
    // Every pixel alone: one long column of samples.
    if (s.kernel_h == 1 && s.kernel_w == 1 && s.stride_h == 1 && s.stride_w == 1 &&
        s.pad_top == 0 && s.pad_left == 0 && s.in_h == s.out_h && s.in_w == s.out_w) {
      folded = rows.to * columns.to;
      rows.to = rows.from = columns.to = columns.from = 1;
    }
  }

  int64_t taps() const { return rows.kernel * columns.kernel; }
  int64_t to_line() const { return columns.to * to_c; }
  int64_t from_line() const { return columns.from * from_c; }
  int64_t panels() const { return CeilDiv(group_to, kConvPanel); }
  int64_t panel_floats() const { return taps() * group_from * kConvPanel; }
  int64_t packed_floats() const { return groups * panels() * panel_floats(); }

  int64_t program_floats() const {
    constexpr auto kPieceFloats = static_cast<int64_t>(sizeof(kernels::ConvPiece) / sizeof(float));
    return RoundUp(chains.MostPieces() * kPieceFloats, 16);
  }
  int64_t thread_scratch() const {
    return program_floats() + chains.MostWaiting() * kernels::kConvSlot;
  }

  // Lines of a task that go through all of its channels before the next ones. Where the weights are
  // few they stay in the cache, and a band's results are written whole while they are in L1 (Zen 4,
  // 1x1 from 64 to 256 channels: 0.82 of the peak rate, against 0.70 with a task as one band).
  int64_t BandLines(int64_t to_channels, int64_t lines) const {
    constexpr int64_t kFewWeights = 65536, kBandFloats = 16384;
    if (to_channels * taps() * group_from > kFewWeights) return lines;
    return std::clamp<int64_t>(kBandFloats / std::max(to_line(), from_line()), 1, lines);
  }

  Axis rows, columns;
  int64_t groups;
  int64_t to_c, from_c;
  int64_t group_to, group_from;
  kernels::ConvChains chains;
  int64_t folded = 1;  // pixels of a picture that are taken as samples
};

// Pixels of one class, in one direction: `count` of them, from `begin` in steps of the period.
struct Extent {
  int64_t begin, count;
  Taps taps;                // of the pixels; all, where the edges are left aside
  bool first_edge = false;  // the first pixel reads through fewer taps,
  bool last_edge = false;   // or the last
  Taps first_taps = {}, last_taps = {};
};

// The pixels from `begin` on, below `end`, that read through the same taps as it does.
Extent ExtentFrom(const Axis& axis, int64_t begin, int64_t end) {
  Extent extent{begin, 1, axis.At(begin)};
  // The last pixel that is like the first: all between them are, too.
  for (int64_t differs = CeilDiv(end - begin, axis.period()); differs > extent.count;) {
    const int64_t middle = (extent.count - 1 + differs) / 2;  // the first is number 0
    if (axis.At(begin + middle * axis.period()).SameAs(extent.taps)) {
      extent.count = middle + 1;
    } else {
      differs = middle;
    }
  }
  return extent;
}

// Lines [begin, end) of each of the samples [first_sample, last_sample).
struct Block {
  int64_t first_sample, last_sample;
  int64_t begin, end;
};

class Worker {
 public:
  Worker(const Pass& pass, const ConvArgs& args, float* scratch)
      : pass_(pass),
        args_(args),
        program_(pass.chains, scratch),
        partial_(scratch + pass.program_floats()) {}

  // Channels [column, column + count) of a group, count <= kConvColumns, of the lines [begin, end)
  // of all samples as one sequence: part of a picture, whole ones, part of another.
  void RunLines(int64_t begin, int64_t end, int64_t group, int64_t column, int64_t count) {
    const int64_t height = pass_.rows.to;
    for (int64_t line = begin; line < end;) {
      const int64_t sample = line / height, first = line % height;
      const int64_t whole = first == 0 ? (end - line) / height : 0;
      const int64_t lines = whole > 0 ? height : std::min(height - first, end - line);
      const int64_t samples = std::max<int64_t>(whole, 1);
      Run({sample, sample + samples, first, first + lines}, group, column, count);
      line += lines * samples;
    }
  }

 private:
  static constexpr int64_t kEnough = 6;  // pixels of a run

  void Run(const Block& block, int64_t group, int64_t column, int64_t count) {
    block_ = block;
    group_ = group;
    const int64_t channel = group * pass_.group_to + column;
    run_.packed =
        args_.packed + (group * pass_.panels() + column / kConvPanel) * pass_.panel_floats();
    run_.panel_stride = pass_.panel_floats();
    run_.columns = count;
    run_.fetch_ahead = pass_.taps() == 1 && column == 0;
    run_.accumulate = args_.accumulate;
    const kernels::Epilogue& epilogue = args_.epilogue;
    run_.scale = epilogue.scale == nullptr ? nullptr : epilogue.scale + channel;
    run_.bias = epilogue.bias == nullptr ? nullptr : epilogue.bias + channel;
    run_.relu = epilogue.activation == kernels::Activation::kRelu;
    run_.partial = partial_;
    channel_ = channel;
    const Axis &rows = pass_.rows, &columns = pass_.columns;
    for (int64_t h = 0; h < std::min(rows.period(), block.end - block.begin); ++h) {
      for (int64_t line = block.begin + h; line < block.end;) {
        const Extent lines = ExtentFrom(rows, line, block.end);
        for (int64_t w = 0; w < std::min(columns.period(), columns.to); ++w) RunClass(lines, w);
        line += lines.count * rows.period();
      }
    }
  }

  // The pixels of residue w of the lines. The longest run takes along the pixel on either side of
  // it, where that reads through fewer taps: a line of a small picture is then one tile. (That cuts
  // the taps of a line, which with few channels would else be one piece; with edges of their own
  // they are a tenth slower all the same, Zen 4, 3x3 from 3 channels.)
  void RunClass(const Extent& lines, int64_t w) {
    const Axis& axis = pass_.columns;
    Extent longest{w, 0, {}};
    for (int64_t t = w; t < axis.to;) {
      const Extent pixels = ExtentFrom(axis, t, axis.to);
      if (pixels.count > longest.count) longest = pixels;
      t += pixels.count * axis.period();
    }
    int64_t begin = longest.begin, end = begin + longest.count * axis.period();
    if (begin != w) {
      longest.first_taps = axis.At(begin - axis.period());
      longest.first_edge = longest.taps.Contain(longest.first_taps);
      if (longest.first_edge) begin -= axis.period();
    }
    if (end < axis.to) {
      longest.last_taps = axis.At(end);
      longest.last_edge = longest.taps.Contain(longest.last_taps);
      if (longest.last_edge) end += axis.period();
    }
    longest.begin = begin;
    longest.count = (end - begin) / axis.period();
    for (int64_t t = w; t < axis.to;) {
      const Extent pixels = t == begin ? longest : ExtentFrom(axis, t, t < begin ? begin : axis.to);
      RunPixels(lines, pixels);
      t += pixels.count * axis.period();
    }
  }

  void RunPixels(const Extent& lines, const Extent& pixels) {
    Compile(lines.taps, pixels);
    struct Direction {
      int64_t count, from, to;
    };
    const int64_t samples = block_.last_sample - block_.first_sample;
    const int64_t from_picture = pass_.rows.from * pass_.from_line();
    const int64_t to_picture = pass_.rows.to * pass_.to_line();
    Direction along{pixels.count, pass_.columns.from_period() * pass_.from_c,
                    pass_.columns.period() * pass_.to_c};
    Direction down{lines.count, pass_.rows.from_period() * pass_.from_line(),
                   pass_.rows.period() * pass_.to_line()};
    Direction deep{samples, from_picture, to_picture};
    const bool edges = pixels.first_edge || pixels.last_edge;
    if (!edges && along.count < kEnough) {
      if (down.count > along.count) std::swap(along, down);
      if (along.count < kEnough && deep.count > along.count) std::swap(along, deep);
    }
    run_.pieces = program_.pieces();
    run_.count = program_.count();
    run_.pixels = along.count;
    run_.from_step = along.from;
    run_.to_step = along.to;
    const int64_t first_from = block_.first_sample * from_picture +
                               lines.taps.from * pass_.from_line() + origin_ * pass_.from_c +
                               group_ * pass_.group_from;
    const int64_t first_to = block_.first_sample * to_picture + lines.begin * pass_.to_line() +
                             pixels.begin * pass_.to_c + channel_;
    for (int64_t i = 0; i < deep.count; ++i) {
      for (int64_t j = 0; j < down.count; ++j) {
        run_.from = args_.from + first_from + i * deep.from + j * down.from;
        const int64_t to = first_to + i * deep.to + j * down.to;
        run_.to = args_.to + to;
        run_.add = args_.epilogue.add == nullptr ? nullptr : args_.epilogue.add + to;
        kernels::ConvRun(run_);
      }
    }
  }

  void Compile(const Taps& lines, const Extent& pixels) {
    const Taps& across = pixels.taps;
    // Where the first pixel of the run has its origin.
    origin_ = across.from - (pixels.first_edge ? pass_.columns.from_period() : 0);
    const kernels::ConvChains& chains = pass_.chains;
    program_.Begin();
    for (int64_t i = lines.begin; i < lines.end; ++i) {
      for (int64_t j = across.begin; j < across.end; ++j) {
        const int64_t tap =
            (lines.first + i * lines.step) * pass_.columns.kernel + across.first + j * across.step;
        kernels::ConvPiece piece;
        const int64_t from =
            i * lines.from_step * pass_.from_line() + j * across.from_step * pass_.from_c;
        piece.skips_first =
            pixels.first_edge && (j < pixels.first_taps.begin || j >= pixels.first_taps.end);
        piece.skips_last =
            pixels.last_edge && (j < pixels.last_taps.begin || j >= pixels.last_taps.end);
        for (int64_t part = 0; part < chains.parts(); ++part) {
          const int64_t c = chains.PartBegin(part);
          piece.from = from + c;
          piece.weight = static_cast<int32_t>(tap * pass_.group_from + c);
          piece.length = static_cast<int32_t>(chains.PartBegin(part + 1) - c);
          program_.Add(piece, chains.ChainAt(tap, part));
        }
      }
    }
    program_.End();
  }

  const Pass& pass_;
  const ConvArgs& args_;
  kernels::ConvProgram program_;
  float* partial_;
  kernels::ConvRunArgs run_;
  Block block_{};
  int64_t group_ = 0, channel_ = 0;
  int64_t origin_ = 0;
};

constexpr int64_t kCachedFloats = 65536;  // of the lines of a task: half of a small L2 cache

// These lines, and these channels of each group.
void RunTask(const Pass& pass, const ConvArgs& args, IndexRange lines, IndexRange channels,
             float* scratch) {
  Worker worker(pass, args, scratch);
  const int64_t band = pass.BandLines(channels.size(), lines.size());
  for (int64_t line = lines.begin; line < lines.end; line += band) {
    for (int64_t group = 0; group < pass.groups; ++group) {
      for (int64_t c = channels.begin; c < channels.end; c += kConvColumns) {
        worker.RunLines(line, std::min(line + band, lines.end), group, c,
                        std::min(kConvColumns, channels.end - c));
      }
    }
  }
}

void RunPass(Context& ctx, const Pass& pass, const ConvArgs& args, std::span<float> scratch) {
  const int64_t pictures = args.batch * pass.folded, lines = pictures * pass.rows.to;
  const int64_t work = std::max<int64_t>(1, lines * pass.to_line() * pass.taps() * pass.group_from /
                                                8 / (pass.rows.period() * pass.columns.period()));
  const int64_t threads = work < Context::kInlineWork ? 1 : ctx.threads();
  LOCKSTEP_CHECK_GE(static_cast<int64_t>(scratch.size()), threads * pass.thread_scratch());
  const int64_t floats =
      lines *
      std::max(pass.to_line(), pass.from_line() * pass.rows.from_period() / pass.rows.period());
  const ConvCells cells(args, pictures, pass.rows.to, pass.columns.to);
  const ConvTasks tasks(cells, pass.to_c, threads, floats, kCachedFloats,
                        /*splits=*/pass.groups == 1, kConvColumns);
  ctx.ForWithThread(tasks.count(), work, [&](int64_t task, int thread) {
    const IndexRange all = tasks.Channels(task);
    const IndexRange channels = pass.groups == 1 ? all : IndexRange{0, pass.group_to};
    RunTask(pass, args, cells.Lines(tasks.Cells(task)), channels,
            scratch.data() + thread * pass.thread_scratch());
    cells.Finish(tasks.Cells(task), all);
  });
}

// Packs every panel of every group: `from` the first weight of a group's channel.
template <class PackPanel>
void PackAll(Context& ctx, const Pass& pass, float* packed, const PackPanel& pack) {
  const int64_t panels = pass.groups * pass.panels();
  ctx.For(panels, pass.packed_floats(), [&](int64_t at) {
    const int64_t group = at / pass.panels(), channel = at % pass.panels() * kConvPanel;
    pack(group, channel, std::min(kConvPanel, pass.group_to - channel),
         packed + at * pass.panel_floats());
  });
}

}  // namespace

// ---- Forward
int64_t PackedForwardFloats(const ConvShape& shape) {
  if (shape.depthwise()) return DepthwisePackedForwardFloats(shape);
  if (UsesWinograd(shape)) return WinogradPackedFloats(shape, /*gradient=*/false);
  return Pass(shape, false).packed_floats();
}

void PackForward(Context& ctx, const ConvShape& shape, const float* w, float* packed) {
  if (shape.depthwise()) return DepthwisePackForward(ctx, shape, w, packed);
  if (UsesWinograd(shape)) return WinogradPack(ctx, shape, /*gradient=*/false, w, packed);
  const Pass pass(shape, false);
  const int64_t k = pass.taps() * pass.group_from;
  PackAll(ctx, pass, packed, [&](int64_t group, int64_t o, int64_t count, float* panel) {
    kernels::ConvPackPanel(w + (group * pass.group_to + o) * k, k, 1, count, k, panel);
  });
}

int64_t ConvForwardScratch(int threads, const ConvShape& shape, int64_t /*batch*/) {
  if (shape.depthwise()) return DepthwiseForwardScratch(threads, shape);
  if (UsesWinograd(shape)) return WinogradScratch(threads, shape, /*gradient=*/false);
  return threads * Pass(shape, false).thread_scratch();
}

void ConvForward(Context& ctx, const ConvShape& shape, const ConvArgs& args,
                 std::span<float> scratch) {
  if (shape.depthwise()) return DepthwiseForward(ctx, shape, args, scratch);
  if (UsesWinograd(shape)) return WinogradConv(ctx, shape, /*gradient=*/false, args, scratch);
  RunPass(ctx, Pass(shape, false), args, scratch);
}

// ---- Data gradient
int64_t PackedDataGradientFloats(const ConvShape& shape) {
  if (shape.depthwise()) return DepthwisePackedDataGradientFloats(shape);
  if (UsesFewChannels(shape)) return FewChannelsPackedFloats(shape);
  if (UsesWinograd(shape)) return WinogradPackedFloats(shape, /*gradient=*/true);
  return Pass(shape, true).packed_floats();
}

void PackDataGradient(Context& ctx, const ConvShape& shape, const float* w, float* packed) {
  if (shape.depthwise()) return DepthwisePackDataGradient(ctx, shape, w, packed);
  if (UsesFewChannels(shape)) return FewChannelsPack(ctx, shape, w, packed);
  if (UsesWinograd(shape)) return WinogradPack(ctx, shape, /*gradient=*/true, w, packed);
  const Pass pass(shape, true);
  const int64_t filter = pass.taps() * pass.group_to;  // weights of one channel of dy
  PackAll(ctx, pass, packed, [&](int64_t group, int64_t i, int64_t count, float* panel) {
    const float* from = w + group * pass.group_from * filter + i;
    for (int64_t tap = 0; tap < pass.taps(); ++tap) {
      kernels::ConvPackPanel(from + tap * pass.group_to, 1, filter, count, pass.group_from,
                             panel + tap * pass.group_from * kConvPanel);
    }
  });
}

int64_t ConvDataGradientScratch(int threads, const ConvShape& shape, int64_t /*batch*/) {
  if (shape.depthwise()) return DepthwiseDataGradientScratch(threads, shape);
  if (UsesFewChannels(shape)) return FewChannelsScratch(threads, shape);
  if (UsesWinograd(shape)) return WinogradScratch(threads, shape, /*gradient=*/true);
  return threads * Pass(shape, true).thread_scratch();
}

void ConvDataGradient(Context& ctx, const ConvShape& shape, const ConvArgs& args,
                      std::span<float> scratch) {
  if (shape.depthwise()) return DepthwiseDataGradient(ctx, shape, args, scratch);
  if (UsesFewChannels(shape)) return FewChannelsDataGradient(ctx, shape, args, scratch);
  if (UsesWinograd(shape)) return WinogradConv(ctx, shape, /*gradient=*/true, args, scratch);
  RunPass(ctx, Pass(shape, true), args, scratch);
}

}  // namespace lockstep::ops
