// A host that rounds otherwise and traps floating-point exceptions: the same bits as in any other,
// nothing traps on finite data, and its mode and flags are its own afterwards.
#include <gtest/gtest.h>
#include <oneapi/tbb/task_arena.h>
#include <oneapi/tbb/task_group.h>

#include <atomic>
#include <cfenv>
#include <cstdint>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "engine/io/hash.h"
#include "engine/train/checkpointing.h"
#include "engine/train/evaluate.h"
#include "engine/train/predictor.h"
#include "layers/attention/transformer_block.h"
#include "tests/engine/train/toy_data.h"
#include "tests/layers/network_models.h"

// feenableexcept is glibc's; cores of other kinds may not trap at all.
#if defined(__GLIBC__) && defined(__x86_64__)

namespace lockstep::inline v0_1 {
namespace {

constexpr int kTraps = FE_INVALID | FE_DIVBYZERO | FE_OVERFLOW;

// This thread's mode while an object lives; then the one before.
class HostMode {
 public:
  explicit HostMode(int rounding) : rounding_(rounding) {
    std::fegetenv(&before_);
    std::feclearexcept(FE_ALL_EXCEPT);
    std::fesetround(rounding);
    feenableexcept(kTraps);
  }
  ~HostMode() { std::fesetenv(&before_); }

  // Whether the mode is still there, and no flag has been raised.
  bool IsUntouched() const {
    return std::fegetround() == rounding_ && fegetexcept() == kTraps &&
           std::fetestexcept(FE_ALL_EXCEPT) == 0;
  }

