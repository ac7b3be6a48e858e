#include "engine/ops/conv_depthwise.h"

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstring>
#include <limits>

#include "engine/base/check.h"
#include "engine/base/integers.h"
#include "engine/kernels/conv/depthwise.h"
#include "engine/kernels/conv/weight_gradient_chains.h"
#include "engine/kernels/elementwise/elementwise.h"
#include "engine/kernels/product/chains.h"
#include "engine/ops/conv_cells.h"
#include "engine/ops/row_tasks.h"
#include "engine/parallel/shards.h"

namespace lockstep::inline v0_1::ops {
namespace {

using kernels::DepthwiseTap;
using kernels::PixelChains;
using kernels::PixelLines;

// Rounded up; b > 0.
constexpr int64_t CeilOf(int64_t a, int64_t b) { return a > 0 ? CeilDiv(a, b) : -(-a / b); }
constexpr int64_t FloorOf(int64_t a, int64_t b) { return -CeilOf(-a, b); }

int64_t Taps(const ConvShape& shape) { return shape.kernel_h * shape.kernel_w; }

// ---- Forward and data gradient. Along either dimension the places remainder, remainder + to_step,
// ... of what is written, numbered j = 0, 1, ..., read by tap k the places First + j from_step.
struct Axis {
  bool forward;                // else the data gradient
  int64_t to, from;            // extents
  int64_t to_step, from_step;  // the stride belongs to `from` forward, else to `to`
  int64_t kernel, pad, dilation;

  // False if they read nothing by it.
  bool First(int64_t k, int64_t remainder, int64_t* first) const {
    if (forward) {
      *first = k * dilation - pad;
      return true;
    }
    const int64_t reach = remainder + pad - k * dilation;
    *first = FloorOf(reach, to_step);
    return *first * to_step == reach;
  }
};

struct Pass {
  Axis h, w;
  int64_t to_c, from_c;
  int64_t repeats;  // channels of `from` that one of `to` adds up

  // As DepthwiseRun has it, of pixels that read by all taps.
  int64_t RowTaps() const {
    if (repeats != 1 || w.to_step != 1 || w.dilation != w.from_step) return 0;
    return w.forward ? w.kernel : -w.kernel;
  }
};

Pass ForwardPass(const ConvShape& s) {
  return {{true, s.out_h, s.in_h, 1, s.stride_h, s.kernel_h, s.pad_top, s.dilation_h},
          {true, s.out_w, s.in_w, 1, s.stride_w, s.kernel_w, s.pad_left, s.dilation_w},
          s.out_c,
          s.in_c,
          1};
}
Pass DataGradientPass(const ConvShape& s) {
  return {{false, s.in_h, s.out_h, s.stride_h, 1, s.kernel_h, s.pad_top, s.dilation_h},
          {false, s.in_w, s.out_w, s.stride_w, 1, s.kernel_w, s.pad_left, s.dilation_w},
          s.in_c,
          s.out_c,
          s.group_out()};
}
int64_t SumLength(const Pass& pass) { return pass.h.kernel * pass.w.kernel * pass.repeats; }

// What a thread needs: its list of taps, and where chains end among them.
int64_t ThreadFloats(const Pass& pass) {
  constexpr int64_t kTapFloats = sizeof(DepthwiseTap) / sizeof(float);
  constexpr int64_t kEndFloats = sizeof(int64_t) / sizeof(float);
  const int64_t length = SumLength(pass);
  return CeilDiv(length * kTapFloats + kernels::ChainsOf(length) * kEndFloats, 16) * 16;
}
constexpr int64_t kAlignFloats = 16;  // the scratch that is given need not be aligned

float* Aligned(std::span<float> scratch) {
  const auto address = reinterpret_cast<uintptr_t>(scratch.data());
  constexpr uintptr_t kBytes = kAlignFloats * sizeof(float);
  return reinterpret_cast<float*>((address + kBytes - 1) / kBytes * kBytes);
}

int64_t PassScratch(int threads, const Pass& pass) {
  return threads * ThreadFloats(pass) + kAlignFloats;
}

// The taps by which pixels read, in order. With `at` < 0 those of pixels remainder, remainder +
// to_step, ... of a line that read by all taps of their own; else those that pixel number `at` of
// these has.
class TapList {
 public:
  TapList(const Pass& pass, float* memory)
      : pass_(pass),
        taps_(reinterpret_cast<DepthwiseTap*>(memory)),
        ends_(reinterpret_cast<int64_t*>(taps_ + SumLength(pass))),
        chains_(kernels::ChainsOf(SumLength(pass))) {}

