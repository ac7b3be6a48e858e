// What the C interface promises beside its results: no allocation, independent models, the host's
// arena.
#include <gtest/gtest.h>
#include <lockstep.h>
#include <oneapi/tbb/task_arena.h>
#include <unistd.h>

#include <filesystem>
#include <memory>
#include <thread>
#include <vector>

#include "engine/base/random.h"
#include "tests/engine/train/count_heap.h"

namespace lockstep {
namespace {

struct Destroy {
  void operator()(lockstep_model* model) const { lockstep_destroy(model); }
};
using Model = std::unique_ptr<lockstep_model, Destroy>;

constexpr int64_t kInputs = 20, kSamples = 256;

lockstep_options On(int threads) {
  lockstep_options options{};
  options.threads = threads;
  return options;
}

Model Make(const lockstep_options& options, const char* recipe = "train.seed = 3") {
  char why[256];
  lockstep_model* model = nullptr;
  EXPECT_EQ(lockstep_create_from_text(recipe, &options, &model, why, sizeof(why)), LOCKSTEP_OK)
      << why;
  return Model(model);
}

struct Samples {
  std::vector<float> x = std::vector<float>(kSamples * kInputs);
  std::vector<float> targets = std::vector<float>(kSamples);
  Samples() {
    Random random(/*seed=*/7, /*stream=*/0);
    for (float& value : x) value = static_cast<float>(random.Uniform()) - 0.5f;
    for (size_t i = 0; i < targets.size(); ++i)
      targets[i] = x[i * kInputs] > x[i * kInputs + 1] ? 1.0f : 0.0f;
  }
};

// Trains and predicts: the same bits, wherever and beside whatever it runs.
std::vector<float> Outcome(lockstep_options options) {
  const Samples samples;
  options.inputs = kInputs;
  options.batch = kSamples;
  const Model model = Make(options);
  for (int i = 0; i < 30; ++i) {
    EXPECT_EQ(lockstep_train_step(model.get(), kSamples, samples.x.data(), samples.targets.data(),
                                  nullptr),
              LOCKSTEP_OK);
  }
  std::vector<float> y(kSamples);
  EXPECT_EQ(lockstep_predict(model.get(), kSamples, samples.x.data(), y.data()), LOCKSTEP_OK);
  return y;
}

TEST(CApiTest, NeitherPredictionsNorStepsTakeAnythingFromTheHeap) {
  if (!toy::kCountsHeap) GTEST_SKIP() << "nothing is counted here";
  const Samples samples;
  for (const int threads : {1, 2}) {
    for (const lockstep_task task : {LOCKSTEP_BINARY, LOCKSTEP_CLASSES}) {
      lockstep_options options = On(threads);
      options.batch = kSamples;
      options.inputs = kInputs;
      options.outputs = task == LOCKSTEP_BINARY ? 1 : 2;
      options.task = task;
      const Model model = Make(options, "optimizer.clip_norm = 1.0");
      std::vector<float> y(2 * kSamples);
      double loss = 0.0;
      int64_t before = 0;
      for (int i = 0; i < 50; ++i) {
        if (i == 3) before = toy::HeapCalls();
        ASSERT_EQ(lockstep_train_step(model.get(), kSamples, samples.x.data(),
                                      samples.targets.data(), &loss),
                  LOCKSTEP_OK);
        ASSERT_EQ(lockstep_predict(model.get(), 1, samples.x.data() + i * kInputs, y.data()),
                  LOCKSTEP_OK);
        ASSERT_EQ(lockstep_predict(model.get(), kSamples, samples.x.data(), y.data()), LOCKSTEP_OK);
      }
      EXPECT_EQ(toy::HeapCalls() - before, 0) << threads << " threads, task " << task;
    }
  }
}

TEST(CApiTest, ModelsOnDifferentThreadsDoNotDisturbEachOther) {
  const std::vector<float> expected = Outcome(On(1));
  std::vector<std::vector<float>> outcomes(4);
  std::vector<std::thread> threads;
  for (auto& outcome : outcomes) threads.emplace_back([&outcome] { outcome = Outcome(On(2)); });
  for (std::thread& thread : threads) thread.join();
  for (const auto& outcome : outcomes) EXPECT_EQ(outcome, expected);
}

TEST(CApiTest, RunsInTheHostsArena) {
  const std::vector<float> expected = Outcome(On(1));
  lockstep_options guest = On(0);
  guest.join_host_arena = 1;
  tbb::task_arena host(2);
  host.execute([&] { EXPECT_EQ(Outcome(guest), expected); });
}

// A model that standardises gives the caller's raw features the same treatment after loading.
TEST(CApiTest, StandardisingTravelsWithTheFile) {
  const std::string path = std::filesystem::temp_directory_path() /
                           ("lockstep_capi_" + std::to_string(getpid()) + ".safetensors");
  const Model model = Make(On(1), "data.kind = \"clinical\"\ndata.size = 300\n");
  std::vector<float> x(kInputs, 40.0f), risk(1), again(1), other(1);
  ASSERT_EQ(lockstep_predict(model.get(), 1, x.data(), risk.data()), LOCKSTEP_OK);
  ASSERT_EQ(lockstep_save(model.get(), path.c_str()), LOCKSTEP_OK) << lockstep_error(model.get());
  lockstep_model* loaded = nullptr;
  char why[256];
  ASSERT_EQ(lockstep_load(path.c_str(), nullptr, &loaded, why, sizeof(why)), LOCKSTEP_OK) << why;
  const Model second(loaded);
  std::filesystem::remove(path);
  ASSERT_EQ(lockstep_predict(loaded, 1, x.data(), again.data()), LOCKSTEP_OK);
  EXPECT_EQ(risk, again);
  lockstep_options unstandardised = On(1);
  unstandardised.inputs = kInputs;
  const Model plain = Make(unstandardised);
  ASSERT_EQ(lockstep_predict(plain.get(), 1, x.data(), other.data()), LOCKSTEP_OK);
  EXPECT_NE(risk, other);
}

TEST(CApiTest, AModelThatIsTooLargeIsAnError) {
  lockstep_options options = On(1);
  options.batch = int64_t{1} << 28;
  options.inputs = 1;
  lockstep_model* model = nullptr;
  char why[256];
  EXPECT_EQ(
      lockstep_create_from_text("model.hidden = [2097152]", &options, &model, why, sizeof(why)),
      LOCKSTEP_OUT_OF_MEMORY)
      << why;
  EXPECT_EQ(model, nullptr);
}

}  // namespace
}  // namespace lockstep
