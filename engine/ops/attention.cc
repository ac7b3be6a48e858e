#include "engine/ops/attention.h"

#include <algorithm>

#include "engine/base/check.h"
#include "engine/base/integers.h"
#include "engine/kernels/attention/attention.h"
#include "engine/kernels/attention/attention_mask.h"
#include "engine/kernels/attention/attention_tiles.h"
#include "engine/ops/row_tasks.h"

namespace lockstep::inline v0_1::ops {
namespace {

using kernels::AttentionHead;
using kernels::AttentionHeadGradients;

// Multiply-adds of one product over all scores that a causal mask leaves, in Context's unit.
int64_t WorkOf(const AttentionShape& shape, int64_t batch, int64_t products) {
  const int64_t seen = shape.causal ? CeilDiv(shape.keys, int64_t{2}) : shape.keys;
  return batch * shape.heads * shape.queries * seen * shape.head_size * products / 8;
}

AttentionHead HeadOf(const AttentionShape& shape, const AttentionArgs& args, int64_t b, int64_t h) {
  const int64_t size = shape.head_size;
  const int64_t at_keys =
      b * shape.keys * args.kv_stride + h / (shape.heads / shape.key_heads) * size;
  return {.queries = shape.queries,
          .keys = shape.keys,
          .head_size = size,
          .scale = shape.scale,
          .causal = shape.causal,
          .causal_offset = shape.causal_offset,
          .q = args.q + b * shape.queries * args.q_stride + h * size,
          .q_stride = args.q_stride,
          .k = args.k + at_keys,
          .v = args.v + at_keys,
          .kv_stride = args.kv_stride,
          .q_segments = args.q_segments == nullptr ? nullptr : args.q_segments + b * shape.queries,
          .k_segments = args.k_segments == nullptr ? nullptr : args.k_segments + b * shape.keys,
          .y = args.y + b * shape.queries * args.y_stride + h * size,
          .y_stride = args.y_stride,
          .log_sum = args.log_sum == nullptr ? nullptr
                                             : args.log_sum + (b * shape.heads + h) * shape.queries,
          .drop_below = kernels::AttentionMaskThreshold(shape.dropout),
          .keep_scale = static_cast<float>(1.0 / (1.0 - shape.dropout)),
          .seed = args.seed,
          .stream = args.stream,
          .step = args.step,
          .sample = args.first_sample + b,
          .head = h};
}

// dots: (batch, heads, queries).
AttentionHeadGradients GradientsOf(const AttentionShape& shape, const AttentionArgs& args,
                                   const AttentionGradients& gradients, float* dots, int64_t b,
                                   int64_t h) {
  const int64_t size = shape.head_size;
  const int64_t at_keys =
      b * shape.keys * args.kv_stride + h / (shape.heads / shape.key_heads) * size;
  return {.dy = gradients.dy + b * shape.queries * args.y_stride + h * size,
          .dots = dots + (b * shape.heads + h) * shape.queries,
          .dq = gradients.dq + b * shape.queries * args.q_stride + h * size,
          .dk = gradients.dk + at_keys,
          .dv = gradients.dv + at_keys};
}

void Check(int threads, const AttentionShape& shape, const AttentionArgs& args,
           std::span<float> scratch, bool backward) {
  LOCKSTEP_CHECK(shape.key_heads > 0 && shape.heads % shape.key_heads == 0,
                 "heads that key heads do not divide");
  LOCKSTEP_CHECK(shape.dropout >= 0.0 && shape.dropout < 1.0, "dropout outside [0, 1)");
  LOCKSTEP_CHECK((args.q_segments == nullptr) == (args.k_segments == nullptr),
                 "segments of one side only");
  LOCKSTEP_CHECK_GE(static_cast<int64_t>(scratch.size()),
                    AttentionScratch(threads, shape, args.batch, backward));
}

// Rows [0, rows) of `heads` heads in tasks of about kTaskWork: parts of one head each, of whole
// units of rows.
class Tasks {
 public:
  Tasks(int64_t heads, int64_t rows, int64_t unit, int64_t work, int threads)
      : rows_(rows), unit_(unit) {
    const int64_t units = CeilDiv(rows, unit);
    const int64_t wanted = std::min<int64_t>(CeilDiv(work, kTaskWork), kTasksPerThread * threads);
    parts_ = threads == 1 || heads == 0
                 ? 1
                 : std::clamp<int64_t>(CeilDiv(wanted, heads), 1, std::max<int64_t>(1, units));
    count_ = heads * parts_;
  }
  int64_t count() const { return count_; }
  int64_t Head(int64_t task) const { return task / parts_; }
  // The last rows come first: with a causal mask they are most of the work.
  IndexRange Rows(int64_t task) const {
    return Part(rows_, parts_, parts_ - 1 - task % parts_, unit_);
  }

