// A task of forward takes lines of pictures. Tiles lie on a grid that begins at each picture's first
// pixel; a tile whose lines belong to two tasks is computed by both, each writing its own lines. As
// many tiles as the caches hold are transformed at once; then, for 32 channels of the result at a
// time, all their positions are multiplied and the tiles are finished.
#include "engine/ops/winograd.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cstdint>

#include "engine/base/check.h"
#include "engine/base/integers.h"
#include "engine/kernels/conv/conv.h"
#include "engine/kernels/conv/conv_program.h"
#include "engine/kernels/conv/winograd.h"
#include "engine/kernels/elementwise/elementwise.h"
#include "engine/kernels/product/gemm.h"
#include "engine/parallel/shards.h"

namespace lockstep::ops {
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
        tile_columns(CeilDiv(width, m)),
        chains(1, from_channels) {
    const int64_t fitting = kCachedFloats / (positions * (from_channels + kConvColumns));
    tiles = std::clamp(fitting / 14 * 14, kFewestTiles, kMostTiles);
  }

  int64_t panel_floats() const { return from_channels * kConvPanel; }  // of one position
  int64_t packed_floats() const { return channels / kConvPanel * positions * panel_floats(); }
  int64_t input_floats() const { return positions * tiles * from_channels; }
  int64_t output_floats() const { return positions * tiles * kConvColumns; }
  int64_t program_floats() const {
    return RoundUp(chains.MostPieces() * static_cast<int64_t>(sizeof(kernels::ConvPiece) / 4), 16);
  }
  int64_t thread_scratch() const {
    return input_floats() + output_floats() + program_floats() +
           chains.MostWaiting() * kernels::kConvSlot;
  }

  int m;
  int64_t positions;
  int64_t height, width, channels;                 // of the result
  int64_t from_height, from_width, from_channels;  // of what is read
  int64_t pad_top, pad_left;
  int64_t tile_columns;
  kernels::ConvChains chains;
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
        program_(pass.chains, output_ + pass.output_floats()),
        partial_(output_ + pass.output_floats() + pass.program_floats()) {
    program_.Begin();
    for (int64_t part = 0; part < pass.chains.parts(); ++part) {
      const int64_t begin = pass.chains.PartBegin(part);
      program_.Add({.from = begin,
                    .weight = static_cast<int32_t>(begin),
                    .length = static_cast<int32_t>(pass.chains.PartBegin(part + 1) - begin)},
                   pass.chains.ChainAt(0, part));
    }
    program_.End();
  }

