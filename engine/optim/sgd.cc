#include "engine/optim/sgd.h"

#include <cmath>
#include <utility>

namespace lockstep::inline v0_1 {

Sgd::Sgd(SgdOptions options)
    : FlatOptimizer({.learning_rate = options.lr,
                     .weight_decay = options.weight_decay,
                     .decay_all = options.decay_all,
                     .maximize = options.maximize,
                     .groups = options.groups},
                    options.momentum != 0.0 ? std::vector<std::string>{"momentum_buffer"}
                                            : std::vector<std::string>{}),
      options_(std::move(options)) {}

Status Sgd::CheckOptions() const {
  if (!(options_.momentum >= 0.0 && std::isfinite(options_.momentum))) {
    return Status::Invalid("momentum must be 0 or more, not " + std::to_string(options_.momentum));
  }
  if (!std::isfinite(options_.dampening)) {
    return Status::Invalid("dampening must be finite, not " + std::to_string(options_.dampening));
  }
  if (options_.nesterov && (options_.momentum == 0.0 || options_.dampening != 0.0)) {
    return Status::Invalid("nesterov needs a momentum above 0 and no dampening");
  }
  return Status::Ok();
}

void Sgd::Prepare(std::span<const Setting> settings, int64_t step, double learning_rate,
                  double grad_scale) {
  factors_.resize(settings.size());
  for (size_t i = 0; i < settings.size(); ++i) {
    factors_[i] = {
        .learning_rate = static_cast<float>(learning_rate * settings[i].learning_rate_scale),
        .weight_decay = static_cast<float>(settings[i].weight_decay),
        .momentum = static_cast<float>(options_.momentum),
        .gradient_weight = step == 1 ? 1.0f : static_cast<float>(1.0 - options_.dampening),
        .nesterov = options_.nesterov,
        .grad_scale = static_cast<float>(grad_scale)};
  }
}

bool Sgd::UpdateRange(size_t setting, const Range& range) const {
  return kernels::UpdateSgd(factors_[setting], range.gradients, range.size, range.values,
                            range.states[0]);
}

}  // namespace lockstep
