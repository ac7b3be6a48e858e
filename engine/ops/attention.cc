#include "engine/ops/attention.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "engine/base/check.h"
#include "engine/kernels/attention/attention_mask.h"

namespace lockstep::ops {
namespace {

// One head of one sample.
struct Head {
  Head(const AttentionShape& s, const AttentionArgs& a, int64_t b, int64_t h)
      : shape(s),
        args(a),
        q(a.q + b * s.queries * a.q_stride + h * s.head_size),
        k(a.k + b * s.keys * a.kv_stride + h / (s.heads / s.key_heads) * s.head_size),
        v(a.v + b * s.keys * a.kv_stride + h / (s.heads / s.key_heads) * s.head_size),
        y(a.y + b * s.queries * a.y_stride + h * s.head_size),
        log_sum(a.log_sum == nullptr ? nullptr : a.log_sum + (b * s.heads + h) * s.queries),
        q_segments(a.q_segments == nullptr ? nullptr : a.q_segments + b * s.queries),
        k_segments(a.k_segments == nullptr ? nullptr : a.k_segments + b * s.keys),
        mask_stream(s.dropout == 0.0 ? 0
                                     : kernels::AttentionMaskStream(a.seed, a.stream, a.step,
                                                                    a.first_sample + b, h)),
        threshold(kernels::AttentionMaskThreshold(s.dropout)) {}

  bool Sees(int64_t i, int64_t j) const {
    if (shape.causal && j > i + shape.causal_offset) return false;
    return q_segments == nullptr || (q_segments[i] >= 0 && q_segments[i] == k_segments[j]);
  }
  double Dot(const float* a, const float* b) const {
    double sum = 0.0;
    for (int64_t c = 0; c < shape.head_size; ++c) {
      sum += static_cast<double>(a[c]) * static_cast<double>(b[c]);
    }
    return sum;
  }
  double Score(int64_t i, int64_t j) const {
    return static_cast<double>(shape.scale) * Dot(q + i * args.q_stride, k + j * args.kv_stride);
  }
  double Keep(int64_t i, int64_t j) const {
    if (threshold == 0) return 1.0;
    return kernels::AttentionDrops(args.seed, mask_stream, threshold, i, j)
               ? 0.0
               : 1.0 / (1.0 - shape.dropout);
  }

  const AttentionShape& shape;
  const AttentionArgs& args;
  const float *q, *k, *v;
  float *y, *log_sum;
  const int32_t *q_segments, *k_segments;
  uint64_t mask_stream;
  uint32_t threshold;
};

void ForwardRow(const Head& head, int64_t i, float* scores) {
  const AttentionShape& shape = head.shape;
  const int64_t d = shape.head_size;
  double max = -std::numeric_limits<double>::infinity(), sum = 0.0;
  for (int64_t j = 0; j < shape.keys; ++j) {
    if (!head.Sees(i, j)) continue;
    const double s = head.Score(i, j);
    scores[j] = static_cast<float>(s);
    if (!(s <= max)) max = s;
  }
  for (int64_t j = 0; j < shape.keys; ++j) {
    if (head.Sees(i, j)) sum += std::exp(static_cast<double>(scores[j]) - max);
  }
  float* y = head.y + i * head.args.y_stride;
  for (int64_t c = 0; c < d; ++c) {
    double out = 0.0;
    for (int64_t j = 0; j < shape.keys; ++j) {
      if (!head.Sees(i, j)) continue;
      out += std::exp(static_cast<double>(scores[j]) - max) / sum * head.Keep(i, j) *
             static_cast<double>(head.v[j * head.args.kv_stride + c]);
    }
    y[c] = static_cast<float>(out);
  }
  if (head.log_sum != nullptr) head.log_sum[i] = static_cast<float>(max + std::log(sum));
}

void BackwardRow(const Head& head, int64_t i, const AttentionGradients& g, int64_t q_at,
                 int64_t kv_at) {
  const AttentionArgs& args = head.args;
  const int64_t d = head.shape.head_size;
  const float* dy = g.dy + (head.y - args.y) + i * args.y_stride;
  float* dq = g.dq + q_at + i * args.q_stride;
  const double scale = static_cast<double>(head.shape.scale);
  const double d_i = head.Dot(dy, head.y + i * args.y_stride);
  for (int64_t j = 0; j < head.shape.keys; ++j) {
    if (!head.Sees(i, j)) continue;
    const int64_t row = j * args.kv_stride;
    const double p = std::exp(head.Score(i, j) - static_cast<double>(head.log_sum[i]));
    const double keep = head.Keep(i, j);
    const double ds = p * (keep * head.Dot(dy, head.v + row) - d_i);
    for (int64_t c = 0; c < d; ++c) {
      dq[c] += static_cast<float>(scale * ds * static_cast<double>(head.k[row + c]));
      g.dk[kv_at + row + c] +=
          static_cast<float>(scale * ds * static_cast<double>(head.q[i * args.q_stride + c]));
      g.dv[kv_at + row + c] += static_cast<float>(keep * p * static_cast<double>(dy[c]));
    }
  }
}

void Check(const AttentionShape& shape, const AttentionArgs& args) {
  LOCKSTEP_CHECK(shape.heads > 0 && shape.key_heads > 0 && shape.heads % shape.key_heads == 0,
                 "heads that key heads do not divide");
  LOCKSTEP_CHECK((args.q_segments == nullptr) == (args.k_segments == nullptr),
                 "segments of one side only");
}

}  // namespace

int64_t AttentionScratch(int threads, const AttentionShape& shape, int64_t, bool) {
  return threads * shape.keys;
}

void AttentionForward(Context& ctx, const AttentionShape& shape, const AttentionArgs& args,
                      std::span<float> scratch) {
  Check(shape, args);
  ctx.ForWithThread(args.batch * shape.heads,
                    args.batch * shape.heads * shape.queries * shape.keys * shape.head_size,
                    [&](int64_t task, int thread) {
                      const Head head(shape, args, task / shape.heads, task % shape.heads);
                      for (int64_t i = 0; i < shape.queries; ++i) {
                        ForwardRow(head, i, scratch.data() + thread * shape.keys);
                      }
                    });
}

void AttentionBackward(Context& ctx, const AttentionShape& shape, const AttentionArgs& args,
                       const AttentionGradients& gradients, std::span<float>) {
  Check(shape, args);
  const int64_t group = shape.heads / shape.key_heads, d = shape.head_size;
  ctx.For(args.batch * shape.key_heads,
          args.batch * shape.heads * shape.queries * shape.keys * shape.head_size,
          [&](int64_t task) {
            const int64_t b = task / shape.key_heads, kh = task % shape.key_heads;
            const int64_t kv_at = b * shape.keys * args.kv_stride + kh * d;
            for (int64_t j = 0; j < shape.keys; ++j) {
              std::fill_n(gradients.dk + kv_at + j * args.kv_stride, d, 0.0f);
              std::fill_n(gradients.dv + kv_at + j * args.kv_stride, d, 0.0f);
            }
            for (int64_t h = kh * group; h < (kh + 1) * group; ++h) {
              const Head head(shape, args, b, h);
              const int64_t q_at = b * shape.queries * args.q_stride + h * d;
              for (int64_t i = 0; i < shape.queries; ++i) {
                std::fill_n(gradients.dq + q_at + i * args.q_stride, d, 0.0f);
                BackwardRow(head, i, gradients, q_at, kv_at);
              }
            }
          });
}

}  // namespace lockstep::ops
