// One element's update by each optimizer kernel (engine/kernels/optimizer/optimizer_update.h).
//
// The order of operations and the fused ones are the kernels' own: with T = float every target that
// has fused multiply-add must give these bits, with T = double this says what they should be.
#ifndef LOCKSTEP_TESTS_REFERENCE_OPTIMIZER_H_
#define LOCKSTEP_TESTS_REFERENCE_OPTIMIZER_H_

#include <algorithm>
#include <cmath>

#include "engine/kernels/optimizer/optimizer_update.h"

namespace lockstep::inline v0_1::reference {

// b is null without momentum.
template <class T>
void Sgd(const kernels::SgdFactors& f, T g, T& p, T* b) {
  T step = std::fma(T{f.weight_decay}, p, T{f.grad_scale} * g);
  if (b != nullptr) {
    *b = std::fma(T{f.gradient_weight}, step, T{f.momentum} * *b);
    step = f.nesterov ? std::fma(T{f.momentum}, *b, step) : *b;
  }
  p = std::fma(-T{f.learning_rate}, step, p);
}

// max_v is null without AMSGrad.
template <class T>
void Adam(const kernels::AdamFactors& f, T g, T& p, T& m, T& v, T* max_v) {
  const T d = std::fma(T{f.l2}, p, T{f.grad_scale} * g);
  const T weight = f.one_minus_beta1;
  m = weight < T{0.5} ? std::fma(weight, d - m, m) : std::fma(weight - T{1}, d - m, d);
  v = std::fma(T{f.one_minus_beta2} * d, d, T{f.beta2} * v);
  if (max_v != nullptr) *max_v = std::max(*max_v, v);
  const T largest = max_v != nullptr ? *max_v : v;
  const T denominator = std::fma(std::sqrt(largest), T{f.inv_sqrt_correction2}, T{f.eps});
  p = std::fma(-T{f.step_size}, m / denominator, T{f.keep} * p);
}

template <class T>
void Average(float one_minus_decay, T p, T& average) {
  average = std::fma(T{one_minus_decay}, p - average, average);
}

}  // namespace lockstep::reference

#endif  // LOCKSTEP_TESTS_REFERENCE_OPTIMIZER_H_
