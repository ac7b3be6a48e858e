#include "engine/optim/adam.h"

#include <cfloat>
#include <cmath>
#include <utility>

#include "engine/optim/power.h"

namespace lockstep {

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
  if (!(options_.eps >= FLT_MIN && std::isfinite(options_.eps))) {
    return Status::Invalid(
        "eps must be at least 1.2e-38, the smallest normal float: where no gradient ever came, the "
        "step would be 0 / 0");
  }
  return Status::Ok();
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