  void Make(int64_t line, int64_t remainder, int64_t at) {
    const Axis &h = pass_.h, &w = pass_.w;
    const int64_t length = SumLength(pass_);
    int64_t k = 0, chain = 0;
    count_ = 0;
    const auto pass_by = [&](int64_t more) {  // more terms of the sum, in the list or skipped
      k += more;
      while (chain + 1 < chains_ && k >= length * (chain + 1) / chains_) ends_[chain++] = count_;
    };
    for (int64_t kh = 0; kh < h.kernel; ++kh) {
      int64_t from_line = 0;
      bool reads = h.First(kh, line % h.to_step, &from_line);
      from_line += line / h.to_step * h.from_step;
      reads = reads && from_line >= 0 && from_line < h.from;
      for (int64_t kw = 0; kw < w.kernel; ++kw) {
        int64_t first = 0;
        const bool tap_reads = reads && w.First(kw, remainder, &first);
        const int64_t column = tap_reads && at >= 0 ? first + at * w.from_step : 0;
        if (!tap_reads || column < 0 || column >= w.from) {
          pass_by(pass_.repeats);
          continue;
        }
        for (int64_t r = 0; r < pass_.repeats; ++r) {
          taps_[count_++] = {.from = (from_line * w.from + first) * pass_.from_c + r,
                             .weight = ((kh * w.kernel + kw) * pass_.repeats + r) * pass_.to_c};
          pass_by(1);
        }
      }
    }
    ends_[chains_ - 1] = count_;
  }

  std::span<const DepthwiseTap> taps() const { return {taps_, static_cast<size_t>(count_)}; }
  std::span<const int64_t> chain_ends() const {
    return {ends_, chains_ > 1 ? static_cast<size_t>(chains_) : 0};
  }

