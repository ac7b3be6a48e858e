// LayerNorm and RMSNorm over the rows of an (R, C) matrix; serial, on one block of rows.
//
//   LayerNorm  mean = sum_c x / C,  inv_std = 1 / sqrt(sum_c (x - mean)^2 / C + eps)
//              xhat = (x - mean) inv_std,  y = gamma xhat + beta
//   RMSNorm    mean = 0 in the above and no beta (torch.nn.RMSNorm)
//   backward   g = gamma dy,  c1 = sum_c g / C (0 for RMSNorm),  c2 = sum_c g xhat / C
//              dx = inv_std (g - c1 - xhat c2)
//              dgamma = sum_r dy xhat,  dbeta = sum_r dy
//
// The mean is kept as two floats, mean + mean_low: one alone would move xhat by up to 5e-4 at
// mean / sd = 1e4. x - mean is exact for x near the mean, and what mean_low adds to xhat is a
// constant of the row.
//
// A row's statistics are two passes over it while it is in cache (the mean first), in 16 virtual
// lanes over short stretches and in double above them. A row whose squares overflow is done again
// in double, so finite rows give finite results; a constant row has variance exactly 0. A NaN stays
// in its row. Nothing is allocated. Thread-safe.
//
// gamma (C) null means ones, beta (C) null means zeros.
#ifndef LOCKSTEP_ENGINE_KERNELS_NORM_ROW_NORM_H_
#define LOCKSTEP_ENGINE_KERNELS_NORM_ROW_NORM_H_

#include <cstdint>

namespace lockstep::inline v0_1::kernels {

struct RowNormForwardArgs {
  const float* x = nullptr;      // (R, C)
  int64_t rows = 0;              // R
  int64_t columns = 0;           // C, > 0
  const float* gamma = nullptr;  // (C), may be null
  const float* beta = nullptr;   // (C), may be null; unused by RMSNorm
  double eps = 1e-5;
  float* y = nullptr;         // (R, C), may be x
  float* mean = nullptr;      // (R), null if not wanted; unused by RMSNorm
  float* mean_low = nullptr;  // (R), likewise
  float* inv_std = nullptr;   // (R), null if not wanted
  bool stream = false;  // write y past the caches: for tensors that no cache holds. Same bits.
};

struct RowNormBackwardArgs {
  const float* x = nullptr;         // (R, C)
  const float* dy = nullptr;        // (R, C)
  const float* mean = nullptr;      // (R) as forward gave it; unused by RMSNorm
  const float* mean_low = nullptr;  // (R) likewise; null: 0
  const float* inv_std = nullptr;   // (R) as forward gave it
  const float* gamma = nullptr;     // (C), may be null
  int64_t rows = 0;                 // R
  int64_t columns = 0;              // C, > 0
  float* dx = nullptr;              // (R, C); may be dy or x; null if not wanted
  bool accumulate_dx = false;       // add to dx instead of overwriting it; then it is neither
  double* dgamma = nullptr;         // (C), overwritten with the sums over these rows; may be null
  double* dbeta = nullptr;          // (C), likewise; unused by RMSNorm
  bool stream = false;              // write dx past the caches. Same bits.
};

void LayerNormForward(const RowNormForwardArgs& args);
void LayerNormBackward(const RowNormBackwardArgs& args);
void RmsNormForward(const RowNormForwardArgs& args);
void RmsNormBackward(const RowNormBackwardArgs& args);

}  // namespace lockstep::kernels

#endif  // LOCKSTEP_ENGINE_KERNELS_NORM_ROW_NORM_H_
