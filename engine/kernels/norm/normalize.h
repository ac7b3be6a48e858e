// Affine normalisation per channel, its epilogue, and its backward; one pass each.
//
//   forward    v  = (x - mean) * (gamma * inv_std) + beta (+ add)
//              y  = act(v)
//   backward   dz = dy where act passes v, else 0
//              sums      dbeta = sum dz,  dgamma = sum dz * xhat,   xhat = (x - mean) * inv_std
//              training  dx = gamma * inv_std * (dz - dbeta / R - xhat * dgamma / R)
//              evaluate  dx = gamma * inv_std * dz
//
// x - mean comes first: x * scale + shift would cancel where |mean| is large against the deviation.
// There the mean itself has to be known better than a float holds it, too (at mean / sd = 1e4 its
// rounding moves xhat by up to 5e-4), so it comes as two floats, mean + mean_low. x - mean is exact
// for x near the mean, and what mean_low adds is the same for all rows: it goes into the constants
// of the channel and costs nothing per element.
//   v    = (x - mean) * scale + (beta - mean_low * scale),   scale = gamma * inv_std
//   xhat = (x - mean) * inv_std - mean_low * inv_std
// ReLU passes v unless v <= 0, forward and backward alike, so a NaN goes through both.
//
// Serial, allocates nothing, thread-safe on distinct outputs. Matrices are (rows, channels), dense
// (rows `channels` floats apart), of any alignment.
#ifndef LOCKSTEP_ENGINE_KERNELS_NORM_NORMALIZE_H_
#define LOCKSTEP_ENGINE_KERNELS_NORM_NORMALIZE_H_

#include <cstdint>

#include "engine/kernels/elementwise/activation_kind.h"
#include "engine/kernels/epilogue.h"

namespace lockstep::inline v0_1::kernels {

// The per-channel constants of one normalisation.
struct ChannelAffine {
  const float* mean = nullptr;      // (channels)
  const float* mean_low = nullptr;  // (channels), or null: 0, where the mean is but a float
  const float* inv_std = nullptr;   // (channels)
  const float* gamma = nullptr;     // (channels), or null: 1
  const float* beta = nullptr;      // (channels), or null: 0
};

struct NormalizeOptions {
  // Write y (dx) past the caches: pays where nothing could stay in them anyway. Same bits.
  bool stream = false;
};

// y = act((x - mean) * (gamma * inv_std) + beta + add).
//   x, y        (rows, channels); y may be x or epilogue.add
//   epilogue    add (dense: add_stride is channels) and activation; scale and bias are null, since
//               gamma and beta are what they would be
void Normalize(const float* x, int64_t rows, int64_t channels, const ChannelAffine& affine,
               const Epilogue& epilogue, NormalizeOptions options, float* y);

// The sums over rows [0, rows) that the parameters and dx need, as doubles.
//   x, dy            (rows, channels), here with rows `stride` floats apart
//   y                as x: where the activation's mask is read (y <= 0 stops dz); null:
//                    the mask is computed again from x, bit for bit as Normalize had it, which
//                    needs that there was no add
//   dbeta, dgamma    (channels)
// Single precision inside tiles of 32 rows, double above; the order is fixed by `rows` alone.
void NormalizeGradientSums(const float* x, const float* y, const float* dy, int64_t rows,
                           int64_t channels, int64_t stride, const ChannelAffine& affine,
                           Activation activation, double* dbeta, double* dgamma);

// into[i] += from[i], i < count: how such sums merge.
void AddSums(const double* from, int64_t count, double* into);

struct NormalizeGradient {
  // Constants of the training mode, (channels): dbeta / R and dgamma / R. Both null in evaluation:
  // there the statistics do not depend on x.
  const float* mean_dbeta = nullptr;
  const float* mean_dgamma = nullptr;
  float* dx = nullptr;     // (rows, channels), or null; may be dy or x
  float* d_add = nullptr;  // (rows, channels), or null: dz; may be dy if dx is not
};

// dx, and dz where the added tensor's gradient is asked for. x, y, dy and affine as above; in
// evaluation without an activation x may be null.
void NormalizeBackward(const float* x, const float* y, const float* dy, int64_t rows,
                       int64_t channels, const ChannelAffine& affine, Activation activation,
                       NormalizeOptions options, const NormalizeGradient& gradient);

}  // namespace lockstep::kernels

#endif  // LOCKSTEP_ENGINE_KERNELS_NORM_NORMALIZE_H_
