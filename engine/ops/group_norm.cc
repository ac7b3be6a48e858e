#include "engine/ops/group_norm.h"

#include <algorithm>

#include "engine/base/check.h"
#include "engine/kernels/norm/group_norm.h"
#include "engine/kernels/norm/moments.h"
#include "engine/kernels/norm/normalize.h"
#include "engine/parallel/shards.h"

namespace lockstep::ops {
namespace {

// Positions whose sums are one partial result. Fixed, because it shapes the sums.
constexpr int64_t kStretch = 1024;

// What a pass over a sample works through at once, backwards: large enough to stream, small enough
// that a reversed pass finds the end of the previous one in cache.
constexpr int64_t kPieceFloats = 32768;

// Tensors beyond this are gone from every cache when whoever reads them next begins.
constexpr int64_t kBeyondCaches = (int64_t{24} << 20) / static_cast<int64_t>(sizeof(float));

int64_t Stretches(const GroupNormShape& shape) {
  return (shape.positions + kStretch - 1) / kStretch;
}

IndexRange StretchRows(const GroupNormShape& shape, int64_t stretch) {
  return {stretch * kStretch, std::min(shape.positions, (stretch + 1) * kStretch)};
}

// A sample's partial results: (stretches, 2, C) doubles, then 2 C doubles of room for the constants
// of its dx.
double* SampleSlot(const GroupNormShape& shape, double* partials, int64_t sample) {
  return partials + sample * (Stretches(shape) + 1) * 2 * shape.channels;
}

float* SampleConstants(const GroupNormShape& shape, double* partials, int64_t sample) {
  double* slot = SampleSlot(shape, partials, sample);
  return reinterpret_cast<float*>(slot + Stretches(shape) * 2 * shape.channels);
}

// Runs the three stages for every sample: gather(sample, rows, slot) for each stretch, finish(
// sample) once, apply(sample, rows) for pieces of each stretch. With samples enough for the threads
// one task takes a sample through all stages while it is in cache; otherwise the stretches of a
// sample are shared. Who runs what does not show in the result.
template <class Gather, class Finish, class Apply>
void RunStages(Context& context, const GroupNormShape& shape, double* partials, int64_t work,
               const Gather& gather, const Finish& finish, const Apply& apply) {
  const int64_t stretches = Stretches(shape);
  const auto gather_stretch = [&](int64_t sample, int64_t stretch) {
    gather(sample, StretchRows(shape, stretch),
           SampleSlot(shape, partials, sample) + stretch * 2 * shape.channels);
  };
  const auto apply_stretch = [&](int64_t sample, int64_t stretch) {
    const IndexRange rows = StretchRows(shape, stretch);
    const int64_t piece = std::max<int64_t>(4, kPieceFloats / shape.channels / 4 * 4);
    for (int64_t end = rows.end; end > rows.begin; end -= piece) {
      apply(sample, IndexRange{std::max(rows.begin, end - piece), end});
    }
  };
  if (stretches == 1 || shape.samples >= 4 * context.threads()) {
    context.For(shape.samples, work, [&](int64_t sample) {
      for (int64_t s = 0; s < stretches; ++s) gather_stretch(sample, s);
      finish(sample);
      for (int64_t s = stretches - 1; s >= 0; --s) apply_stretch(sample, s);
    });
    return;
  }
  const int64_t tasks = shape.samples * stretches;
  context.For(tasks, work / 2, [&](int64_t t) { gather_stretch(t / stretches, t % stretches); });
  context.For(shape.samples, work / kStretch, finish);
  context.For(tasks, work / 2, [&](int64_t t) { apply_stretch(t / stretches, t % stretches); });
}

// The samples of each shard, then the shards, in slot 0: the first 2 C doubles of every sample.
void MergeSamples(Context& context, const GroupNormShape& shape, double* partials) {
  constexpr int64_t kPart = 512;  // of the 2 C numbers; they merge independently
  const int64_t numbers = 2 * shape.channels;
  context.For((numbers + kPart - 1) / kPart, shape.samples * numbers, [&](int64_t task) {
    const int64_t begin = task * kPart;
    const auto add = [&](int64_t into, int64_t from) {
      kernels::AddSums(SampleSlot(shape, partials, from) + begin, std::min(kPart, numbers - begin),
                       SampleSlot(shape, partials, into) + begin);
    };
    const auto range = [&](int64_t shard) {
      return ShardRange(shape.samples, shape.shards, shard);
    };
    for (int64_t shard = 0; shard < shape.shards; ++shard) {
      MergeTree(range(shard).begin, range(shard).end, add);
    }
    MergeTree(0, shape.shards, [&](int64_t into, int64_t from) {
      // Shards without samples have nothing to add; their begin is that of the next.
      const int64_t end = std::min(from + (from - into), shape.shards);
      const int64_t begin_into = range(into).begin, begin_from = range(from).begin;
      if (begin_into != begin_from && begin_from != range(end - 1).end) add(begin_into, begin_from);
    });
  });
}

void Store(const double* sum, int64_t channels, bool accumulate, float* gradient) {
  if (gradient == nullptr) return;
  for (int64_t c = 0; c < channels; ++c) {
    gradient[c] =
        static_cast<float>(accumulate ? static_cast<double>(gradient[c]) + sum[c] : sum[c]);
  }
}

void Check(const GroupNormShape& shape) {
  LOCKSTEP_CHECK_GE(shape.positions, int64_t{1});
  LOCKSTEP_CHECK_GE(shape.groups, int64_t{1});
  LOCKSTEP_CHECK_EQ(shape.channels % shape.groups, int64_t{0});
}

}  // namespace

int64_t GroupNormPartialsSize(const GroupNormShape& shape) {
  // At least one slot, for the sums of an empty batch.
  return std::max<int64_t>(1, shape.samples) * (Stretches(shape) + 1) * 2 * shape.channels;
}

void GroupNormForward(Context& context, const GroupNormShape& shape,
                      const GroupNormForwardArgs& args) {
  Check(shape);
  const int64_t channels = shape.channels;
  const int64_t elements = shape.samples * shape.positions * channels;
  const auto at = [&](int64_t sample, int64_t row) {
    return (sample * shape.positions + row) * channels;
  };
  const auto gather = [&](int64_t sample, IndexRange rows, double* slot) {
    kernels::ColumnMoments(args.x + at(sample, rows.begin), rows.size(), channels, channels, slot,
                           slot + channels);
  };
  const auto finish = [&](int64_t sample) {
    double* slots = SampleSlot(shape, args.partials, sample);
    MergeTree(0, Stretches(shape), [&](int64_t into, int64_t from) {
      const int64_t end = std::min(from + (from - into), Stretches(shape));
      double* a = slots + into * 2 * channels;
      const double* b = slots + from * 2 * channels;
      kernels::MergeMoments((from - into) * kStretch, a, a + channels,
                            StretchRows(shape, end - 1).end - from * kStretch, b, b + channels,
                            channels);
    });
    kernels::GroupStatistics(slots, slots + channels, shape.positions, channels, shape.groups,
                             args.epsilon, args.mean + sample * channels,
                             args.rstd + sample * channels);
  };
  const kernels::NormalizeOptions options = {.stream = elements > kBeyondCaches};
  const auto apply = [&](int64_t sample, IndexRange rows) {
    const kernels::ChannelAffine affine = {.mean = args.mean + sample * channels,
                                           .inv_std = args.rstd + sample * channels,
                                           .gamma = args.gamma,
                                           .beta = args.beta};
    kernels::Normalize(args.x + at(sample, rows.begin), nullptr, rows.size(), channels, affine,
                       options, args.y + at(sample, rows.begin));
  };
  RunStages(context, shape, args.partials, 2 * elements, gather, finish, apply);
}

void GroupNormBackward(Context& context, const GroupNormShape& shape,
                       const GroupNormBackwardArgs& args) {
  Check(shape);
  const int64_t channels = shape.channels;
  const int64_t elements = shape.samples * shape.positions * channels;
  const auto at = [&](int64_t sample, int64_t row) {
    return (sample * shape.positions + row) * channels;
  };
  // Both sums of a stretch are one row of 2 C numbers: sum dy, then sum dy xhat.
  const auto gather = [&](int64_t sample, IndexRange rows, double* slot) {
    const kernels::ChannelAffine affine = {.mean = args.mean + sample * channels,
                                           .inv_std = args.rstd + sample * channels};
    kernels::NormalizeGradientSums(
        args.x + at(sample, rows.begin), nullptr, args.dy + at(sample, rows.begin), rows.size(),
        channels, channels, affine, kernels::Activation::kNone, slot, slot + channels);
  };
  const auto finish = [&](int64_t sample) {
    double* slots = SampleSlot(shape, args.partials, sample);
    MergeTree(0, Stretches(shape), [&](int64_t into, int64_t from) {
      kernels::AddSums(slots + from * 2 * channels, 2 * channels, slots + into * 2 * channels);
    });
    float* constants = SampleConstants(shape, args.partials, sample);
    kernels::GroupGradientConstants(slots, slots + channels, args.rstd + sample * channels,
                                    args.gamma, shape.positions, channels, shape.groups, constants,
                                    constants + channels, constants + 2 * channels);
  };
  const auto apply = [&](int64_t sample, IndexRange rows) {
    if (args.dx == nullptr) return;
    const float* constants = SampleConstants(shape, args.partials, sample);
    const int64_t i = at(sample, rows.begin);
    kernels::GroupInputGradient(args.x + i, args.dy + i, rows.size(), channels,
                                args.mean + sample * channels, args.rstd + sample * channels,
                                constants, constants + channels, constants + 2 * channels,
                                args.dx + i);
  };
  RunStages(context, shape, args.partials, 4 * elements, gather, finish, apply);

  if (args.dgamma == nullptr && args.dbeta == nullptr) return;
  if (shape.samples == 0) std::fill_n(args.partials, 2 * channels, 0.0);
  MergeSamples(context, shape, args.partials);
  Store(args.partials, channels, args.accumulate, args.dbeta);
  Store(args.partials + channels, channels, args.accumulate, args.dgamma);
}

}  // namespace lockstep::ops