 private:
  int rounding_;
  std::fenv_t before_;
};

constexpr int kRoundings[] = {FE_TONEAREST, FE_UPWARD, FE_TOWARDZERO};

TEST(HostFloat, EveryLayerComputesTheSameBits) {
  for (const networks::Model& model : networks::Models()) {
    SCOPED_TRACE(model.name);
    const networks::Trace expected = networks::TraceOf(model, {});
    networks::Trace trace;
    {
      const HostMode mode(FE_UPWARD);
      trace = networks::TraceOf(model, {.threads = 2});
    }
    EXPECT_EQ(trace, expected);
  }
}

// Wide enough to be spread over threads.
Network BindMlp(Context& ctx) {
  return Network::Bind(ctx,
                       Sequential(Linear(128), BatchNorm(), Relu(), Linear(128), LayerNorm(),
                                  Gelu(), Dropout(0.2), Linear(10)),
                       CrossEntropyLoss({.label_smoothing = 0.1}), {.input = {64, 96}, .shards = 2})
      .value();
}

TEST(HostFloat, StepsAndPredictionsRaiseNothingAndLeaveTheModeAlone) {
  // Rows that make softmax's largest and smallest numbers, zeros, and denormals.
  std::vector<float> x = networks::Normals(64 * 96, 3);
  for (size_t i = 0; i < x.size(); ++i) {
    if (i / 96 % 4 == 1) x[i] *= 1e6f;
    if (i / 96 % 4 == 2) x[i] = 0.0f;
    if (i / 96 % 4 == 3) x[i] *= 1e-42f;
  }
  std::vector<int32_t> targets(64);
  for (size_t i = 0; i < targets.size(); ++i) targets[i] = static_cast<int32_t>(i % 10);
  const ConstTensor input(x.data(), {64, 96}), target(targets.data(), {64});
  std::vector<std::vector<float>> outcomes;
  for (const int rounding : kRoundings) {
    for (const int threads : {1, 2}) {
      SCOPED_TRACE(std::to_string(rounding) + ", " + std::to_string(threads) + " threads");
      Context ctx({.threads = threads});
      Network net = BindMlp(ctx);
      Predictor predictor =
          Predictor::Make(net, {.task = Task::kClasses, .classes = 10}, std::nullopt, {}).value();
      AdamW adam;
      std::vector<float> y(64 * 10), outcome;
      const Tensor output(y.data(), {64, 10});
      for (int step = 0; step < 5; ++step) {
        bool untouched = true, ok = true;
        {
          const HostMode mode(rounding);
          ok = net.TrainStep(input, target, adam).ok();
          untouched = untouched && mode.IsUntouched();
          ok = ok && net.Evaluate(input, target).ok();
          untouched = untouched && mode.IsUntouched();
          ok = ok && predictor.Run(input, output).ok();
          untouched = untouched && mode.IsUntouched();
        }
        EXPECT_TRUE(ok);
        EXPECT_TRUE(untouched);
        outcome.insert(outcome.end(), y.begin(), y.end());
        const auto values = net.parameters().values;
        outcome.insert(outcome.end(), values.begin(), values.end());
      }
      outcomes.push_back(outcome);
      EXPECT_EQ(outcome, outcomes.front());
    }
  }
}

TEST(HostFloat, AWholeRunGivesTheSameModel) {
  const auto dealt = toy::Deal(toy::Blobs(300, 96, 5, 1.5, 31), 5);
  using Outcome = std::pair<std::string, std::optional<double>>;
  const auto outcome = [&](int threads) {
    toy::Rig rig(dealt.first,
                 Sequential(Linear(128), BatchNorm(), Relu(), Dropout(0.1), Linear(128),
                            LayerNorm(), Gelu(), Linear(5)),
                 CrossEntropyLoss(),
                 {.threads = threads, .shards = 2, .loader = {.batch = 64, .prefetch = 1}},
                 {.epochs = 2,
                  .schedule = CosineSchedule{.warmup_steps = 3},
                  .clip_norm = 1.0,
                  .ema = EmaOptions{.decay = 0.95},
                  .validation = dealt.second});
    const Result<TrainingSummary> summary = rig.trainer->Run();
    if (!summary.ok()) return Outcome(summary.status().message(), std::nullopt);
    return Outcome(HexOf(ModelHash(*rig.net)), summary->best_metric);
  };
  const Outcome expected = outcome(1);
  for (const int rounding : kRoundings) {
    for (const int threads : {1, 2}) {
      Outcome in_host;
      bool untouched = false;
      {
        const HostMode mode(rounding);
        in_host = outcome(threads);
        untouched = std::fegetround() == rounding && fegetexcept() == kTraps;
      }
      EXPECT_EQ(in_host, expected) << rounding << ", " << threads << " threads";
      EXPECT_TRUE(untouched);
    }
  }
}

// TBB gives the threads of an arena the mode of whoever made it.
TEST(HostFloat, TheHostsWorkersKeepTheirModeToo) {
  std::atomic<int> wrong{0}, helped{0}, checked{0};
  {
    const HostMode mode(FE_UPWARD);
    tbb::task_arena host(2);
    host.initialize();
    host.execute([&] {
      const std::thread::id caller = std::this_thread::get_id();
      Context ctx({.threads = 2, .join_current_arena = true});
      while (helped < 100) {
        ctx.For(8, Context::kInlineWork, [&](int64_t) {
          if (std::fegetround() != FE_TONEAREST || fegetexcept() != 0) ++wrong;
          if (std::this_thread::get_id() != caller) ++helped;
          std::this_thread::yield();
        });
      }
    });
    while (checked < 20) {
      host.execute([&] {
        tbb::task_group group;
        const std::thread::id caller = std::this_thread::get_id();
        for (int i = 0; i < 8; ++i) {
          group.run([&] {
            if (std::fegetround() != FE_UPWARD || fegetexcept() != kTraps) ++wrong;
            if (std::this_thread::get_id() != caller) ++checked;
            std::this_thread::yield();
          });
        }
        group.wait();
      });
    }
  }
  EXPECT_EQ(wrong.load(), 0);
}

}  // namespace
}  // namespace lockstep

#endif
