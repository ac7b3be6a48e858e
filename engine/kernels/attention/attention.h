// Scaled dot-product attention of one head of one sample, a tile of keys against a panel of queries
// at a time; formulas and rules in engine/ops/attention.h, which spreads these calls over threads.
// Serial, no allocation, thread-safe.
//
// Tiles lie in the order in which all five products can read k, v, q and dy where they are: keys in
// rows, queries in SIMD lanes. A tile never spans two texts, and begins anew where a text begins;
// so a text has the same tiles wherever it lies, and padding has none. What a row's weights are
// held against while they are summed is a power of two: changing it rounds nothing, and so the
// order of a sum over keys is that of its tiles alone, however they were cut into calls.
#ifndef LOCKSTEP_ENGINE_KERNELS_ATTENTION_ATTENTION_H_
#define LOCKSTEP_ENGINE_KERNELS_ATTENTION_ATTENTION_H_

#include <cstdint>

namespace lockstep::inline v0_1::kernels {

// Rows are (queries or keys, head_size), their strides in floats.
struct AttentionHead {
  int64_t queries = 0, keys = 0, head_size = 0;
  float scale = 1.0f;
  bool causal = false;
  int64_t causal_offset = 0;
  const float* q = nullptr;
  int64_t q_stride = 0;
  const float* k = nullptr;
  const float* v = nullptr;
  int64_t kv_stride = 0;
  const int32_t* q_segments = nullptr;  // (queries), (keys), or both null
  const int32_t* k_segments = nullptr;
  float* y = nullptr;
  int64_t y_stride = 0;
  float* log_sum = nullptr;  // (queries), or null in forward

  uint32_t drop_below = 0;  // AttentionMaskThreshold; 0: no dropout
  float keep_scale = 1.0f;  // 1 / (1 - dropout)
  uint64_t seed = 0, stream = 0, step = 0;
  int64_t sample = 0, head = 0;  // within the global batch; within the sample
};

// Gradients of the same head; dk and dv belong to its key head.
struct AttentionHeadGradients {
  const float* dy = nullptr;
  float* dots = nullptr;  // (queries) D
  float* dq = nullptr;
  float* dk = nullptr;
  float* dv = nullptr;
};

// Floats of scratch, for any head of this size.
int64_t AttentionForwardScratch(int64_t head_size);
int64_t AttentionBackwardScratch(int64_t head_size);

// Rows [begin, end) of y and log_sum.
void AttentionForward(const AttentionHead& head, int64_t begin, int64_t end, float* scratch);

// Rows [begin, end) of D.
void AttentionDots(const AttentionHead& head, const AttentionHeadGradients& gradients,
                   int64_t begin, int64_t end);
// Rows [begin, end) of dq, of which all D are there.
void AttentionBackwardQueries(const AttentionHead& head, const AttentionHeadGradients& gradients,
                              int64_t begin, int64_t end, float* scratch);
// Rows [begin, end) of dk and dv over the `group` heads from `head` on, which share them: each
// head's rows begin head_size (log_sum and dots: `queries`) behind those of the one before. All D
// are there. with_dq: also dq of all these heads; then [begin, end) is [0, keys).
void AttentionBackwardKeys(const AttentionHead& head, const AttentionHeadGradients& gradients,
                           int64_t group, int64_t begin, int64_t end, bool with_dq, float* scratch);

}  // namespace lockstep::kernels

#endif  // LOCKSTEP_ENGINE_KERNELS_ATTENTION_ATTENTION_H_
