// What GroupNorm needs beyond the per-channel kernels (moments.h, normalize.h). One sample,
// channels last: x is (P, C) with P positions; its C channels form G groups of C / G neighbours.
// InstanceNorm is G = C.
//
//   mean_g, var_g   over the n = P * C / G values of group g
//   inv_std_g = 1 / sqrt(var_g + eps),  xhat = (x - mean_g) inv_std_g,  y = gamma_c xhat + beta_c
//   backward   sum_dy_c = sum_p dy,  sum_dy_xhat_c = sum_p dy xhat
//              c1_g = sum_{c in g} gamma_c sum_dy_c / n,  c2_g likewise of sum_dy_xhat_c
//              dx = inv_std_g (gamma_c dy - c1_g - xhat c2_g)
//   and dgamma_c, dbeta_c are sum_dy_xhat_c, sum_dy_c added over the batch.
//
// Whatever belongs to a group is handed out once for each of its channels, so that the loops over
// x run along whole rows whatever the size of a group. Serial, allocates nothing, thread-safe on
// distinct outputs.
#ifndef LOCKSTEP_ENGINE_KERNELS_NORM_GROUP_NORM_H_
#define LOCKSTEP_ENGINE_KERNELS_NORM_GROUP_NORM_H_

#include <cstdint>

namespace lockstep::inline v0_1::kernels {

// From the moments of each channel over `positions` > 0 values to mean and inv_std of its group, in
// double: the channels of a group merge by Chan's formula in their order. A group of equal values
// has variance exactly 0.
//   channel_mean, channel_m2   (channels), as ColumnMoments gives them
//   mean, inv_std              (channels)
//   mean_low                   (channels), or null: what the float leaves of the mean (normalize.h)
void GroupStatistics(const double* channel_mean, const double* channel_m2, int64_t positions,
                     int64_t channels, int64_t groups, double eps, float* mean, float* mean_low,
                     float* inv_std);

// The constants of dx = a dy + b + e (x - mean) inv_std, from the sums over a whole sample:
//   a = inv_std gamma,  e = -inv_std c2,  b = -inv_std c1 - e mean_low inv_std
// or zeros where a group is a single value: it is its own mean, so dx is exactly 0, which the
// difference of a dy and c1 would miss by its rounding.
//   sum_dy, sum_dy_xhat          (channels)
//   mean_low, inv_std, gamma     (channels); mean_low null: zeros, gamma null: ones
//   a, b, e                      (channels)
void GroupGradientConstants(const double* sum_dy, const double* sum_dy_xhat, const float* mean_low,
                            const float* inv_std, const float* gamma, int64_t positions,
                            int64_t channels, int64_t groups, float* a, float* b, float* e);

// dx = a dy + b + e (x - mean) inv_std over `rows` positions.
//   x, dy, dx               (rows, channels); dx may be dy or x
//   mean, inv_std, a, b, e  (channels)
void GroupInputGradient(const float* x, const float* dy, int64_t rows, int64_t channels,
                        const float* mean, const float* inv_std, const float* a, const float* b,
                        const float* e, float* dx);

}  // namespace lockstep::kernels

#endif  // LOCKSTEP_ENGINE_KERNELS_NORM_GROUP_NORM_H_
