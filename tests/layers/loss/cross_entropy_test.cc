// CrossEntropyLoss against class probabilities, in a network.
#include "layers/loss/cross_entropy.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>
#include <span>
#include <vector>

#include "engine/train/evaluate.h"
#include "engine/train/network.h"
#include "layers/container/sequential.h"
#include "layers/linear.h"

namespace lockstep::inline v0_1 {
namespace {

using ::testing::HasSubstr;

constexpr int64_t kSamples = 37, kFeatures = 5, kClasses = 4;

std::vector<float> Features() {
  std::vector<float> x;
  for (int64_t i = 0; i < kSamples * kFeatures; ++i)
    x.push_back(static_cast<float>((i * 7919) % 101) / 50.0f - 1.0f);
  return x;
}

Network Bind(Context& ctx, const CrossEntropyLossOptions& options, int shards = 1) {
  return Network::Bind(ctx, Sequential(Linear(kClasses)), CrossEntropyLoss(options),
                       {.input = {kSamples, kFeatures}, .seed = 3, .shards = shards})
      .value();
}

struct Gradients {
  LossSum loss;
  std::vector<float> values;
};
Gradients GradientsOf(const CrossEntropyLossOptions& options, ConstTensor target, int threads = 1) {
  Context ctx({.threads = threads});
  Network net = Bind(ctx, options, /*shards=*/4);
  const std::vector<float> x = Features();
  const StepResult step = net.Gradients({x.data(), {kSamples, kFeatures}}, target).value();
  const auto gradients = net.parameters().gradients;
  return {step.loss, {gradients.begin(), gradients.end()}};
}

TEST(CrossEntropyProbabilitiesTest, CertainOnesGiveWhatClassIdsGive) {
  std::vector<int32_t> ids;
  std::vector<float> rows(kSamples * kClasses);
  for (int64_t i = 0; i < kSamples; ++i) {
    const bool ignored = i % 9 == 4;
    ids.push_back(ignored ? -100 : static_cast<int32_t>((i * 5) % kClasses));
    if (!ignored) rows[static_cast<size_t>(i * kClasses + ids.back())] = 1.0f;
  }
  for (const double smoothing : {0.0, 0.2}) {
    const Gradients hard = GradientsOf({.label_smoothing = smoothing}, {ids.data(), {kSamples}});
    const Gradients soft = GradientsOf({.label_smoothing = smoothing, .probabilities = true},
                                       {rows.data(), {kSamples, kClasses}});
    EXPECT_EQ(soft.loss.weight, hard.loss.weight);
    EXPECT_EQ(hard.loss.weight, 33.0);
    // Some twenty roundings of numbers below 10 for each of 33 rows; gradients are means.
    EXPECT_NEAR(soft.loss.sum, hard.loss.sum, 33 * 20 * 10 * 0x1p-24);
    for (size_t i = 0; i < hard.values.size(); ++i)
      EXPECT_NEAR(soft.values[i], hard.values[i], 20 * 0x1p-24) << i;
  }
}

// The loss of a mixture is the mixture of the losses.
TEST(CrossEntropyProbabilitiesTest, AMixtureIsLinear) {
  std::vector<int32_t> a, b;
  std::vector<float> rows(kSamples * kClasses);
  for (int64_t i = 0; i < kSamples; ++i) {
    a.push_back(static_cast<int32_t>(i % kClasses));
    b.push_back(static_cast<int32_t>((i / 3) % kClasses));
    rows[static_cast<size_t>(i * kClasses + a.back())] += 0.75f;
    rows[static_cast<size_t>(i * kClasses + b.back())] += 0.25f;
  }
  const Gradients of_a = GradientsOf({}, {a.data(), {kSamples}});
  const Gradients of_b = GradientsOf({}, {b.data(), {kSamples}});
  const CrossEntropyLossOptions options{.probabilities = true};
  const ConstTensor target(rows.data(), {kSamples, kClasses});
  const Gradients mixed = GradientsOf(options, target);
  EXPECT_NEAR(mixed.loss.sum, 0.75 * of_a.loss.sum + 0.25 * of_b.loss.sum, 37 * 20 * 10 * 0x1p-24);
  for (size_t i = 0; i < mixed.values.size(); ++i) {
    EXPECT_NEAR(mixed.values[i], 0.75f * of_a.values[i] + 0.25f * of_b.values[i], 40 * 0x1p-24);
  }
  for (const int threads : {2, 3, 8}) {
    const Gradients again = GradientsOf(options, target, threads);
    EXPECT_EQ(again.loss.sum, mixed.loss.sum);
    EXPECT_EQ(
        std::memcmp(again.values.data(), mixed.values.data(), mixed.values.size() * sizeof(float)),
        0);
  }
}

TEST(CrossEntropyProbabilitiesTest, WhatIsNoProbabilityIsRefusedByPlace) {
  Context ctx({.threads = 1});
  Network net = Bind(ctx, {.probabilities = true});
  const std::vector<float> x = Features();
  for (const float bad : {-0.5f, 1.5f, static_cast<float>(NAN), static_cast<float>(INFINITY)}) {
    std::vector<float> rows(kSamples * kClasses, 0.25f);
    rows[3 * kClasses + 2] = bad;
    const auto step =
        net.Gradients({x.data(), {kSamples, kFeatures}}, {rows.data(), {kSamples, kClasses}});
    ASSERT_FALSE(step.ok());
    EXPECT_THAT(step.status().message(), HasSubstr("class 2 in row 3 is not a probability"));
  }
}

// A dataset of probabilities, as mixed pictures have them.
class Soft final : public Dataset {
 public:
  Soft()
      : Dataset({.name = "soft",
                 .size = kSamples,
                 .x_shape = {kFeatures},
                 .target_dtype = DType::kF32,
                 .target_shape = {kClasses},
                 .classes = kClasses}) {}

 private:
  Status Read(std::span<const int64_t> indices, Tensor x, Tensor target, int64_t) const override {
    const std::vector<float> all = Features();
    for (size_t i = 0; i < indices.size(); ++i) {
      const auto n = static_cast<int64_t>(i);
      std::memcpy(x.f32() + n * kFeatures, all.data() + indices[i] * kFeatures,
                  kFeatures * sizeof(float));
      float* row = target.f32() + n * kClasses;
      std::fill_n(row, kClasses, 0.0f);
      if (indices[i] % 9 != 4) row[indices[i] % kClasses] = 1.0f;
    }
    return Status::Ok();
  }
};

TEST(CrossEntropyProbabilitiesTest, AnEvaluationCountsTheLikeliestClass) {
  Context ctx({.threads = 1});
  Network net = Bind(ctx, {.probabilities = true});
  const std::vector<float> x = Features();
  std::vector<float> outputs(kSamples * kClasses);
  ASSERT_TRUE(
      net.Predict({x.data(), {kSamples, kFeatures}}, Tensor(outputs.data(), {kSamples, kClasses}))
          .ok());
  int64_t right = 0, all = 0;
  for (int64_t i = 0; i < kSamples; ++i) {
    if (i % 9 == 4) continue;
    const float* y = outputs.data() + i * kClasses;
    ++all;
    right += std::max_element(y, y + kClasses) - y == i % kClasses ? 1 : 0;
  }
  const EvaluationResult result =
      Evaluate(net, {std::make_shared<Soft>(), AllIndices(kSamples)}).value();
  EXPECT_EQ(result.accuracy, static_cast<double>(right) / static_cast<double>(all));
}

}  // namespace
}  // namespace lockstep
