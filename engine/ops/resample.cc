#include "engine/ops/resample.h"

#include <algorithm>

#include "engine/base/check.h"
#include "engine/base/integers.h"
#include "engine/kernels/picture/resample.h"
#include "engine/ops/row_tasks.h"

namespace lockstep::inline v0_1::ops {
namespace {

// A line of sums down its columns, for each thread, at the beginning of a cache line.
int64_t LineFloats(const kernels::AxisTaps& columns, int64_t channels) {
  return RoundUp(columns.inputs * channels, 16);
}

}  // namespace

int64_t ResampleScratch(int threads, const kernels::AxisTaps& columns, int64_t channels) {
  return threads * LineFloats(columns, channels);
}

void Resample(Context& ctx, const kernels::AxisTaps& rows, const kernels::AxisTaps& columns,
              const ResampleArgs& args, std::span<float> scratch) {
  LOCKSTEP_CHECK_GE(static_cast<int64_t>(scratch.size()),
                    ResampleScratch(ctx.threads(), columns, args.channels));
  const int64_t lines = args.batch * rows.outputs();
  if (lines == 0 || columns.outputs() == 0 || args.channels == 0) return;
  const int64_t in_line = columns.inputs * args.channels;
  const int64_t out_line = columns.outputs() * args.channels;
  // What is touched, over all lines of a picture.
  const int64_t work = rows.taps() * in_line + rows.outputs() * columns.taps() * args.channels +
                       rows.outputs() * out_line;
  const int64_t wanted = std::max<int64_t>(1, args.batch * work / kTaskElements);
  const int64_t groups = std::min(lines, wanted);
  // Few lines, as where whole pictures are averaged one at a time: threads share the channels.
  const int64_t parts = std::clamp<int64_t>(std::min<int64_t>(wanted, 2 * ctx.threads()) / groups,
                                            1, std::max<int64_t>(1, args.channels / 64));
  ctx.ForWithThread(groups * parts, args.batch * work, [&](int64_t task, int thread) {
    const IndexRange mine = Part(lines, groups, task / parts, /*unit=*/1);
    const IndexRange channels = Part(args.channels, parts, task % parts, /*unit=*/16);
    const int64_t n = channels.size();
    float* const sums = scratch.data() + thread * LineFloats(columns, args.channels);
    for (int64_t line = mine.begin; line < mine.end; ++line) {
      const int64_t picture = line / rows.outputs(), row = line % rows.outputs();
      const float* const x = args.x + picture * rows.inputs * in_line + channels.begin;
      float* const y = args.y + line * out_line + channels.begin;
      const float* from = sums;
      const auto tap = static_cast<size_t>(rows.first[static_cast<size_t>(row)]);
      const bool copies =
          rows.first[static_cast<size_t>(row) + 1] == rows.first[static_cast<size_t>(row)] + 1 &&
          (rows.weight.empty() || rows.weight[tap] == 1.0f);
      if (copies && parts == 1) {
        from = x + rows.from[tap] * in_line;
      } else if (parts == 1) {
        kernels::SumRows(rows, row, x, in_line, 1.0f, in_line, /*accumulate=*/false, sums);
      } else {
        for (int64_t w = 0; w < columns.inputs; ++w) {
          kernels::SumRows(rows, row, x + w * args.channels, in_line, 1.0f, n,
                           /*accumulate=*/false, sums + w * n);
        }
      }
      kernels::SumPixels(columns, from, n, rows.DivisorOf(row), n, args.accumulate, y,
                         args.channels);
    }
  });
}

}  // namespace lockstep::ops
