// Everything that a step changes, to the bit: what a failed one leaves as it was.
#ifndef LOCKSTEP_TESTS_ENGINE_TRAIN_EVERYTHING_H_
#define LOCKSTEP_TESTS_ENGINE_TRAIN_EVERYTHING_H_

#include <bit>
#include <cstdint>
#include <vector>

#include "engine/optim/optimizer.h"
#include "engine/train/checkpointing.h"
#include "tests/engine/train/samples.h"

namespace lockstep::inline v0_1::toy {

// So that a NaN is what it was as well.
inline std::vector<uint32_t> Bits(const std::vector<float>& values) {
  std::vector<uint32_t> bits;
  for (const float v : values) bits.push_back(std::bit_cast<uint32_t>(v));
  return bits;
}

struct Everything {
  uint64_t model = 0;  // parameters, statistics, counts
  int64_t optimizer_steps = 0;
  std::vector<std::vector<uint32_t>> optimizer{};
  std::vector<uint32_t> predictions{};
  bool operator==(const Everything&) const = default;
};

inline Everything Look(Network& net, const Optimizer& optimizer) {
  Everything all{.model = ModelHash(net), .optimizer_steps = optimizer.step_count()};
  for (const OptimizerState& state : optimizer.states())
    all.optimizer.push_back(Bits(Copy(state.tensor)));
  all.predictions = Bits(Predictions(net, Samples(5, 77)));
  return all;
}

}  // namespace lockstep::toy

#endif  // LOCKSTEP_TESTS_ENGINE_TRAIN_EVERYTHING_H_
