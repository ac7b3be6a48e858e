// Many threads that predict by one model through the C interface, while it is trained.
#include <gtest/gtest.h>
#include <lockstep.h>

#include <atomic>
#include <cstdint>
#include <string>
#include <thread>
#include <vector>

#include "engine/base/random.h"

namespace lockstep::inline v0_1 {
namespace {

constexpr int64_t kInputs = 6, kSamples = 50, kTrained = 32;

std::vector<float> Normals(int64_t count) {
  Random random(3, StreamOf("capi_predictor_test"));
  std::vector<float> values(static_cast<size_t>(count));
  for (float& v : values) v = static_cast<float>(random.Normal());
  return values;
}

lockstep_model* Make(const std::string& recipe, lockstep_task task) {
  lockstep_options options{};
  options.threads = 1;
  options.batch = kTrained;
  options.inputs = kInputs;
  options.outputs = task == LOCKSTEP_CLASSES ? 3 : 1;
  options.task = task;
  lockstep_model* model = nullptr;
  char why[256];
  EXPECT_EQ(lockstep_create_from_text(recipe.c_str(), &options, &model, why, sizeof(why)),
            LOCKSTEP_OK)
      << why;
  return model;
}

void Train(lockstep_model* model, const std::vector<float>& x, int steps) {
  std::vector<float> targets(kTrained);
  for (size_t i = 0; i < targets.size(); ++i) targets[i] = x[i * kInputs] > 0.0f ? 1.0f : 0.0f;
  for (int i = 0; i < steps; ++i)
    EXPECT_EQ(lockstep_train_step(model, kTrained, x.data(), targets.data(), nullptr), LOCKSTEP_OK);
}

TEST(CPredictorTest, WorkersGiveTheModelsBitsAndAnUpdateReachesThem) {
  const std::vector<float> x = Normals(kSamples * kInputs);
  for (const lockstep_task task : {LOCKSTEP_BINARY, LOCKSTEP_CLASSES, LOCKSTEP_REGRESSION}) {
    lockstep_model* model = Make("model.hidden = [16, 8]", task);
    const auto floats = static_cast<size_t>(kSamples * lockstep_outputs(model));
    Train(model, x, 3);
    char why[256] = "never written";
    lockstep_predictor* predictor = nullptr;
    ASSERT_EQ(lockstep_predictor_create(model, 7, &predictor, why, sizeof(why)), LOCKSTEP_OK);
    EXPECT_STREQ(why, "");
    std::vector<float> first(floats), second(floats);
    ASSERT_EQ(lockstep_predict(model, kSamples, x.data(), first.data()), LOCKSTEP_OK);
    std::atomic<int> wrong = 0, asked = 0;
    std::atomic<bool> updated = false;
    std::vector<std::thread> threads;
    for (int t = 0; t < 3; ++t) {
      threads.emplace_back([&] {
        lockstep_worker* worker = nullptr;
        char error[256];
        if (lockstep_worker_create(predictor, &worker, error, sizeof(error)) != LOCKSTEP_OK)
          ++wrong;
        std::vector<float> y(floats);
        for (bool last = false, asks_first = true;; asks_first = false) {
          if (lockstep_worker_predict(worker, kSamples, x.data(), y.data()) != LOCKSTEP_OK) ++wrong;
          if (asks_first) ++asked;
          if (last) break;
          if (asks_first && y != first) ++wrong;
          last = updated;
        }
        if (y != second) ++wrong;
        lockstep_worker_destroy(worker);
      });
    }
    while (asked < 3) std::this_thread::yield();
    Train(model, x, 5);
    ASSERT_EQ(lockstep_predict(model, kSamples, x.data(), second.data()), LOCKSTEP_OK);
    ASSERT_EQ(lockstep_predictor_update(predictor, model, why, sizeof(why)), LOCKSTEP_OK);
    updated = true;
    for (std::thread& thread : threads) thread.join();
    EXPECT_EQ(wrong, 0);
    EXPECT_NE(first, second);

    // Neither model nor predictor is needed any longer.
    lockstep_worker* worker = nullptr;
    ASSERT_EQ(lockstep_worker_create(predictor, &worker, nullptr, 0), LOCKSTEP_OK);
    lockstep_destroy(model);
    lockstep_predictor_destroy(predictor);
    std::vector<float> y(floats);
    EXPECT_EQ(lockstep_worker_predict(worker, kSamples, x.data(), y.data()), LOCKSTEP_OK);
    EXPECT_EQ(y, second);
    EXPECT_EQ(lockstep_worker_predict(worker, 0, nullptr, nullptr), LOCKSTEP_OK);
    lockstep_worker_destroy(worker);
  }
}

TEST(CPredictorTest, WhatIsWrongIsSaid) {
  lockstep_model* model = Make("model.hidden = [16, 8]", LOCKSTEP_BINARY);
  lockstep_model* wider = Make("model.hidden = [16, 9]", LOCKSTEP_BINARY);
  lockstep_predictor* predictor = nullptr;
  lockstep_worker* worker = nullptr;
  char why[256];
  EXPECT_EQ(lockstep_predictor_create(nullptr, 0, &predictor, why, sizeof(why)), LOCKSTEP_INVALID);
  EXPECT_STREQ(why, "model is NULL");
  EXPECT_EQ(lockstep_predictor_create(model, 0, nullptr, why, sizeof(why)), LOCKSTEP_INVALID);
  EXPECT_EQ(lockstep_predictor_create(model, -1, &predictor, why, sizeof(why)), LOCKSTEP_INVALID);
  EXPECT_EQ(predictor, nullptr);
  ASSERT_EQ(lockstep_predictor_create(model, 0, &predictor, why, sizeof(why)), LOCKSTEP_OK);
  EXPECT_EQ(lockstep_predictor_update(predictor, wider, why, sizeof(why)), LOCKSTEP_INVALID);
  EXPECT_NE(std::string(why).find("weight"), std::string::npos) << why;
  EXPECT_EQ(lockstep_predictor_update(predictor, nullptr, why, sizeof(why)), LOCKSTEP_INVALID);
  EXPECT_EQ(lockstep_predictor_update(nullptr, model, why, sizeof(why)), LOCKSTEP_INVALID);
  EXPECT_EQ(lockstep_worker_create(nullptr, &worker, why, sizeof(why)), LOCKSTEP_INVALID);
  EXPECT_EQ(lockstep_worker_create(predictor, nullptr, why, sizeof(why)), LOCKSTEP_INVALID);
  ASSERT_EQ(lockstep_worker_create(predictor, &worker, why, sizeof(why)), LOCKSTEP_OK);
  float x[kInputs] = {}, y[1] = {};
  EXPECT_EQ(lockstep_worker_predict(nullptr, 1, x, y), LOCKSTEP_INVALID);
  EXPECT_STREQ(lockstep_worker_error(nullptr), "the worker is NULL");
  EXPECT_EQ(lockstep_worker_predict(worker, 1, nullptr, y), LOCKSTEP_INVALID);
  EXPECT_STREQ(lockstep_worker_error(worker), "x is NULL");
  EXPECT_EQ(lockstep_worker_predict(worker, 1, x, nullptr), LOCKSTEP_INVALID);
  EXPECT_EQ(lockstep_worker_predict(worker, -1, x, y), LOCKSTEP_INVALID);
  EXPECT_EQ(lockstep_worker_predict(worker, 1, x, y), LOCKSTEP_OK);
  EXPECT_STREQ(lockstep_worker_error(worker), "");
  lockstep_worker_destroy(worker);
  // One sample at a time, the first answer would lie on the second sample.
  lockstep_predictor* ones = nullptr;
  ASSERT_EQ(lockstep_predictor_create(model, 1, &ones, why, sizeof(why)), LOCKSTEP_OK);
  ASSERT_EQ(lockstep_worker_create(ones, &worker, why, sizeof(why)), LOCKSTEP_OK);
  std::vector<float> two(2 * kInputs + 1, 0.5f);
  EXPECT_EQ(lockstep_worker_predict(worker, 2, two.data(), two.data() + kInputs), LOCKSTEP_INVALID);
  EXPECT_EQ(two[kInputs], 0.5f);
  EXPECT_EQ(lockstep_worker_predict(worker, 2, two.data(), two.data() + 2 * kInputs - 1),
            LOCKSTEP_INVALID);
  lockstep_worker_destroy(worker);
  lockstep_predictor_destroy(ones);
  lockstep_worker_destroy(nullptr);
  lockstep_predictor_destroy(predictor);
  lockstep_predictor_destroy(nullptr);
  lockstep_destroy(model);
  lockstep_destroy(wider);
}

}  // namespace
}  // namespace lockstep
