// Derivatives and summaries in the C interface.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <lockstep.h>

#include <cmath>
#include <memory>
#include <utility>
#include <vector>

#include "engine/base/random.h"
#include "models/testing/count_heap.h"

namespace lockstep::inline v0_1 {
namespace {

using lockstep::checks::HeapCalls;
using lockstep::checks::kCountsHeap;
using ::testing::HasSubstr;

struct Destroy {
  void operator()(lockstep_model* model) const { lockstep_destroy(model); }
};
using Model = std::unique_ptr<lockstep_model, Destroy>;

constexpr int64_t kInputs = 5, kSamples = 8;

Model Make(int64_t outputs, lockstep_task task, int64_t batch = kSamples) {
  lockstep_options options{};
  options.threads = 1;
  options.inputs = kInputs;
  options.outputs = outputs;
  options.task = task;
  options.batch = batch;
  char why[256];
  lockstep_model* model = nullptr;
  EXPECT_EQ(lockstep_create_from_text(
                "train.seed = 3\n[model]\nhidden = [16]\nactivation = \"tanh\"\nnorm = \"none\"",
                &options, &model, why, sizeof(why)),
            LOCKSTEP_OK)
      << why;
  return Model(model);
}

std::vector<float> Features() {
  Random random(/*seed=*/7, /*stream=*/0);
  std::vector<float> x(kSamples * kInputs);
  for (float& value : x) value = static_cast<float>(random.Normal());
  return x;
}

TEST(CApiJacobianTest, IsTheSlopeOfPredictions) {
  for (const auto& [outputs, task] : {std::pair<int64_t, lockstep_task>{1, LOCKSTEP_BINARY},
                                      {3, LOCKSTEP_CLASSES},
                                      {2, LOCKSTEP_REGRESSION}}) {
    const Model model = Make(outputs, task, 3);  // more samples than a batch
    std::vector<float> x = Features();
    const auto k = static_cast<size_t>(outputs);
    std::vector<float> j(kSamples * k * kInputs, NAN), above(kSamples * k), below(kSamples * k);
    ASSERT_EQ(lockstep_jacobian(model.get(), kSamples, x.data(), j.data()), LOCKSTEP_OK)
        << lockstep_error(model.get());
    for (size_t i = 0; i < kInputs; ++i) {
      // Differences of floats around 1 over h = 2^-6: off by 2^-23 / h = 8e-6, and by h^2 / 6 times
      // a third derivative of about 1.
      constexpr float kStep = 0x1p-6f;
      for (size_t s = 0; s < kSamples; ++s) x[s * kInputs + i] += kStep;
      ASSERT_EQ(lockstep_predict(model.get(), kSamples, x.data(), above.data()), LOCKSTEP_OK);
      for (size_t s = 0; s < kSamples; ++s) x[s * kInputs + i] -= 2 * kStep;
      ASSERT_EQ(lockstep_predict(model.get(), kSamples, x.data(), below.data()), LOCKSTEP_OK);
      x = Features();
      for (size_t at = 0; at < above.size(); ++at) {
        const float slope = (above[at] - below[at]) / (2 * kStep);
        EXPECT_NEAR(j[at * kInputs + i], slope, 2e-4) << task << at << i;
      }
    }
  }
}

TEST(CApiJacobianTest, TakesNothingFromTheHeapAfterTheFirstCall) {
  if (!kCountsHeap) GTEST_SKIP() << "nothing is counted here";
  const Model model = Make(2, LOCKSTEP_REGRESSION);
  const std::vector<float> x = Features();
  std::vector<float> j(kSamples * 2 * kInputs);
  ASSERT_EQ(lockstep_jacobian(model.get(), kSamples, x.data(), j.data()), LOCKSTEP_OK);
  const int64_t before = HeapCalls();
  for (int64_t n = 1; n <= kSamples; ++n)
    ASSERT_EQ(lockstep_jacobian(model.get(), n, x.data(), j.data()), LOCKSTEP_OK);
  EXPECT_EQ(HeapCalls(), before);
}

TEST(CApiJacobianTest, WhatIsMissingIsSaid) {
  const Model model = Make(2, LOCKSTEP_REGRESSION);
  std::vector<float> x = Features(), j(kSamples * 2 * kInputs);
  EXPECT_EQ(lockstep_jacobian(nullptr, 1, x.data(), j.data()), LOCKSTEP_INVALID);
  EXPECT_EQ(lockstep_jacobian(model.get(), 1, nullptr, j.data()), LOCKSTEP_INVALID);
  EXPECT_THAT(lockstep_error(model.get()), HasSubstr("x is NULL"));
  EXPECT_EQ(lockstep_jacobian(model.get(), 1, x.data(), nullptr), LOCKSTEP_INVALID);
  EXPECT_THAT(lockstep_error(model.get()), HasSubstr("jacobian is NULL"));
  EXPECT_EQ(lockstep_jacobian(model.get(), -1, x.data(), j.data()), LOCKSTEP_INVALID);
  EXPECT_EQ(lockstep_jacobian(model.get(), 0, nullptr, nullptr), LOCKSTEP_OK);
}

TEST(CApiSummaryTest, IsALineForEachLayer) {
  const Model model = Make(2, LOCKSTEP_REGRESSION);
  const char* const summary = lockstep_summary(model.get());
  ASSERT_NE(summary, nullptr);
  EXPECT_THAT(summary, HasSubstr("Linear"));
  EXPECT_THAT(summary, HasSubstr("130 parameters, all of which learn"));  // 5 16 + 16 + 16 2 + 2
  EXPECT_EQ(lockstep_summary(nullptr), nullptr);
}

}  // namespace
}  // namespace lockstep
