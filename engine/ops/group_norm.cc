#include "engine/ops/group_norm.h"

#include <algorithm>

#include "engine/base/check.h"
#include "engine/kernels/norm/group_norm.h"
#include "engine/kernels/norm/moments.h"
#include "engine/kernels/norm/normalize.h"
#include "engine/ops/shard_sums.h"

namespace lockstep::inline v0_1::ops {
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
int64_t SlotSize(const GroupNormShape& shape) {
  return (Stretches(shape) + 1) * 2 * shape.channels;
}

double* SampleSlot(const GroupNormShape& shape, double* partials, int64_t sample) {
  return partials + sample * SlotSize(shape);
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
void RunStages(Context& context, int64_t samples, const GroupNormShape& shape, double* partials,
               int64_t work, const Gather& gather, const Finish& finish, const Apply& apply) {
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
  if (stretches == 1 || samples >= 4 * context.threads()) {
    context.For(samples, work, [&](int64_t sample) {
      for (int64_t s = 0; s < stretches; ++s) gather_stretch(sample, s);
      finish(sample);
      for (int64_t s = stretches - 1; s >= 0; --s) apply_stretch(sample, s);
    });
    return;
  }
  const int64_t tasks = samples * stretches;
  context.For(tasks, work / 2, [&](int64_t t) { gather_stretch(t / stretches, t % stretches); });
  context.For(samples, work / kStretch, finish);
  context.For(tasks, work / 2, [&](int64_t t) { apply_stretch(t / stretches, t % stretches); });
}

// dgamma and dbeta from the sums of every sample: the first 2 C doubles of its slot.
void StoreGradients(Context& context, const BatchCut& cut, const GroupNormShape& shape,
                    const GroupNormBackwardArgs& args) {
  constexpr int64_t kPart = 256;  // channels of one task
  const int64_t channels = shape.channels;
  const auto slots_of = [&](int64_t shard) { return cut.LocalShard(shard); };
  const int64_t parts = (channels + kPart - 1) / kPart;
  context.For(2 * parts, cut.samples() * 2 * channels, [&](int64_t task) {
    const bool is_dgamma = task >= parts;
    float* gradient = is_dgamma ? args.dgamma : args.dbeta;
    if (gradient == nullptr) return;
    const int64_t begin = task % parts * kPart;
    const int64_t count = std::min(kPart, channels - begin);
    double* slots = args.partials + (is_dgamma ? channels : 0) + begin;
    MergeSlots(cut.local_shards, slots_of, SlotSize(shape), count, slots);
    StoreGradient(cut.local_shards, slots_of, SlotSize(shape), count, slots, args.accumulate,
                  gradient + begin);
  });
}

void Check(const GroupNormShape& shape) {
  LOCKSTEP_CHECK_GE(shape.positions, int64_t{1});
  LOCKSTEP_CHECK_GE(shape.groups, int64_t{1});
  LOCKSTEP_CHECK_EQ(shape.channels % shape.groups, int64_t{0});
}

}  // namespace

int64_t GroupNormPartialsSize(const GroupNormShape& shape, int64_t samples) {
  return samples * SlotSize(shape);
}

void GroupNormForward(Context& context, const BatchCut& cut, const GroupNormShape& shape,
                      const GroupNormForwardArgs& args) {
  Check(shape);
  const int64_t channels = shape.channels;
  const int64_t elements = cut.samples() * shape.positions * channels;
  const auto at = [&](int64_t sample, int64_t row) {
    return (sample * shape.positions + row) * channels;
  };
  const auto low = [&](int64_t sample) {
    return args.mean_low == nullptr ? nullptr : args.mean_low + sample * channels;
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
                             args.eps, args.mean + sample * channels, low(sample),
                             args.inv_std + sample * channels);
  };
  const kernels::NormalizeOptions options = {.stream = elements > kBeyondCaches};
  const auto apply = [&](int64_t sample, IndexRange rows) {
    const kernels::ChannelAffine affine = {.mean = args.mean + sample * channels,
                                           .mean_low = low(sample),
                                           .inv_std = args.inv_std + sample * channels,
                                           .gamma = args.gamma,
                                           .beta = args.beta};
    kernels::Normalize(args.x + at(sample, rows.begin), rows.size(), channels, affine, {}, options,
                       args.y + at(sample, rows.begin));
  };
  RunStages(context, cut.samples(), shape, args.partials, 2 * elements, gather, finish, apply);
}

void GroupNormBackward(Context& context, const BatchCut& cut, const GroupNormShape& shape,
                       const GroupNormBackwardArgs& args) {
  Check(shape);
  const int64_t channels = shape.channels;
  const int64_t elements = cut.samples() * shape.positions * channels;
  const auto at = [&](int64_t sample, int64_t row) {
    return (sample * shape.positions + row) * channels;
  };
  const auto low = [&](int64_t sample) {
    return args.mean_low == nullptr ? nullptr : args.mean_low + sample * channels;
  };
  // Both sums of a stretch are one row of 2 C numbers: sum dy, then sum dy xhat.
  const auto gather = [&](int64_t sample, IndexRange rows, double* slot) {
    const kernels::ChannelAffine affine = {.mean = args.mean + sample * channels,
                                           .mean_low = low(sample),
                                           .inv_std = args.inv_std + sample * channels};
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
    kernels::GroupGradientConstants(slots, slots + channels, low(sample),
                                    args.inv_std + sample * channels, args.gamma, shape.positions,
                                    channels, shape.groups, constants, constants + channels,
                                    constants + 2 * channels);
  };
  const auto apply = [&](int64_t sample, IndexRange rows) {
    if (args.dx == nullptr) return;
    const float* constants = SampleConstants(shape, args.partials, sample);
    const int64_t i = at(sample, rows.begin);
    kernels::GroupInputGradient(args.x + i, args.dy + i, rows.size(), channels,
                                args.mean + sample * channels, args.inv_std + sample * channels,
                                constants, constants + channels, constants + 2 * channels,
                                args.dx + i);
  };
  RunStages(context, cut.samples(), shape, args.partials, 4 * elements, gather, finish, apply);
  if (args.dgamma != nullptr || args.dbeta != nullptr) StoreGradients(context, cut, shape, args);
}

}  // namespace lockstep::ops
