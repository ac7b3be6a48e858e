// Parameters in flat arrays, laid out as a ParameterStore does, without a network around them.
#ifndef LOCKSTEP_TESTS_ENGINE_OPTIM_FLAT_PARAMETERS_H_
#define LOCKSTEP_TESTS_ENGINE_OPTIM_FLAT_PARAMETERS_H_

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "engine/base/random.h"
#include "engine/plan/parameters.h"

namespace lockstep::inline v0_1 {

class FlatParameters {
 public:
  void Add(std::string name, const Shape& shape, Decay decay = Decay::kYes) {
    const auto offset = static_cast<int64_t>(values_.size());
    infos_.push_back(
        {.name = std::move(name), .shape = shape, .init = {}, .decay = decay, .offset = offset});
    values_.resize(static_cast<size_t>((offset + shape.size() + 15) / 16 * 16));
    gradients_.resize(values_.size());
  }
  ParameterSet set() { return {infos_, values_, gradients_}; }
  const std::vector<float>& values() const { return values_; }
  const std::vector<float>& gradients() const { return gradients_; }

  void DrawValues(uint64_t seed) { Draw(seed, &ParameterSet::value); }
  void DrawGradients(uint64_t seed) { Draw(seed, &ParameterSet::gradient); }

 private:
  void Draw(uint64_t seed, Tensor (ParameterSet::*tensor)(size_t) const) {
    for (size_t i = 0; i < infos_.size(); ++i) {
      Random random(seed, StreamOf(infos_[i].name));
      for (float& x : (set().*tensor)(i).span<float>()) x = static_cast<float>(random.Normal());
    }
  }

  std::vector<ParameterInfo> infos_;
  std::vector<float> values_, gradients_;
};

}  // namespace lockstep

#endif  // LOCKSTEP_TESTS_ENGINE_OPTIM_FLAT_PARAMETERS_H_
