#include "engine/optim/adam.h"

#include <cfloat>
#include <cmath>
#include <cstdio>
#include <string>
#include <utility>

#include "engine/base/text.h"
#include "engine/optim/power.h"

namespace lockstep::inline v0_1 {

double LeastAdamEps(double beta2) { return std::sqrt(FLT_MIN / (1.0 - beta2)); }

Status CheckAdamEps(double eps, double beta2) {
  const double least = LeastAdamEps(beta2);
  if (eps >= least && std::isfinite(eps)) return Status::Ok();
  char text[32];
  std::snprintf(text, sizeof text, "%.2g", 1.06 * least);  // one that will do
  return Status::Invalid(
      "eps must be at least " + std::string(text) + " with beta2 = " + TextOf(beta2) + ", not " +
      TextOf(eps) +
      ": squares of small gradients are flushed to zero, and a smaller eps would "
      "then divide what is left into steps far too large; 1e-8 is usual");
}

template <bool kDecoupled>
BasicAdam<kDecoupled>::BasicAdam(BasicAdamOptions<kDecoupled> options)
    : FlatOptimizer({.learning_rate = options.lr,
                     .weight_decay = options.weight_decay,
                     .decay_all = options.decay_all,
                     .maximize = options.maximize,
                     .groups = options.groups},
                    options.amsgrad
                        ? std::vector<std::string>{"exp_avg", "exp_avg_sq", "max_exp_avg_sq"}
                        : std::vector<std::string>{"exp_avg", "exp_avg_sq"}),
      options_(std::move(options)) {}

template <bool kDecoupled>
Status BasicAdam<kDecoupled>::CheckOptions() const {
  for (const double beta : options_.betas) {
    if (!(beta >= 0.0 && beta < 1.0)) {
      return Status::Invalid("betas must be in [0, 1), not " + std::to_string(beta));
    }
  }
  return CheckAdamEps(options_.eps, options_.betas[1]);
}

template <bool kDecoupled>
void BasicAdam<kDecoupled>::Prepare(std::span<const Setting> settings, int64_t step,
                                    double learning_rate, double grad_scale) {
  const auto [beta1, beta2] = options_.betas;
  const double correction1 = 1.0 - Power(beta1, step);
  const double correction2 = 1.0 - Power(beta2, step);
  factors_.resize(settings.size());
  for (size_t i = 0; i < settings.size(); ++i) {
    const double rate = learning_rate * settings[i].learning_rate_scale;
    const double decay = settings[i].weight_decay;
    factors_[i] = {.one_minus_beta1 = static_cast<float>(1.0 - beta1),
                   .beta2 = static_cast<float>(beta2),
                   .one_minus_beta2 = static_cast<float>(1.0 - beta2),
                   .step_size = static_cast<float>(rate / correction1),
                   .inv_sqrt_correction2 = static_cast<float>(1.0 / std::sqrt(correction2)),
                   .eps = static_cast<float>(options_.eps),
                   .keep = kDecoupled ? static_cast<float>(1.0 - rate * decay) : 1.0f,
                   .l2 = kDecoupled ? 0.0f : static_cast<float>(decay),
                   .grad_scale = static_cast<float>(grad_scale)};
  }
}

template <bool kDecoupled>
bool BasicAdam<kDecoupled>::UpdateRange(size_t setting, const Range& range) const {
  return kernels::UpdateAdam(factors_[setting], range.gradients, range.size, range.values,
                             range.states[0], range.states[1], range.states[2]);
}

template class BasicAdam<false>;
template class BasicAdam<true>;

}  // namespace lockstep
