// Softmax and softmax cross entropy, row by row.
//
//   max_r = max_c x_rc,  log_sum_r = ln sum_c exp(x_rc - max_r)
//   softmax: exp(x - max) / sum,   log-softmax: x - max - log_sum
//
// Every row is independent of the others. Its sums use 16 virtual lanes, so the targets with fused
// multiply-add give the same bits. A NaN or +inf among the logits makes its row NaN; -inf is a
// probability of 0. Nothing is allocated. Thread-safe.
#ifndef LOCKSTEP_ENGINE_KERNELS_ELEMENTWISE_SOFTMAX_H_
#define LOCKSTEP_ENGINE_KERNELS_ELEMENTWISE_SOFTMAX_H_

#include <cstdint>

namespace lockstep::inline v0_1::kernels {

// y (rows, columns) = softmax of each row of x (rows, columns). y may be x.
void SoftmaxForward(const float* x, int64_t rows, int64_t columns, float* y);

// As torch.nn.functional.cross_entropy:
//   loss_r = - (1 - a) w[t_r] logp[t_r] - (a / C) sum_c w[c] logp[c],   t_r the target of row r
//   mean   = sum_r loss_r / sum_r w[t_r]                                over rows not ignored
struct CrossEntropyOptions {
  float label_smoothing = 0.0f;          // a, in [0, 1]
  const float* class_weights = nullptr;  // w (C), or null for all ones
  int32_t ignored_index = -100;          // rows with this target count for nothing
};

// What the mean divides by: sum_r w[t_r] over the rows of `targets` (rows) that are not ignored.
// Targets outside [0, C) count nothing here (and make the loss NaN below).
double CrossEntropyWeight(const int32_t* targets, int64_t rows, int64_t classes,
                          const CrossEntropyOptions& options);

// Returns sum_r loss_r over `rows` rows of logits (rows, classes) with targets (rows): fp32 losses
// summed in row order in double. Call it once for each row block of the batch and merge the blocks
// in the fixed tree.
//
// dlogits (rows, classes), unless null, receives scale * d(sum of losses)/d(logits): `scale` is
// 1 / CrossEntropyWeight of the whole batch for the mean. It may be `logits`. Rows that are ignored
// get zeros. A target outside [0, classes) that is not the ignored index is a broken label: its
// loss and its gradients are NaN, memory stays untouched beyond the row.
double CrossEntropy(const float* logits, const int32_t* targets, int64_t rows, int64_t classes,
                    const CrossEntropyOptions& options, float scale, float* dlogits);

// The same for targets that are probabilities, t (rows, classes), as PyTorch's with class
// probabilities:
//   t'_rc  = (1 - a) t_rc + a / C
//   loss_r = - sum_c w[c] t'_rc logp_rc,   d loss_r / d x_rc = p_rc sum_k w[k] t'_rk - w[c] t'_rc
//   mean   = sum_r loss_r / rows                                 over rows not ignored
// A row of zeros is ignored. options.ignored_index is not used. A class of weight or probability 0
// may have a logit of -inf. dlogits as above.
double SoftCrossEntropy(const float* logits, const float* targets, int64_t rows, int64_t classes,
                        const CrossEntropyOptions& options, float scale, float* dlogits);

}  // namespace lockstep::kernels

#endif  // LOCKSTEP_ENGINE_KERNELS_ELEMENTWISE_SOFTMAX_H_
