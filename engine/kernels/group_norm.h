// GroupNorm of one sample, channels last: x is (R, C) with R positions, and its C channels form G
// groups of C / G neighbours. InstanceNorm is G = C.
//
//   mean_g, var_g   over the R * C / G values of group g
//   rstd_g = 1 / sqrt(var_g + epsilon),  xhat = (x - mean_g) rstd_g,  y = gamma_c xhat + beta_c
//   backward, sums over the positions:  sum_dy_c = sum dy,  sum_dy_xhat_c = sum dy xhat
//              c1_g = sum_{c in g} gamma_c sum_dy_c / (R C / G),  c2_g likewise of sum_dy_xhat_c
//              dx = rstd_g (gamma_c dy - c1_g - xhat c2_g)
//   and dgamma_c, dbeta_c are the sums of sum_dy_xhat_c, sum_dy_c over the batch.
//
// A sample is handled in stretches of rows, so that several threads may share one: statistics of
// each stretch, then one merge, then the stretches again. Moments are taken around a value of the
// tile in short tiles and merged in double (Chan), never E[x^2] - E[x]^2; a constant group has
// variance exactly 0; squares that overflow float are done again in double. Nothing is allocated.
// Thread-safe.
#ifndef LOCKSTEP_ENGINE_KERNELS_GROUP_NORM_H_
#define LOCKSTEP_ENGINE_KERNELS_GROUP_NORM_H_

#include <cstdint>

namespace lockstep::kernels {

// Mean and sum of squared differences of each channel of x (rows, channels), rows > 0: mean and m2
// (channels), overwritten.
void GroupNormMoments(const float* x, int64_t rows, int64_t channels, double* mean, double* m2);

// From the moments of each channel over `rows` positions to each group's mean and rstd (groups).
void GroupNormStatistics(const double* mean, const double* m2, int64_t rows, int64_t channels,
                         int64_t groups, float epsilon, float* group_mean, float* group_rstd);

// y (rows, channels) from x and the group statistics (groups). gamma, beta (channels), null: ones,
// zeros. y may be x.
void GroupNormApply(const float* x, int64_t rows, int64_t channels, int64_t groups,
                    const float* group_mean, const float* group_rstd, const float* gamma,
                    const float* beta, float* y);

// sum_dy and sum_dy_xhat (channels) over these rows, overwritten.
void GroupNormBackwardSums(const float* x, const float* dy, int64_t rows, int64_t channels,
                           int64_t groups, const float* group_mean, const float* group_rstd,
                           double* sum_dy, double* sum_dy_xhat);

// c1 and c2 (groups) from the sums of a whole sample of `rows` positions.
void GroupNormBackwardMeans(const double* sum_dy, const double* sum_dy_xhat, const float* gamma,
                            int64_t rows, int64_t channels, int64_t groups, float* c1, float* c2);

// dx (rows, channels), overwritten; may be dy or x.
void GroupNormBackwardApply(const float* x, const float* dy, int64_t rows, int64_t channels,
                            int64_t groups, const float* group_mean, const float* group_rstd,
                            const float* gamma, const float* c1, const float* c2, float* dx);

}  // namespace lockstep::kernels

#endif  // LOCKSTEP_ENGINE_KERNELS_GROUP_NORM_H_
