// The weight gradient by Winograd's algorithm. A chunk of tiles is transformed on both sides and
// multiplied, position by position; chunks merge like a binary counter. A task does that for a
// piece of a shard's chunks and a block of either side's channels. Pieces are whole subtrees; what
// they leave merges in the same tree, and only then are the filters transformed back.
#include <algorithm>
#include <atomic>
#include <bit>
#include <cstdint>

#include "engine/base/check.h"
#include "engine/base/integers.h"
#include "engine/kernels/conv/winograd.h"
#include "engine/kernels/elementwise/elementwise.h"
#include "engine/kernels/product/gemm.h"
#include "engine/ops/winograd.h"
#include "engine/parallel/shards.h"

namespace lockstep::inline v0_1::ops {
namespace {

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
  static constexpr int64_t kSideStride = PositionStride(kChunk * kBlock);
  int64_t slot_floats() const { return positions * kBlockFloats; }
  int64_t side_floats() const { return positions * kSideStride; }
  int64_t thread_scratch(int64_t samples) const {
    const int64_t waiting = Waiting(ChunksOfPiece(Chunks(samples)));
    return 2 * side_floats() + waiting * slot_floats() +
           RoundUp(kernels::GemmScratch(kBlock, kBlock, kChunk, 1), 16);
  }
  // For up to so many samples: fewer may make more pieces, of fewer chunks each.
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
                                       .position_stride = GradientPass::kSideStride});
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
                    .position_stride = GradientPass::kSideStride});
      tile += count;
      tiles_ += count;
    }
  }

  void Multiply(const Sums& into, bool accumulate) {
    for (int64_t p = 0; p < pass_.positions; ++p) {
      const float* x = x_ + p * GradientPass::kSideStride;
      const float* dy = dy_ + p * GradientPass::kSideStride;
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
