// One update of a flat range of parameters, and what goes with it: gradient norms and averages of
// weights. Each reads and writes every array once.
//
// Formulas and rounding follow PyTorch 2 (torch/optim/sgd.py, adam.py, adamw.py): factors that are
// the same for all elements are computed in double by the caller and rounded to float once.
//
// Serial, allocates nothing, thread-safe on distinct outputs; arrays of any alignment that do not
// overlap. Zero gradients leave zero parameters with zero states at zero, so ranges may cover the
// padding between parameters. Element by element: a range cut anywhere gives the same bits.
#ifndef LOCKSTEP_ENGINE_KERNELS_OPTIMIZER_OPTIMIZER_UPDATE_H_
#define LOCKSTEP_ENGINE_KERNELS_OPTIMIZER_OPTIMIZER_UPDATE_H_

#include <cstdint>

namespace lockstep::inline v0_1::kernels {

//   d = grad_scale * g + weight_decay * p
//   b = momentum * b + gradient_weight * d                       with a momentum buffer
//   d = b, or d + momentum * b (Nesterov)
//   p = p - learning_rate * d
struct SgdFactors {
  float learning_rate = 0.0f;
  float weight_decay = 0.0f;
  float momentum = 0.0f;
  float gradient_weight = 1.0f;  // 1 - dampening; 1 in the first step, where b is zero
  bool nesterov = false;
  float grad_scale = 1.0f;  // of clipping; negative to maximise
};

//   gradients         (n)
//   parameters        (n)
//   momentum_buffer   (n), or null: d is used as it is
// Returns whether all gradients were finite; where one was not, its parameter is lost.
bool UpdateSgd(const SgdFactors& factors, const float* gradients, int64_t n, float* parameters,
               float* momentum_buffer);

//   d = grad_scale * g + l2 * p
//   m = m + (1 - beta1) * (d - m)
//   v = beta2 * v + (1 - beta2) * d^2
//   w = v, or the largest v so far (AMSGrad)
//   p = keep * p - step_size * m / (sqrt(w) * inv_sqrt_correction2 + eps)
// Adam: keep = 1. AdamW: l2 = 0, keep = 1 - learning_rate * weight_decay. In step t
// step_size = learning_rate / (1 - beta1^t) and inv_sqrt_correction2 = 1 / sqrt(1 - beta2^t).
struct AdamFactors {
  float one_minus_beta1 = 0.0f;
  float beta2 = 0.0f;
  float one_minus_beta2 = 0.0f;
  float step_size = 0.0f;
  float inv_sqrt_correction2 = 1.0f;
  float eps = 0.0f;  // positive: zero gradients would divide zero by zero
  float keep = 1.0f;
  float l2 = 0.0f;
  float grad_scale = 1.0f;  // of clipping; negative to maximise
};

//   gradients            (n)
//   parameters           (n)
//   exp_avg              (n), m
//   exp_avg_sq           (n), v
//   max_exp_avg_sq       (n), w, or null: without AMSGrad
// Returns whether all gradients were finite; where one was not, its parameter is lost.
bool UpdateAdam(const AdamFactors& factors, const float* gradients, int64_t n, float* parameters,
                float* exp_avg, float* exp_avg_sq, float* max_exp_avg_sq);

// sum x^2 in double, over 16 virtual lanes. Not finite exactly where an x is not: the square of a
// float does not overflow a double. The same bits on every target.
//   x   (n)
double SumOfSquares(const float* x, int64_t n);

// average = decay * average + (1 - decay) * p, computed as average + (1 - decay) * (p - average),
// which leaves an average of constants where it is.
//   p, average   (n)
void UpdateAverage(float one_minus_decay, const float* p, int64_t n, float* average);

}  // namespace lockstep::kernels

#endif  // LOCKSTEP_ENGINE_KERNELS_OPTIMIZER_OPTIMIZER_UPDATE_H_
