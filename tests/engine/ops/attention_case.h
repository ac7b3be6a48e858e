// An attention with all it reads and writes, for the tests of the operation.
#ifndef LOCKSTEP_TESTS_ENGINE_OPS_ATTENTION_CASE_H_
#define LOCKSTEP_TESTS_ENGINE_OPS_ATTENTION_CASE_H_

#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "engine/base/random.h"
#include "engine/kernels/attention/attention_mask.h"
#include "engine/ops/attention.h"
#include "tests/reference/attention.h"

namespace lockstep::inline v0_1::ops {

inline constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

// Rows of q, k and v lie in one array each, `gap` floats apart from the next row; what lies in the
// gaps is NaN and must stay so.
struct AttentionCase {
  AttentionShape shape;
  int64_t batch = 1;
  std::vector<int32_t> q_segments, k_segments;
  int64_t gap = 0;
  uint64_t seed = 1;
  int64_t first_sample = 0;

  int64_t q_stride() const { return shape.heads * shape.head_size + gap; }
  int64_t kv_stride() const { return shape.key_heads * shape.head_size + gap; }
  int64_t q_size() const { return batch * shape.queries * q_stride(); }
  int64_t kv_size() const { return batch * shape.keys * kv_stride(); }
};

inline std::vector<float> AttentionRows(int64_t rows, int64_t columns, int64_t gap, uint64_t seed) {
  std::vector<float> x;
  Random random(seed, 7);
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t c = 0; c < columns; ++c) x.push_back(static_cast<float>(random.Normal()));
    x.insert(x.end(), static_cast<size_t>(gap), kNan);
  }
  return x;
}

struct AttentionData {
  explicit AttentionData(const AttentionCase& c)
      : q(AttentionRows(c.batch * c.shape.queries, c.q_stride() - c.gap, c.gap, 1)),
        k(AttentionRows(c.batch * c.shape.keys, c.kv_stride() - c.gap, c.gap, 2)),
        v(AttentionRows(c.batch * c.shape.keys, c.kv_stride() - c.gap, c.gap, 3)),
        dy(AttentionRows(c.batch * c.shape.queries, c.q_stride() - c.gap, c.gap, 4)) {}
  std::vector<float> q, k, v, dy;
};

struct AttentionResult {
  std::vector<float> y, log_sum, dq, dk, dv;
};

// Everything that is written begins as NaN, scratch too.
inline AttentionResult RunAttention(const AttentionCase& c, const AttentionData& data, int threads,
                                    bool backward = true) {
  const auto q_size = static_cast<size_t>(c.q_size()), kv_size = static_cast<size_t>(c.kv_size());
  AttentionResult r{
      std::vector<float>(q_size, kNan),
      std::vector<float>(static_cast<size_t>(c.batch * c.shape.heads * c.shape.queries), kNan),
      std::vector<float>(q_size, kNan), std::vector<float>(kv_size, kNan),
      std::vector<float>(kv_size, kNan)};
  Context context({.threads = threads});
  const auto scratch_of = [&](bool back) {
    return std::vector<float>(
        static_cast<size_t>(AttentionScratch(context.threads(), c.shape, c.batch, back)), kNan);
  };
  const AttentionArgs args = {.batch = c.batch,
                              .q = data.q.data(),
                              .q_stride = c.q_stride(),
                              .k = data.k.data(),
                              .v = data.v.data(),
                              .kv_stride = c.kv_stride(),
                              .q_segments = c.q_segments.empty() ? nullptr : c.q_segments.data(),
                              .k_segments = c.k_segments.empty() ? nullptr : c.k_segments.data(),
                              .y = r.y.data(),
                              .y_stride = c.q_stride(),
                              .log_sum = r.log_sum.data(),
                              .seed = c.seed,
                              .stream = 5,
                              .step = 3,
                              .first_sample = c.first_sample};
  auto scratch = scratch_of(false);
  AttentionForward(context, c.shape, args, scratch);
  if (!backward) return r;
  scratch = scratch_of(true);
  AttentionBackward(context, c.shape, args,
                    {.dy = data.dy.data(), .dq = r.dq.data(), .dk = r.dk.data(), .dv = r.dv.data()},
                    scratch);
  return r;
}

// The mask of head h of sample b, for the reference.
inline reference::AttentionRules RulesOf(const AttentionCase& c, int64_t b, int64_t h) {
  reference::AttentionRules rules;
  rules.scale = static_cast<double>(c.shape.scale);
  rules.sees = [&c, b](size_t i, size_t j) {
    const auto row = static_cast<int64_t>(i), key = static_cast<int64_t>(j);
    if (c.shape.causal && key > row + c.shape.causal_offset) return false;
    if (c.q_segments.empty()) return true;
    const int32_t text = c.q_segments[static_cast<size_t>(b * c.shape.queries + row)];
    return text >= 0 && text == c.k_segments[static_cast<size_t>(b * c.shape.keys + key)];
  };
  if (c.shape.dropout > 0.0) {
    const uint64_t stream = kernels::AttentionMaskStream(c.seed, 5, 3, c.first_sample + b, h);
    const uint32_t threshold = kernels::AttentionMaskThreshold(c.shape.dropout);
    rules.keep = [&c, stream, threshold](size_t i, size_t j) {
      return kernels::AttentionDrops(c.seed, stream, threshold, static_cast<int64_t>(i),
                                     static_cast<int64_t>(j))
                 ? 0.0
                 : 1.0 / (1.0 - c.shape.dropout);
    };
  }
  return rules;
}

// The rows of head h of sample b, (rows, head_size), of an array of all.
inline std::vector<double> HeadRows(const std::vector<float>& x, int64_t rows, int64_t stride,
                                    int64_t head_size, int64_t b, int64_t h) {
  std::vector<double> head;
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t c = 0; c < head_size; ++c) {
      head.push_back(
          static_cast<double>(x[static_cast<size_t>((b * rows + r) * stride + h * head_size + c)]));
    }
  }
  return head;
}

}  // namespace lockstep::ops

#endif  // LOCKSTEP_TESTS_ENGINE_OPS_ATTENTION_CASE_H_
