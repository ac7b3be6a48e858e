// Scaled dot-product attention (torch.nn.functional.scaled_dot_product_attention; tiles and
// recomputation as in Dao et al., "FlashAttention", 2022), spread over the threads of a Context.
//
//   s_ij = scale q_i k_j                     for keys j that query i sees, else j is left out
//   p_ij = exp(s_ij - L_i),  L_i = ln sum_j exp(s_ij)
//   y_i  = sum_j m_ij p_ij v_j               m_ij = 0 or 1 / (1 - dropout)
//   dp_ij = m_ij dy_i v_j,  D_i = dy_i y_i,  ds_ij = p_ij (dp_ij - D_i)
//   dq_i = scale sum_j ds_ij k_j,  dk_j = scale sum_i ds_ij q_i,  dv_j = sum_i m_ij p_ij dy_i
//
// Scores are made a tile at a time and never stored: memory grows with queries + keys. Tiles of
// which no query sees a key are skipped. A query that sees no key gets y = 0, L = -inf and gives
// no gradient; a value that is not finite among what is seen reaches y (a score of -inf is a
// weight of 0), and so does, as NaN, a largest score of a row beyond 2^20 in magnitude. What is
// not seen may hold anything, NaN too. Tiles begin where a text begins, and rescaling is by powers
// of two alone: no bit depends on threads, on the SIMD target among those with fused multiply-add,
// on other samples, on padding, on other texts in the row, or on how many queries are asked at
// once. Several heads of q may share one of k and v (Ainslie et al., "GQA", 2023): head h uses key
// head h / (heads / key_heads).
#ifndef LOCKSTEP_ENGINE_OPS_ATTENTION_H_
#define LOCKSTEP_ENGINE_OPS_ATTENTION_H_

#include <cstdint>
#include <span>

#include "engine/parallel/context.h"

namespace lockstep::inline v0_1::ops {

struct AttentionShape {
  int64_t queries = 0;  // rows of q in each sample
  int64_t keys = 0;     // rows of k and v in each sample
  int64_t heads = 1;
  int64_t key_heads = 1;  // divides heads
  int64_t head_size = 0;
  float scale = 1.0f;
  // Query i sees no key beyond i + causal_offset: 0 aligns the first query with the first key (as
  // PyTorch does), keys - queries the last with the last.
  bool causal = false;
  int64_t causal_offset = 0;
  double dropout = 0.0;  // of p, in [0, 1)
};

// Row i of sample b of q begins at q + (b * queries + i) * q_stride, and its head h at another
// h * head_size; likewise k, v (keys, kv_stride) and y, dy (y_stride), and the gradients with the
// strides of what they belong to. So all three may lie in one array (B, T, 3, heads, head_size).
struct AttentionArgs {
  int64_t batch = 0;  // may be 0
  const float* q = nullptr;
  int64_t q_stride = 0;
  const float* k = nullptr;
  const float* v = nullptr;
  int64_t kv_stride = 0;
  // Which text each row belongs to: a query sees keys of its own text only, and what is below 0 is
  // padding, which sees nothing and is not seen. Both (batch, rows); or both null: all is one text.
  const int32_t* q_segments = nullptr;
  const int32_t* k_segments = nullptr;
  float* y = nullptr;
  int64_t y_stride = 0;
  float* log_sum = nullptr;  // (batch, heads, queries) L; null: backward will not follow

  // Whether p_ij is dropped is a pure function of these and of (sample, head, i, j).
  uint64_t seed = 0, stream = 0, step = 0;
  int64_t first_sample = 0;  // of this batch within the global batch
};

struct AttentionGradients {
  const float* dy = nullptr;  // strides of y
  float* dq = nullptr;        // each overwritten; none is null
  float* dk = nullptr;
  float* dv = nullptr;
};

// Floats of scratch that forward, and backward, need for any batch up to this one.
int64_t AttentionScratch(int threads, const AttentionShape& shape, int64_t batch, bool backward);

void AttentionForward(Context& ctx, const AttentionShape& shape, const AttentionArgs& args,
                      std::span<float> scratch);
// args as in AttentionForward, with y and log_sum as it left them.
void AttentionBackward(Context& ctx, const AttentionShape& shape, const AttentionArgs& args,
                       const AttentionGradients& gradients, std::span<float> scratch);

}  // namespace lockstep::ops

#endif  // LOCKSTEP_ENGINE_OPS_ATTENTION_H_