 private:
  const Pass& pass_;
  DepthwiseTap* taps_;
  int64_t* ends_;
  int64_t chains_;
  int64_t count_ = 0;
};

// Of the pixels remainder, remainder + to_step, ... of a line (`count` of them, by number), those
// that read by all taps that any of them could.
IndexRange WholePixels(const Axis& w, int64_t remainder, int64_t count) {
  IndexRange whole{0, count};
  for (int64_t k = 0; k < w.kernel; ++k) {
    int64_t first = 0;
    if (!w.First(k, remainder, &first)) continue;
    whole.begin = std::max(whole.begin, CeilOf(-first, w.from_step));
    whole.end = std::min(whole.end, FloorOf(w.from - 1 - first, w.from_step) + 1);
  }
  if (whole.begin >= whole.end) return {0, 0};
  return whole;
}

// One line of one picture.
void RunLine(const Pass& pass, const ConvArgs& args, const int32_t* source, int64_t batch_line,
             IndexRange channels, TapList& taps) {
  const int64_t sample = batch_line / pass.h.to, line = batch_line % pass.h.to;
  const int64_t pixel = batch_line * pass.w.to;  // of all of `to`, the line's first
  kernels::DepthwiseRun run{.channels = channels,
                            .from_step = pass.w.from_step * pass.from_c,
                            .source = source,
                            .weights = args.packed,
                            .to_step = pass.w.to_step * pass.to_c,
                            .accumulate = args.accumulate,
                            .epilogue = args.epilogue};
  run.epilogue.add_stride = args.epilogue.add_stride * pass.w.to_step;
  const float* from = args.from + sample * pass.h.from * pass.w.from * pass.from_c;
  for (int64_t remainder = 0; remainder < std::min(pass.w.to_step, pass.w.to); ++remainder) {
    const int64_t count = CeilDiv(pass.w.to - remainder, pass.w.to_step);
    const auto run_pixels = [&](int64_t begin, int64_t end) {
      const int64_t at = pixel + remainder + begin * pass.w.to_step;
      run.pixels = end - begin;
      run.from = from + begin * run.from_step;
      run.taps = taps.taps();
      run.chain_ends = taps.chain_ends();
      run.to = args.to + at * pass.to_c;
      run.epilogue.add = args.epilogue.add == nullptr
                             ? nullptr
                             : args.epilogue.add + at * args.epilogue.add_stride;
      kernels::DepthwisePixels(run);
    };
    const auto run_alone = [&](int64_t i) {
      taps.Make(line, remainder, i);
      run_pixels(i, i + 1);
    };
    const IndexRange whole = WholePixels(pass.w, remainder, count);
    for (int64_t i = 0; i < whole.begin; ++i) run_alone(i);
    if (whole.size() > 0) {
      taps.Make(line, remainder, -1);
      run.row_taps = pass.RowTaps();
      run_pixels(whole.begin, whole.end);
      run.row_taps = 0;
    }
    for (int64_t i = whole.end; i < count; ++i) run_alone(i);
  }
}

void RunPass(Context& ctx, const Pass& pass, const ConvArgs& args, std::span<float> scratch) {
  const int64_t lines = args.batch * pass.h.to;
  if (lines == 0 || pass.w.to == 0) return;
  LOCKSTEP_CHECK_GE(static_cast<int64_t>(scratch.size()), PassScratch(ctx.threads(), pass));
  const int64_t weights = SumLength(pass) * pass.to_c;
  const auto* source =
      pass.to_c == pass.from_c ? nullptr : reinterpret_cast<const int32_t*>(args.packed + weights);
  const ConvCells cells(args, args.batch, pass.h.to, pass.w.to);
  // Tasks of a few lines; of ranges of channels where there are not enough of these.
  const int64_t elements = lines * pass.w.to * pass.to_c;
  const int64_t wanted = std::max<int64_t>(1, elements / kTaskElements);
  const int64_t groups = std::min(cells.count(), wanted);
  const int64_t parts = std::clamp<int64_t>(std::min<int64_t>(wanted, 2 * ctx.threads()) / groups,
                                            1, std::max<int64_t>(1, pass.to_c / 64));
  const int64_t work = elements * (2 + SumLength(pass) / 8);
  const int64_t thread_floats = ThreadFloats(pass);
  float* const memory = Aligned(scratch);
  ctx.ForWithThread(groups * parts, work, [&](int64_t task, int thread) {
    TapList taps(pass, memory + thread * thread_floats);
    const IndexRange channels = Part(pass.to_c, parts, task % parts, /*unit=*/16);
    if (channels.size() == 0) return;
    const IndexRange range = Part(cells.count(), groups, task / parts, /*unit=*/1);
    for (int64_t cell = range.begin; cell < range.end; ++cell) {
      const IndexRange lines_of_cell = cells.Lines({cell, cell + 1});
      for (int64_t line = lines_of_cell.begin; line < lines_of_cell.end; ++line)
        RunLine(pass, args, source, line, channels, taps);
      cells.Finish({cell, cell + 1}, channels);
    }
  });
}

// Where channel c of `to` begins to read.
void StoreSource(int64_t channels, int64_t times, int64_t over, float* to) {
  LOCKSTEP_CHECK(channels * times < std::numeric_limits<int32_t>::max(), "too many channels");
  for (int64_t c = 0; c < channels; ++c) {
    const auto source = static_cast<int32_t>(c * times / over);
    std::memcpy(to + c, &source, sizeof(source));
  }
}

int64_t PackedFloats(const Pass& pass) {
  return (SumLength(pass) + (pass.to_c == pass.from_c ? 0 : 1)) * pass.to_c;
}

}  // namespace

int64_t DepthwisePackedForwardFloats(const ConvShape& shape) {
  return PackedFloats(ForwardPass(shape));
}

// (taps, O), then the channels of x that each reads, if these are fewer.
void DepthwisePackForward(Context&, const ConvShape& shape, const float* w, float* packed) {
  const int64_t taps = Taps(shape);
  for (int64_t tap = 0; tap < taps; ++tap) {
    for (int64_t o = 0; o < shape.out_c; ++o) packed[tap * shape.out_c + o] = w[o * taps + tap];
  }
  if (shape.out_c != shape.in_c)
    StoreSource(shape.out_c, 1, shape.group_out(), packed + taps * shape.out_c);
}

int64_t DepthwisePackedDataGradientFloats(const ConvShape& shape) {
  return PackedFloats(DataGradientPass(shape));
}

// (taps, O / I, I), then the channels of dy at which each begins to read.
void DepthwisePackDataGradient(Context&, const ConvShape& shape, const float* w, float* packed) {
  const int64_t taps = Taps(shape), repeats = shape.group_out();
  for (int64_t tap = 0; tap < taps; ++tap) {
    for (int64_t r = 0; r < repeats; ++r) {
      for (int64_t i = 0; i < shape.in_c; ++i)
        packed[(tap * repeats + r) * shape.in_c + i] = w[(i * repeats + r) * taps + tap];
    }
  }
  if (repeats > 1) StoreSource(shape.in_c, repeats, 1, packed + taps * shape.out_c);
}

int64_t DepthwiseForwardScratch(int threads, const ConvShape& shape) {
  return PassScratch(threads, ForwardPass(shape));
}

void DepthwiseForward(Context& ctx, const ConvShape& shape, const ConvArgs& args,
                      std::span<float> scratch) {
  RunPass(ctx, ForwardPass(shape), args, scratch);
}

int64_t DepthwiseDataGradientScratch(int threads, const ConvShape& shape) {
  return PassScratch(threads, DataGradientPass(shape));
}

void DepthwiseDataGradient(Context& ctx, const ConvShape& shape, const ConvArgs& args,
                           std::span<float> scratch) {
  RunPass(ctx, DataGradientPass(shape), args, scratch);
}

// ---- Weight gradient.
namespace {

PixelLines LinesOf(const ConvShape& s) {
  const bool dense = Taps(s) == 1 && s.stride_h == 1 && s.stride_w == 1 && s.pad_top == 0 &&
                     s.pad_left == 0 && s.in_h == s.out_h && s.in_w == s.out_w;
  return {s.out_w, s.out_h, dense};
}
int64_t ChainsOf(const ConvShape& shape, int64_t samples) {
  return PixelChains(LinesOf(shape), 0, samples).count();
}

// A segment's chains are summed in parts of a power of two, which are subtrees: how many there are
// changes no bit.
struct WeightTasks {
  static constexpr int64_t kChannels = 128;
  static constexpr int64_t kMostParts = 8;

