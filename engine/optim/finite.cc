#include "engine/optim/finite.h"

#include <algorithm>
#include <cmath>
#include <span>
#include <string>

namespace lockstep::inline v0_1 {

Status CheckGradientsFinite(const ParameterSet& parameters) {
  for (size_t i = 0; i < parameters.infos.size(); ++i) {
    const std::span<float> gradient = parameters.gradient(i).span<float>();
    const auto bad =
        std::find_if(gradient.begin(), gradient.end(), [](float g) { return !std::isfinite(g); });
    if (bad != gradient.end()) {
      return Status::NonFinite("the gradient of " + parameters.infos[i].name + " is " +
                               (std::isnan(*bad) ? "nan" : "infinite") + " at element " +
                               std::to_string(bad - gradient.begin()) + " of " +
                               std::to_string(gradient.size()) +
                               "; a smaller learning rate or clipping may help");
    }
  }
  return Status::Ok();
}

}  // namespace lockstep
