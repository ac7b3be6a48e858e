// Losses that compare element with element, forward and backward in one pass.
//
// Each returns the sum of its losses over the elements it is given: fp32 in 16 virtual lanes over
// short stretches, double above them. Call it once for each row block of the batch and merge the
// blocks in the fixed tree; the caller divides for a mean. Unless null, the gradient receives
// scale * d(sum)/d(prediction) and may be the prediction itself. A NaN makes the sum NaN. Nothing
// is allocated. Thread-safe.
#ifndef LOCKSTEP_ENGINE_KERNELS_ELEMENTWISE_LOSSES_H_
#define LOCKSTEP_ENGINE_KERNELS_ELEMENTWISE_LOSSES_H_

#include <cstdint>

namespace lockstep::inline v0_1::kernels {

struct BceOptions {
  const float* weights = nullptr;     // (rows, columns), or null for all ones
  const float* pos_weight = nullptr;  // (columns), or null for all ones
};

// Binary cross entropy with logits, as torch.nn.functional.binary_cross_entropy_with_logits; s is
// the sigmoid, t the target in [0, 1], p the positive weight:
//   loss = w ((1 - t) x + (1 + (p - 1) t) ln(1 + e^-x))
//   dx   = w ((1 + (p - 1) t) s(x) - p t)
// logits, targets, dlogits: (rows, columns).
double BceWithLogits(const float* logits, const float* targets, int64_t rows, int64_t columns,
                     const BceOptions& options, float scale, float* dlogits);

// Squared error: loss = (x - t)^2, dx = 2 (x - t). All (n).
double SquaredError(const float* x, const float* target, int64_t n, float scale, float* dx);

// Huber, as torch.nn.functional.huber_loss, with e = x - t and delta > 0:
//   loss = |e| <= delta ? e^2 / 2 : delta (|e| - delta / 2),  dx = clamp(e, -delta, delta)
// All (n).
double Huber(const float* x, const float* target, int64_t n, float delta, float scale, float* dx);

}  // namespace lockstep::kernels

#endif  // LOCKSTEP_ENGINE_KERNELS_ELEMENTWISE_LOSSES_H_