  int64_t segments, ranges, part_chains = 1, parts = 1;

  WeightTasks(const ConvShape& shape, int threads, int64_t segment_count, int64_t most_samples)
      : segments(segment_count), ranges(CeilDiv(shape.out_c, kChannels)) {
    const int64_t chains = ChainsOf(shape, most_samples);
    const int64_t wanted =
        threads == 1 ? 1 : std::min(kMostParts, CeilDiv(4 * threads, segments * ranges));
    part_chains = static_cast<int64_t>(
        std::bit_ceil(static_cast<uint64_t>(CeilDiv(chains, std::max<int64_t>(1, wanted)))));
    parts = CeilDiv(chains, part_chains);
  }
  IndexRange Channels(int64_t range, int64_t channels) const {
    return {range * kChannels, std::min(channels, (range + 1) * kChannels)};
  }
};

// Sums of chains that wait for a partner, with the one at hand.
constexpr int64_t kLevels = 64;

int64_t SlotFloats(const ConvShape& shape) { return Taps(shape) * shape.out_c; }
int64_t StackFloats(const ConvShape& shape, int64_t levels) {
  return levels * CeilDiv(Taps(shape) * std::min(shape.out_c, WeightTasks::kChannels), 16) * 16;
}
int64_t Levels(const ConvShape& shape, int64_t samples) {
  return std::bit_width(static_cast<uint64_t>(ChainsOf(shape, samples))) + 1;
}
int64_t SourceFloats(const ConvShape& shape) {
  return shape.out_c == shape.in_c ? 0 : CeilDiv(shape.out_c, 16) * 16;
}

}  // namespace

int64_t DepthwiseWeightGradientScratch(int threads, const ConvShape& shape, int64_t batch,
                                       int64_t segments) {
  // parts <= 4 threads / (segments ranges) + 1
  const int64_t slots = std::max<int64_t>(1, segments) + 4 * int64_t{threads};
  return slots * SlotFloats(shape) + threads * StackFloats(shape, Levels(shape, batch)) +
         SourceFloats(shape) + kAlignFloats;
}

void DepthwiseWeightGradient(Context& ctx, const ConvShape& shape,
                             const ConvWeightGradientArgs& args, std::span<float> scratch) {
  const int64_t all[] = {0, args.batch};
  const std::span<const int64_t> bounds = args.segments.size() > 1 ? args.segments : all;
  const int64_t segments = static_cast<int64_t>(bounds.size()) - 1;
  LOCKSTEP_CHECK_GE(static_cast<int64_t>(scratch.size()),
                    DepthwiseWeightGradientScratch(ctx.threads(), shape, args.batch, segments));
  const auto samples_of = [&](int64_t segment) {
    const auto s = static_cast<size_t>(segment);
    return IndexRange{bounds[s], bounds[s + 1]};
  };
  int64_t most = 0;
  for (int64_t s = 0; s < segments; ++s) most = std::max(most, samples_of(s).size());
  const WeightTasks tasks(shape, ctx.threads(), segments, most);
  const int64_t slot_floats = SlotFloats(shape), levels = Levels(shape, most);
  LOCKSTEP_CHECK_LE(levels, kLevels);
  float* const stacks = Aligned(scratch);
  float* const source_floats = stacks + ctx.threads() * StackFloats(shape, levels);
  float* const slots = source_floats + SourceFloats(shape);
  const int32_t* source = nullptr;
  if (shape.out_c != shape.in_c) {
    StoreSource(shape.out_c, 1, shape.group_out(), source_floats);
    source = reinterpret_cast<const int32_t*>(source_floats);
  }
  const auto slot_of = [&](int64_t segment, int64_t part) {
    return slots + (segment * tasks.parts + part) * slot_floats;
  };

  const bool dense = LinesOf(shape).dense;
  const auto run_chain = [&](const kernels::PixelChain& pixels, IndexRange channels, float* sums) {
    // Dense, the batch is one line.
    const int64_t height = dense ? 1 : shape.out_h;
    kernels::DepthwiseChain chain{
        .in_h = dense ? 1 : shape.in_h,
        .in_w = dense ? args.batch * shape.in_h * shape.in_w : shape.in_w,
        .in_c = shape.in_c,
        .out_w = dense ? args.batch * shape.out_h * shape.out_w : shape.out_w,
        .out_c = shape.out_c,
        .kernel_h = shape.kernel_h,
        .kernel_w = shape.kernel_w,
        .stride_h = shape.stride_h,
        .stride_w = shape.stride_w,
        .pad_top = shape.pad_top,
        .pad_left = shape.pad_left,
        .dilation_h = shape.dilation_h,
        .dilation_w = shape.dilation_w,
        .columns = {pixels.col, pixels.col_end},
        .channels = channels,
        .source = source,
        .sums = sums};
    if (pixels.pixels() == 0) std::fill_n(sums, Taps(shape) * channels.size(), 0.0f);
    for (int64_t line = pixels.line; line < pixels.line_end;) {
      const int64_t sample = line / height;
      const int64_t end = std::min(pixels.line_end, (sample + 1) * height);
      chain.rows = {line - sample * height, end - sample * height};
      chain.x = args.x + sample * chain.in_h * chain.in_w * shape.in_c;
      chain.dy = args.dy + sample * height * chain.out_w * shape.out_c;
      kernels::DepthwiseWeightChain(chain);
      chain.continues = true;
      line = end;
    }
  };

  const int64_t work =
      args.batch * shape.out_h * shape.out_w * shape.out_c * (2 + Taps(shape) / 8) + slot_floats;
  ctx.ForWithThread(segments * tasks.parts * tasks.ranges, work, [&](int64_t task, int thread) {
    const IndexRange channels = tasks.Channels(task % tasks.ranges, shape.out_c);
    const int64_t part = task / tasks.ranges % tasks.parts;
    const int64_t segment = task / tasks.ranges / tasks.parts;
    const IndexRange samples = samples_of(segment);
    const PixelChains chains(LinesOf(shape), samples.begin, samples.size());
    const int64_t begin = part * tasks.part_chains;
    const int64_t end = std::min(chains.count(), begin + tasks.part_chains);
    const int64_t width = channels.size(), taps = Taps(shape);
    float* const stack = stacks + thread * StackFloats(shape, levels);
    const int64_t level_floats = StackFloats(shape, 1);
    if (begin >= end) return;
    int64_t depth = 0;
    for (int64_t chain = begin; chain < end; ++chain) {
      run_chain(chains[chain], channels, stack + depth++ * level_floats);
      int64_t merges =
          chain + 1 == end ? depth - 1 : std::countr_one(static_cast<uint64_t>(chain - begin));
      for (; merges > 0; --merges) {
        --depth;
        float* const older = stack + (depth - 1) * level_floats;
        kernels::AddTo(older + level_floats, older, taps * width);
      }
    }
    float* const slot = slot_of(segment, part);
    for (int64_t tap = 0; tap < taps; ++tap)
      std::copy_n(stack + tap * width, width, slot + tap * shape.out_c + channels.begin);
  });

  // Parts into their segment, segments into the first.
  constexpr int64_t kColumns = 16;
  const int64_t taps = Taps(shape);
  ctx.For(CeilDiv(shape.out_c, kColumns), slot_floats * segments * tasks.parts, [&](int64_t task) {
    const IndexRange channels = Part(shape.out_c, CeilDiv(shape.out_c, kColumns), task, kColumns);
    const auto merge = [&](float* into, const float* from) {
      for (int64_t tap = 0; tap < taps; ++tap) {
        const int64_t at = tap * shape.out_c + channels.begin;
        kernels::AddTo(from + at, into + at, channels.size());
      }
    };
    for (int64_t s = 0; s < segments; ++s) {
      const int64_t parts = CeilDiv(ChainsOf(shape, samples_of(s).size()), tasks.part_chains);
      MergeTree(0, parts,
                [&](int64_t into, int64_t from) { merge(slot_of(s, into), slot_of(s, from)); });
    }
    MergeTree(0, segments,
              [&](int64_t into, int64_t from) { merge(slot_of(into, 0), slot_of(from, 0)); });
    for (int64_t o = channels.begin; o < channels.end; ++o) {
      float* dw = args.dw + o * taps;
      for (int64_t tap = 0; tap < taps; ++tap) {
        const float sum = slots[tap * shape.out_c + o];
        dw[tap] = args.accumulate ? dw[tap] + sum : sum;
      }
      kernels::NoteNotFinite(dw, taps, args.not_finite);
    }
  });
}

}  // namespace lockstep::ops
