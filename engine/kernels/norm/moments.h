// Moments of the columns of a matrix: the count, the mean, and M2 = sum (x - mean)^2, held as
// doubles (the count is a number of rows that the caller knows).
//
// Tiles of kMomentTile rows in single precision, about a shift taken from the tile's own rows;
// above them double precision and the merge of Chan, Golub and LeVeque ("Updating formulae and a
// pairwise algorithm for computing sample variances", 1979). Every order of summation is fixed by
// the number of rows alone, so the bits depend on neither lanes nor column ranges.
//
// Serial, allocates nothing, thread-safe on distinct outputs.
#ifndef LOCKSTEP_ENGINE_KERNELS_NORM_MOMENTS_H_
#define LOCKSTEP_ENGINE_KERNELS_NORM_MOMENTS_H_

#include <cstdint>

namespace lockstep::inline v0_1::kernels {

inline constexpr int64_t kMomentTile = 32;

// Moments of each of `channels` columns over rows [0, rows) of x.
//   x            (rows, channels), rows `stride` floats apart; any alignment
//   mean, m2     (channels)
// rows = 0 gives zeros. Constant columns give exactly 0 for m2. A NaN stays in its column. Relative
// error of m2 about 1e-6 or below for finite values of any size: columns whose single-precision
// squares overflow or vanish are taken again in double.
void ColumnMoments(const float* x, int64_t rows, int64_t channels, int64_t stride, double* mean,
                   double* m2);

// (count_a, mean_a, m2_a) becomes the moments of both groups of rows together. The count does not
// change here: it is count_a + count_b afterwards. An empty group leaves the other's bits as they
// are.
//   mean_a, m2_a, mean_b, m2_b   (channels)
void MergeMoments(int64_t count_a, double* mean_a, double* m2_a, int64_t count_b,
                  const double* mean_b, const double* m2_b, int64_t channels);

// What normalisation needs, from the moments of `count` >= 1 rows:
//   mean32 + mean_low = mean,  variance = m2 / count (biased),  inv_std = 1 / sqrt(variance + eps)
// computed in double. mean_low is what the float mean32 leaves of the mean: see normalize.h.
//   mean, m2             (channels)
//   mean32, inv_std      (channels)
//   mean_low             (channels), or null
//   variance             (channels), or null; may be m2
void FinishMoments(int64_t count, const double* mean, const double* m2, int64_t channels,
                   double eps, float* mean32, float* mean_low, float* inv_std, double* variance);

}  // namespace lockstep::kernels

#endif  // LOCKSTEP_ENGINE_KERNELS_NORM_MOMENTS_H_