  // Lines [begin, end) of the batch, channels [column, column_end).
  void Run(int64_t begin, int64_t end, int64_t column, int64_t column_end) {
    column_ = column;
    column_end_ = column_end;
    for (int64_t line = begin; line < end;) {
      const int64_t sample = line / pass_.height, at = line % pass_.height;
      const int64_t row = at / pass_.m;
      const int64_t last = std::min({pass_.height, (row + 1) * pass_.m, at + end - line});
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
                  .position_stride = pass_.tiles * pass_.from_channels});
    stretches_[static_cast<size_t>(stretch_count_++)] = stretch;
    tiles_ += stretch.tiles;
    if (tiles_ == pass_.tiles) Finish();
  }

  void Finish() {
    if (tiles_ == 0) return;
    for (int64_t c = column_; c < column_end_; c += kConvColumns) {
      const int64_t columns = std::min(kConvColumns, column_end_ - c);
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
    kernels::ConvRunArgs run;
    run.pixels = tiles_;
    run.from_step = pass_.from_channels;
    run.pieces = program_.pieces();
    run.count = program_.count();
    run.panel_stride = pass_.positions * pass_.panel_floats();
    run.to_step = run.columns = columns;
    run.partial = partial_;
    for (int64_t p = 0; p < pass_.positions; ++p) {
      run.from = input_ + p * pass_.tiles * pass_.from_channels;
      run.packed = args_.packed + column / kConvPanel * run.panel_stride + p * pass_.panel_floats();
      run.to = output_ + p * pass_.tiles * kConvColumns;
      kernels::ConvRun(run);
    }
  }

  void Write(const Stretch& stretch, int64_t column, int64_t columns, const float* from) {
    const int64_t line = pass_.width * pass_.channels;
    const int64_t to = (stretch.sample * pass_.height + stretch.row * pass_.m) * line +
                       stretch.column * pass_.m * pass_.channels + column;
    const kernels::Epilogue& epilogue = args_.epilogue;
    const auto at = [](const float* p, int64_t i) { return p == nullptr ? nullptr : p + i; };
    kernels::WinogradOutput(pass_.m, {.from = from,
                                      .position_stride = pass_.tiles * kConvColumns,
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
  kernels::ConvProgram program_;
  float* partial_;
  std::array<Stretch, kMostTiles> stretches_;  // transformed, not yet finished
  int64_t stretch_count_ = 0, tiles_ = 0;
  int64_t column_ = 0, column_end_ = 0;
};

// ---- The weight gradient. A chunk of tiles is transformed on both sides and multiplied, position
// by position; chunks merge like a binary counter. A task does that for a piece of a shard's chunks
// and a block of either side's channels. Pieces are whole subtrees; what they leave merges in the
// same tree, and only then are the filters transformed back.
constexpr int64_t kChunk = 64;             // tiles of a chain
constexpr int64_t kBlock = 64;             // channels
constexpr int64_t kMostPieces = 16;        // of a shard
constexpr int64_t kPieceFloats = 1 << 21;  // of all pieces' sums

struct GradientPass {
  explicit GradientPass(const ConvShape& s)
      : m(s.algorithm == ConvAlgorithm::kWinograd4 ? 4 : 2),
        positions(kernels::WinogradPositions(m)),
        shape(s),
        tile_columns(CeilDiv(s.out_w, m)),
        sample_tiles(CeilDiv(s.out_h, m) * tile_columns) {}

  int64_t filters() const { return shape.out_c * shape.in_c; }
  int64_t in_blocks() const { return CeilDiv(shape.in_c, kBlock); }
  int64_t out_blocks() const { return CeilDiv(shape.out_c, kBlock); }
  int64_t Chunks(int64_t samples) const { return CeilDiv(samples * sample_tiles, kChunk); }
  int64_t MostPieces() const {
    return std::clamp<int64_t>(kPieceFloats / (positions * filters()), 1, kMostPieces);
  }
  // A power of two, so that a piece is a subtree.
  int64_t ChunksOfPiece(int64_t chunks) const {
    int64_t of_piece = 1;
    while (CeilDiv(chunks, of_piece) > MostPieces()) of_piece *= 2;
    return of_piece;
  }
  // Sums of a piece's subtrees that wait, beside its first one.
  static int64_t Waiting(int64_t chunks_of_piece) {
    return std::bit_width(static_cast<uint64_t>(chunks_of_piece)) - 1;
  }

  static constexpr int64_t kBlockFloats = kBlock * kBlock;
  int64_t slot_floats() const { return positions * kBlockFloats; }
  int64_t side_floats() const { return positions * kChunk * kBlock; }
  int64_t thread_scratch(int64_t samples) const {
    const int64_t waiting = Waiting(ChunksOfPiece(Chunks(samples)));
    return 2 * side_floats() + waiting * slot_floats() +
           RoundUp(kernels::GemmScratch(kBlock, kBlock, kChunk, 1), 16);
  }
  // For any number of samples up to this one: fewer chunks may be more pieces.
  int64_t piece_scratch(int64_t samples) const {
    return std::clamp<int64_t>(Chunks(samples), 1, MostPieces()) * positions * filters();
  }
  // The gradients of shards that wait for a partner.
  static int64_t WaitingShards(int64_t segments) {
    return std::bit_width(static_cast<uint64_t>(segments - 1));
  }

  int m;
  int64_t positions;
  const ConvShape& shape;
  int64_t tile_columns, sample_tiles;
};

// Sums of neighbouring blocks of channels, for each position: rows of output channels.
struct Sums {
  float* data;
  int64_t position_stride, row_stride;
};

class PieceWorker {
 public:
  PieceWorker(const GradientPass& pass, const ConvWeightGradientArgs& args, float* scratch)
      : pass_(pass),
        args_(args),
        x_(scratch),
        dy_(x_ + pass.side_floats()),
        slots_(dy_ + pass.side_floats()) {}

  // The chunks [begin, end) of the samples [first, last), into `total`, for blocks of channels.
  void Run(IndexRange samples, IndexRange chunks, int64_t waiting, int64_t in, int64_t out,
           const Sums& total) {
    in_ = in, out_ = out;
    in_count_ = std::min(kBlock, pass_.shape.in_c - in);
    out_count_ = std::min(kBlock, pass_.shape.out_c - out);
    gemm_scratch_ = slots_ + waiting * pass_.slot_floats();
    const auto slot = [&](int64_t i) {
      if (i == 0) return total;
      return Sums{slots_ + (i - 1) * pass_.slot_floats(), GradientPass::kBlockFloats, kBlock};
    };
    int64_t open = 0;  // sums that wait
    for (int64_t chunk = chunks.begin; chunk < chunks.end; ++chunk) {
      Transform(samples, chunk);
      // The second of a pair is added to the first as it is made.
      const int64_t done = chunk - chunks.begin + 1;
      if (done % 2 == 1) {
        Multiply(slot(open++), /*accumulate=*/false);
      } else {
        Multiply(slot(open - 1), /*accumulate=*/true);
      }
      for (int64_t pairs = done; pairs % 4 == 0; pairs /= 2, --open)
        Add(slot(open - 1), slot(open - 2));
    }
    for (; open > 1; --open) Add(slot(open - 1), slot(open - 2));
  }

 private:
  void Transform(IndexRange samples, int64_t chunk) {
    const ConvShape& s = pass_.shape;
    const int64_t end = std::min((chunk + 1) * kChunk, samples.size() * pass_.sample_tiles);
    tiles_ = 0;
    for (int64_t tile = chunk * kChunk; tile < end;) {
      const int64_t sample = samples.begin + tile / pass_.sample_tiles;
      const int64_t row = tile % pass_.sample_tiles / pass_.tile_columns;
      const int64_t column = tile % pass_.tile_columns;
      const int64_t count = std::min(pass_.tile_columns - column, end - tile);
      kernels::WinogradInput(pass_.m, {.from = args_.x + sample * s.in_h * s.in_w * s.in_c + in_,
                                       .height = s.in_h,
                                       .width = s.in_w,
                                       .channels = in_count_,
                                       .pixel_stride = s.in_c,
                                       .line = row * pass_.m - s.pad_top,
                                       .column = column * pass_.m - s.pad_left,
                                       .tiles = count,
                                       .to = x_ + tiles_ * in_count_,
                                       .position_stride = kChunk * kBlock});
      kernels::WinogradInputGradient(
          pass_.m, {.from = args_.dy + sample * s.out_h * s.out_w * s.out_c + out_,
                    .height = s.out_h,
                    .width = s.out_w,
                    .channels = out_count_,
                    .pixel_stride = s.out_c,
                    .line = row * pass_.m,
                    .column = column * pass_.m,
                    .tiles = count,
                    .to = dy_ + tiles_ * out_count_,
                    .position_stride = kChunk * kBlock});
      tile += count;
      tiles_ += count;
    }
  }

  void Multiply(const Sums& into, bool accumulate) {
    for (int64_t p = 0; p < pass_.positions; ++p) {
      const float *x = x_ + p * kChunk * kBlock, *dy = dy_ + p * kChunk * kBlock;
      kernels::Gemm({.m = out_count_,
                     .n = in_count_,
                     .k = tiles_,
                     .a = kernels::RowMajor(dy, out_count_).Transposed(),
                     .b = kernels::RowMajor(x, in_count_),
                     .c = into.data + p * into.position_stride,
                     .c_stride = into.row_stride,
                     .accumulate = accumulate},
                    gemm_scratch_);
    }
  }

  void Add(const Sums& from, const Sums& into) {
    for (int64_t p = 0; p < pass_.positions; ++p) {
      for (int64_t o = 0; o < out_count_; ++o) {
        float* to = into.data + p * into.position_stride + o * into.row_stride;
        kernels::Add(to, from.data + p * from.position_stride + o * from.row_stride, to, in_count_);
      }
    }
  }

  const GradientPass& pass_;
  const ConvWeightGradientArgs& args_;
  float *x_, *dy_, *slots_, *gemm_scratch_ = nullptr;
  int64_t in_ = 0, out_ = 0, in_count_ = 0, out_count_ = 0;
  int64_t tiles_ = 0;
};

// The rest of a shard's gradient, for output channel o: its pieces merge, the filters are
// transformed back, and shards that are complete merge.
//   waiting   gradients of older shards, `open` of them, of which `merges` join
void FinishFilters(const GradientPass& pass, float* pieces, int64_t piece_count, int64_t o,
                   float* waiting, int64_t open, int64_t merges, bool last,
                   const ConvWeightGradientArgs& args) {
  const int64_t in = pass.shape.in_c, weights = pass.shape.weights();
  const int64_t piece_floats = pass.positions * pass.filters();
  float* sums = pieces + o * in;
  for (int64_t p = 0; p < pass.positions; ++p) {
    float* at = sums + p * pass.filters();
    if (piece_count == 0) std::fill_n(at, in, 0.0f);
    MergeTree(0, piece_count, [&](int64_t into, int64_t from) {
      kernels::AddTo(at + from * piece_floats, at + into * piece_floats, in);
    });
  }
  kernels::WinogradFilterGradient(pass.m, sums, pass.filters(), in, sums, pass.filters());
  float found = 0.0f;
  for (int64_t tap = 0; tap < 9; ++tap) {
    float* v = sums + tap * pass.filters();
    const int64_t at = (o * 9 + tap) * in;
    for (int64_t i = open - 1; i >= open - merges; --i)
      kernels::AddTo(waiting + i * weights + at, v, in);
    if (last && args.accumulate) kernels::AddTo(args.dw + at, v, in);
    std::copy_n(v, in, (last ? args.dw : waiting + (open - merges) * weights) + at);
    for (int64_t i = 0; i < in; ++i) found += 0.0f * v[i];
  }
  if (last && args.not_finite != nullptr && found != 0.0f)
    args.not_finite->store(true, std::memory_order_relaxed);
}

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
  return s.algorithm != ConvAlgorithm::kDirect && WinogradApplies(s) &&
         std::min(s.in_c, s.out_c) >= kFewest && std::min(s.out_h, s.out_w) >= kLeast;
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
  if (lines == 0) return;

  const auto cells_of_grid = static_cast<int64_t>(args.row_grid.size()) - 1;
  const bool gridded = cells_of_grid >= 1;
  if (gridded) LOCKSTEP_CHECK_EQ(args.row_grid.back(), lines * pass.width);
  const int64_t tile_rows = CeilDiv(pass.height, pass.m);
  const int64_t cells = gridded ? cells_of_grid : args.batch * tile_rows;
  const auto cell_row = [&](int64_t cell) {
    if (gridded) return args.row_grid[static_cast<size_t>(cell)];
    const int64_t line = cell / tile_rows * pass.height + cell % tile_rows * pass.m;
    return line * pass.width;
  };
  constexpr int64_t kTaskFloats = 128 * 1024, kTasksPerThread = 4;
  int64_t row_blocks = std::max(
      CeilDiv(lines * pass.width * std::max(pass.channels, pass.from_channels), kTaskFloats),
      threads == 1 ? 1 : kTasksPerThread * threads);
  row_blocks = std::min(row_blocks, cells);
  int64_t width = pass.channels;
  if (row_blocks < threads) {
    const int64_t wanted = CeilDiv(threads, row_blocks);
    width = RoundUp(CeilDiv(pass.channels, wanted), kConvColumns);
  }
  const int64_t column_blocks = CeilDiv(pass.channels, width);

  ctx.ForWithThread(row_blocks * column_blocks, work, [&](int64_t task, int thread) {
    const int64_t block = task % row_blocks, column = task / row_blocks * width;
    const int64_t column_end = std::min(column + width, pass.channels);
    const int64_t first = cells * block / row_blocks, last = cells * (block + 1) / row_blocks;
    Worker worker(pass, args, scratch.data() + thread * pass.thread_scratch());
    worker.Run(cell_row(first) / pass.width, cell_row(last) / pass.width, column, column_end);
    if (!args.finished) return;
    if (!gridded) return (*args.finished)(cell_row(first), cell_row(last), column, column_end);
    for (int64_t cell = first; cell < last; ++cell)
      (*args.finished)(cell_row(cell), cell_row(cell + 1), column, column_end);
  });
}

int64_t WinogradWeightGradientScratch(int threads, const ConvShape& shape, int64_t batch,
                                      int64_t segments) {
  const GradientPass pass(shape);
  return threads * pass.thread_scratch(batch) + pass.piece_scratch(batch) +
         GradientPass::WaitingShards(std::max<int64_t>(1, segments)) * shape.weights();
}

void WinogradWeightGradient(Context& ctx, const ConvShape& shape,
                            const ConvWeightGradientArgs& args, std::span<float> scratch) {
  const GradientPass pass(shape);
  const int64_t whole[] = {0, args.batch};
  const std::span<const int64_t> segments =
      args.segments.size() > 1 ? args.segments : std::span<const int64_t>(whole);
  const auto count = static_cast<int64_t>(segments.size()) - 1;
  float* waiting = scratch.data();
  float* pieces = waiting + GradientPass::WaitingShards(count) * shape.weights();
  int64_t open = 0;  // gradients of shards that wait
  for (int64_t segment = 0; segment < count; ++segment) {
    const IndexRange samples{segments[static_cast<size_t>(segment)],
                             segments[static_cast<size_t>(segment) + 1]};
    const int64_t chunks = pass.Chunks(samples.size());
    const int64_t of_piece = pass.ChunksOfPiece(chunks);
    const int64_t piece_count = CeilDiv(chunks, of_piece);
    const int64_t piece_floats = pass.positions * pass.filters();
    const int64_t blocks = pass.in_blocks() * pass.out_blocks();
    float* threads = pieces + std::max<int64_t>(1, piece_count) * piece_floats;
    const int64_t thread_scratch = pass.thread_scratch(samples.size());
    LOCKSTEP_CHECK_LE(threads - scratch.data() + ctx.threads() * thread_scratch,
                      static_cast<int64_t>(scratch.size()));
    ctx.ForWithThread(
        piece_count * blocks, chunks * kChunk * pass.filters(), [&](int64_t task, int thread) {
          const int64_t piece = task / blocks, block = task % blocks;
          const int64_t in = block % pass.in_blocks() * kBlock;
          const int64_t out = block / pass.in_blocks() * kBlock;
          PieceWorker worker(pass, args, threads + thread * thread_scratch);
          worker.Run(
              samples, {piece * of_piece, std::min(chunks, (piece + 1) * of_piece)},
              GradientPass::Waiting(of_piece), in, out,
              {pieces + piece * piece_floats + out * shape.in_c + in, pass.filters(), shape.in_c});
        });
    // Which shards are complete with this one: as a binary counter, the last completes all.
    const bool last = segment + 1 == count;
    const int64_t merges = last ? open : std::countr_one(static_cast<uint64_t>(segment));
    ctx.For(shape.out_c, pass.filters() * 32, [&](int64_t o) {
      FinishFilters(pass, pieces, piece_count, o, waiting, open, merges, last, args);
    });
    open += 1 - merges;
  }
}

}  // namespace lockstep::ops
