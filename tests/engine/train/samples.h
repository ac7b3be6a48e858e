// Random samples for tests of single steps, and a network that takes them.
#ifndef LOCKSTEP_TESTS_ENGINE_TRAIN_SAMPLES_H_
#define LOCKSTEP_TESTS_ENGINE_TRAIN_SAMPLES_H_

#include <cstdint>
#include <span>
#include <vector>

#include "engine/base/random.h"
#include "engine/train/network.h"
#include "gtest/gtest.h"
#include "layers/loss/mse.h"
#include "tests/engine/train/toy_data.h"

namespace lockstep::inline v0_1::toy {

inline constexpr int64_t kFeatures = 6, kClasses = 4;

// For both kinds of targets.
struct Samples {
  explicit Samples(int64_t count, uint64_t seed = 1) : count(count) {
    Random random(seed, StreamOf("samples"));
    for (int64_t i = 0; i < count * kFeatures; ++i)
      features.push_back(static_cast<float>(random.Normal()));
    for (int64_t i = 0; i < count; ++i) {
      classes.push_back(static_cast<int32_t>(random.Below(kClasses)));
      values.push_back(static_cast<float>(random.Normal()));
    }
  }
  ConstTensor x() const { return {features.data(), {count, kFeatures}}; }
  ConstTensor ids() const { return {classes.data(), {count}}; }
  ConstTensor numbers() const { return {values.data(), {count, 1}}; }

  int64_t count;
  std::vector<float> features, values;
  std::vector<int32_t> classes;
};

inline std::vector<float> Copy(ConstTensor tensor) {
  const std::span<const float> values = tensor.span<float>();
  return {values.begin(), values.end()};
}
inline std::vector<float> Predictions(Network& net, const Samples& samples) {
  std::vector<float> y(static_cast<size_t>(samples.count * net.output_shape()[1]));
  EXPECT_TRUE(
      net.Predict(samples.x(), Tensor(y.data(), net.output_shape().WithBatch(samples.count))).ok());
  return y;
}

inline Network SmallNetwork(Context& ctx) {
  return Network::Bind(ctx, BnMlp(8, 1), MseLoss(), {.input = {32, kFeatures}, .seed = 4}).value();
}

}  // namespace lockstep::toy

#endif  // LOCKSTEP_TESTS_ENGINE_TRAIN_SAMPLES_H_