 private:
  static constexpr int64_t kTaskWork = 65536;  // in Context's unit: some ten microseconds
  static constexpr int64_t kTasksPerThread = 8;
  int64_t rows_, unit_, parts_, count_;
};

}  // namespace

int64_t AttentionScratch(int threads, const AttentionShape& shape, int64_t batch, bool backward) {
  if (!backward) return threads * kernels::AttentionForwardScratch(shape.head_size);
  return threads * kernels::AttentionBackwardScratch(shape.head_size) +
         batch * shape.heads * shape.queries;
}

void AttentionForward(Context& ctx, const AttentionShape& shape, const AttentionArgs& args,
                      std::span<float> scratch) {
  Check(ctx.threads(), shape, args, scratch, /*backward=*/false);
  const int64_t each = kernels::AttentionForwardScratch(shape.head_size);
  const int64_t work = WorkOf(shape, args.batch, 2);
  const Tasks tasks(args.batch * shape.heads, shape.queries, kernels::kQueryPanel, work,
                    ctx.threads());
  ctx.ForWithThread(tasks.count(), work, [&](int64_t task, int thread) {
    const int64_t at = tasks.Head(task);
    const IndexRange rows = tasks.Rows(task);
    kernels::AttentionForward(HeadOf(shape, args, at / shape.heads, at % shape.heads), rows.begin,
                              rows.end, scratch.data() + thread * each);
  });
}

void AttentionBackward(Context& ctx, const AttentionShape& shape, const AttentionArgs& args,
                       const AttentionGradients& gradients, std::span<float> scratch) {
  Check(ctx.threads(), shape, args, scratch, /*backward=*/true);
  const int64_t each = kernels::AttentionBackwardScratch(shape.head_size);
  float* dots = scratch.data() + ctx.threads() * each;
  const int64_t group = shape.heads / shape.key_heads;
  const int64_t heads = args.batch * shape.heads, key_heads = args.batch * shape.key_heads;
  const auto head_of = [&](int64_t at) {
    return HeadOf(shape, args, at / shape.heads, at % shape.heads);
  };
  const auto gradients_of = [&](int64_t at) {
    return GradientsOf(shape, args, gradients, dots, at / shape.heads, at % shape.heads);
  };
  // Enough key heads to keep all threads busy to the end: five products for each.
  if (ctx.threads() == 1 || key_heads >= 4 * ctx.threads()) {
    ctx.ForWithThread(key_heads, WorkOf(shape, args.batch, 5), [&](int64_t task, int thread) {
      for (int64_t g = 0; g < group; ++g) {
        const int64_t at = task * group + g;
        kernels::AttentionDots(head_of(at), gradients_of(at), 0, shape.queries);
      }
      kernels::AttentionBackwardKeys(head_of(task * group), gradients_of(task * group), group, 0,
                                     shape.keys, /*with_dq=*/true, scratch.data() + thread * each);
    });
    return;
  }
  // Otherwise parts of heads, with seven, in the same order of additions.
  ctx.For(heads, heads * shape.queries * shape.head_size, [&](int64_t at) {
    kernels::AttentionDots(head_of(at), gradients_of(at), 0, shape.queries);
  });
  const int64_t work = WorkOf(shape, args.batch, 7);
  const Tasks by_keys(key_heads, shape.keys, kernels::kQueryPanel, work, ctx.threads());
  const Tasks by_queries(heads, shape.queries, kernels::kQueryPanel, work, ctx.threads());
  ctx.ForWithThread(by_keys.count() + by_queries.count(), work, [&](int64_t task, int thread) {
    float* mine = scratch.data() + thread * each;
    if (task < by_keys.count()) {
      const int64_t at = by_keys.Head(task) * group;
      const IndexRange rows = by_keys.Rows(task);
      kernels::AttentionBackwardKeys(head_of(at), gradients_of(at), group, rows.begin, rows.end,
                                     /*with_dq=*/false, mine);
      return;
    }
    const int64_t at = by_queries.Head(task - by_keys.count());
    const IndexRange rows = by_queries.Rows(task - by_keys.count());
    kernels::AttentionBackwardQueries(head_of(at), gradients_of(at), rows.begin, rows.end, mine);
  });
}

}  // namespace lockstep::ops
