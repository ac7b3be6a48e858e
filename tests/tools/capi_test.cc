// What the C interface promises beside its results: no allocation, independent models, the host's
// arena.
#include <gtest/gtest.h>
#include <lockstep.h>
#include <oneapi/tbb/task_arena.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <limits>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "engine/base/random.h"
#include "tests/engine/train/count_heap.h"

namespace lockstep::inline v0_1 {
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

// What a program that was compiled with another version of lockstep.h hands over.
TEST(CApiTest, OptionsOfAnotherSizeAreUnderstoodOrRefused) {
  const auto code = [](const void* options) {
    lockstep_model* model = nullptr;
    const lockstep_code made = lockstep_create_from_text(
        "model.hidden = [4]", static_cast<const lockstep_options*>(options), &model, nullptr, 0);
    EXPECT_EQ(model != nullptr, made == LOCKSTEP_OK);
    lockstep_destroy(model);
    return made;
  };
  struct Later {
    lockstep_options options;
    int64_t more[3];
  } later{};
  later.options.inputs = kInputs;
  later.options.threads = 1;
  for (const size_t size : {size_t{0}, sizeof(lockstep_options), sizeof(Later)}) {
    later.options.size = size;
    EXPECT_EQ(code(&later), LOCKSTEP_OK) << size;
  }
  later.more[2] = 1;  // a wish that this library does not know
  EXPECT_EQ(code(&later), LOCKSTEP_INVALID);
  later.options.size = 0;  // not looked at
  EXPECT_EQ(code(&later), LOCKSTEP_OK);
  for (const size_t size : {size_t{1}, sizeof(lockstep_options) - 8, size_t{1} << 40}) {
    later.options.size = size;
    EXPECT_EQ(code(&later), LOCKSTEP_INVALID) << size;
  }
}

TEST(CApiTest, ATaskThatIsNoneIsAnError) {
  for (const int number : {-1, 4, 77, 1 << 30}) {
    for (const int64_t inputs : {kInputs, int64_t{0}}) {
      lockstep_options options = On(1);
      options.inputs = inputs;
      std::memcpy(&options.task, &number, sizeof(number));
      lockstep_model* model = nullptr;
      char why[256];
      EXPECT_EQ(lockstep_create_from_text("", &options, &model, why, sizeof(why)),
                LOCKSTEP_INVALID);
      EXPECT_NE(std::string(why).find("options.task"), std::string::npos) << why;
      EXPECT_EQ(lockstep_load("none.safetensors", &options, &model, why, sizeof(why)),
                LOCKSTEP_INVALID);
    }
  }
}

// Everything that a model is, as far as C can see it.
struct Seen {
  std::vector<float> y;
  std::string file;  // all that lockstep_save writes
  int64_t steps = 0;
  bool operator==(const Seen&) const = default;
};
Seen Look(lockstep_model* model, const Samples& samples) {
  Seen seen;
  seen.y.resize(static_cast<size_t>(kSamples * lockstep_outputs(model)));
  EXPECT_EQ(lockstep_predict(model, kSamples, samples.x.data(), seen.y.data()), LOCKSTEP_OK);
  seen.steps = lockstep_steps(model);
  const std::string path = std::filesystem::temp_directory_path() /
                           ("lockstep_capi_seen_" + std::to_string(getpid()) + ".safetensors");
  EXPECT_EQ(lockstep_save(model, path.c_str()), LOCKSTEP_OK) << lockstep_error(model);
  std::ifstream file(path, std::ios::binary);
  seen.file.assign(std::istreambuf_iterator<char>(file), {});
  std::filesystem::remove(path);
  return seen;
}

TEST(CApiTest, AStepThatFailsLeavesTheModelAsItWas) {
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
  for (const lockstep_task task : {LOCKSTEP_BINARY, LOCKSTEP_CLASSES, LOCKSTEP_REGRESSION}) {
    for (const char* clip : {"", "optimizer.clip_norm = 1.0"}) {
      const Samples good;
      lockstep_options options = On(1);
      options.batch = kSamples;
      options.inputs = kInputs;
      options.outputs = task == LOCKSTEP_CLASSES ? 2 : 1;
      options.task = task;
      const Model model = Make(options, clip), twin = Make(options, clip);
      const auto step = [&](lockstep_model* on, const Samples& samples) {
        double loss = -1.0;
        const lockstep_code code =
            lockstep_train_step(on, kSamples, samples.x.data(), samples.targets.data(), &loss);
        EXPECT_EQ(loss == -1.0, code != LOCKSTEP_OK);
        return code;
      };
      for (int i = 0; i < 3; ++i) {
        ASSERT_EQ(step(model.get(), good), LOCKSTEP_OK);
        ASSERT_EQ(step(twin.get(), good), LOCKSTEP_OK);
      }
      const Seen before = Look(model.get(), good);
      const auto fails = [&](const Samples& bad, lockstep_code code, const char* why) {
        EXPECT_EQ(step(model.get(), bad), code);
        EXPECT_NE(std::string(lockstep_error(model.get())).find(why), std::string::npos)
            << lockstep_error(model.get());
        EXPECT_TRUE(Look(model.get(), good) == before);
      };
      Samples nan_feature, nan_target, large, no_class;
      nan_feature.x[kInputs * 7 + 3] = kNan;
      fails(nan_feature, LOCKSTEP_NON_FINITE, "input");
      nan_target.targets[9] = kNan;
      fails(nan_target, task == LOCKSTEP_CLASSES ? LOCKSTEP_INVALID : LOCKSTEP_NON_FINITE,
            task == LOCKSTEP_CLASSES ? "sample 9" : "input");
      if (task == LOCKSTEP_CLASSES) {
        no_class.targets[200] = 2.0f;
        fails(no_class, LOCKSTEP_INVALID, "2 in row 200");
      }
      if (task == LOCKSTEP_REGRESSION) {
        large.targets[5] = std::numeric_limits<float>::infinity();
        fails(large, LOCKSTEP_NON_FINITE, "input");
      }
      ASSERT_EQ(step(model.get(), good), LOCKSTEP_OK);
      ASSERT_EQ(step(twin.get(), good), LOCKSTEP_OK);
      EXPECT_TRUE(Look(model.get(), good) == Look(twin.get(), good));
    }
  }
}

TEST(CApiTest, WeightsOfSamplesCountThem) {
  const Samples samples;
  lockstep_options options = On(1);
  options.batch = kSamples;
  options.inputs = kInputs;
  // Without batch norm and dropout a sample of weight 0 is as if it were not there.
  const char* recipe = "model.norm = \"none\"\nmodel.dropout = 0.0\n";
  const Model plain = Make(options, recipe);
  options.weighted = 1;
  const Model model = Make(options, recipe), ones = Make(options, recipe);
  const int64_t half = kSamples / 2;
  std::vector<float> weights(kSamples, 3.0f);
  std::fill(weights.begin() + half, weights.end(), 0.0f);
  double loss = 0.0, expected = 0.0, of_ones = 0.0;
  ASSERT_EQ(lockstep_train_step_weighted(model.get(), kSamples, samples.x.data(),
                                         samples.targets.data(), weights.data(), &loss),
            LOCKSTEP_OK)
      << lockstep_error(model.get());
  ASSERT_EQ(
      lockstep_train_step(plain.get(), half, samples.x.data(), samples.targets.data(), &expected),
      LOCKSTEP_OK);
  ASSERT_EQ(
      lockstep_train_step(ones.get(), half, samples.x.data(), samples.targets.data(), &of_ones),
      LOCKSTEP_OK);
  EXPECT_NEAR(loss, expected, 1e-6 * expected);
  EXPECT_NEAR(of_ones, expected, 1e-6 * expected);

  const Seen before = Look(model.get(), samples);
  const auto code = [&](lockstep_model* on, const float* w) {
    return lockstep_train_step_weighted(on, kSamples, samples.x.data(), samples.targets.data(), w,
                                        nullptr);
  };
  EXPECT_EQ(code(nullptr, weights.data()), LOCKSTEP_INVALID);
  EXPECT_EQ(code(model.get(), nullptr), LOCKSTEP_INVALID);
  EXPECT_EQ(code(plain.get(), weights.data()), LOCKSTEP_INVALID);
  EXPECT_NE(std::string(lockstep_error(plain.get())).find("options.weighted"), std::string::npos);
  for (const float bad :
       {-1.0f, std::numeric_limits<float>::infinity(), std::numeric_limits<float>::quiet_NaN()}) {
    weights[3] = bad;
    EXPECT_NE(code(model.get(), weights.data()), LOCKSTEP_OK);
    EXPECT_TRUE(Look(model.get(), samples) == before);
  }
}

TEST(CApiTest, PredictionsMustNotLieInTheirInputs) {
  lockstep_options options = On(1);
  options.inputs = kInputs;
  options.batch = 8;  // so that many are predicted one batch after the other
  const Model model = Make(options);
  std::vector<float> memory(kSamples * kInputs + kSamples);
  EXPECT_EQ(
      lockstep_predict(model.get(), kSamples, memory.data(), memory.data() + kSamples * kInputs),
      LOCKSTEP_OK);
  for (const int64_t at : {int64_t{0}, 100 * kInputs, kSamples * kInputs - 1}) {
    EXPECT_EQ(lockstep_predict(model.get(), kSamples, memory.data(), memory.data() + at),
              LOCKSTEP_INVALID);
  }
  options.predict_only = 1;
  EXPECT_EQ(lockstep_set_learning_rate(Make(options).get(), 0.1), LOCKSTEP_INVALID);
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
