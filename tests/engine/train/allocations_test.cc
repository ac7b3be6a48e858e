// What a step costs beside arithmetic: nothing.
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "engine/optim/sgd.h"
#include "engine/train/trainer.h"
#include "gtest/gtest.h"
#include "layers/container/checkpointed.h"
#include "layers/dropout.h"
#include "layers/loss/bce_with_logits.h"
#include "layers/norm/layer_norm.h"
#include "tests/engine/train/count_heap.h"
#include "tests/engine/train/toy_data.h"

#if defined(__linux__) && defined(__x86_64__)
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#endif

namespace lockstep::inline v0_1::toy {
namespace {

constexpr int64_t kFirst = 3;  // steps after which everything has found its place

struct HeapWatch final : TrainingObserver {
  Wish OnStep(const StepReport& report) override {
    if (report.step == kFirst) before = HeapCalls();
    if (report.step == last) after = HeapCalls();
    return Wish::kGoOn;
  }
  int64_t last = 0, before = -1, after = -1;
};

std::unique_ptr<Rig> MakeRig(int threads, int prefetch, int64_t hidden, TrainingObserver& observer,
                             bool weighted = false) {
  // 30 batches, the last one partial.
  DatasetPtr data = Quadrants(30 * 32 - 5, 16, 0.1, 41);
  if (weighted) {
    std::vector<float> weights(static_cast<size_t>(data->size()), 0.5f);
    data = std::make_shared<WeightedDataset>(data, std::move(weights));
  }
  return std::make_unique<Rig>(
      All(data),
      Sequential(Linear(hidden), BatchNorm(), Relu(), Dropout(0.2),
                 Checkpointed(Sequential(Linear(hidden), LayerNorm(), Gelu())), Linear(1)),
      BceWithLogitsLoss(),
      RigOptions{.threads = threads,
                 .shards = 2,
                 .loader = {.batch = 32, .seed = 1, .prefetch = prefetch}},
      TrainerOptions{.epochs = 1,
                     .schedule = CosineSchedule{},
                     .clip_norm = 1.0,
                     .micro_batches = 2,
                     .ema = EmaOptions{},
                     .observer = &observer});
}

TEST(AllocationsTest, CountingWorks) {
  if (!kCountsHeap) GTEST_SKIP() << "nothing is counted here";
  const int64_t before = HeapCalls();
  const auto one = std::make_unique<std::string>(100, 'x');
  EXPECT_EQ(HeapCalls(), before + 2) << *one;
}

TEST(AllocationsTest, AStepTakesNothingFromTheHeap) {
  if (!kCountsHeap) GTEST_SKIP() << "nothing is counted here";
  for (const int threads : {1, 2}) {
    for (const int prefetch : {0, 1}) {
      for (const int64_t hidden : {16, 256}) {  // inline, and spread over threads
        HeapWatch watch;
        const auto rig = MakeRig(threads, prefetch, hidden, watch, /*weighted=*/prefetch == 1);
        ASSERT_TRUE(rig->status.ok()) << rig->status.message();
        watch.last = rig->trainer->total_steps();
        ASSERT_TRUE(rig->trainer->Run().ok());
        EXPECT_EQ(watch.after - watch.before, 0)
            << threads << " threads, prefetch " << prefetch << ", " << hidden << " wide";
      }
    }
  }
}

TEST(AllocationsTest, OptimizersThatTakeTurnsTakeNothingFromTheHeap) {
  if (!kCountsHeap) GTEST_SKIP() << "nothing is counted here";
  Context ctx({.threads = 2});
  Network net =
      Network::Bind(ctx, BnMlp(16, 1), BceWithLogitsLoss(), {.input = {32, 6}, .shards = 2})
          .value();
  AdamW adam;
  Sgd sgd({.lr = 1e-3, .momentum = 0.9});
  const std::vector<float> x(32 * 6, 0.5f), targets(32, 1.0f);
  int64_t before = 0;
  for (int i = 0; i < 20; ++i) {
    if (i == 2 * kFirst) before = HeapCalls();
    Optimizer& optimizer = i % 2 == 0 ? static_cast<Optimizer&>(adam) : sgd;
    const int64_t samples = 32 - i % 3;  // batches of several sizes
    ASSERT_TRUE(
        net.TrainStep({x.data(), {samples, 6}}, {targets.data(), {samples, 1}}, optimizer).ok());
  }
  EXPECT_EQ(HeapCalls() - before, 0);
}

#if defined(__linux__) && defined(__x86_64__) && !defined(LOCKSTEP_SANITIZED)
// From step kFirst on, the kernel kills the process at any system call but those that end it.
struct Jail final : TrainingObserver {
  Wish OnStep(const StepReport& report) override {
    if (report.step == kFirst) Lock();
    if (report.step == last) syscall(SYS_exit_group, 0);
    return Wish::kGoOn;
  }
  static void Lock() {
    sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_exit_group, 1, 0),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    const sock_fprog program = {.len = 4, .filter = filter};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0) {
      syscall(SYS_exit_group, 2);
    }
  }
  int64_t last = 0;
};

// Time is read from the vDSO without a system call on any machine with a usable clock source.
bool ClockNeedsNoSystemCall() {
  const pid_t child = fork();
  if (child == 0) {
    Jail::Lock();
    timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    syscall(SYS_exit_group, 0);
  }
  int status = 0;
  waitpid(child, &status, 0);
  return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

TEST(AllocationsTest, AStepMakesNoSystemCall) {
  if (!ClockNeedsNoSystemCall()) GTEST_SKIP() << "no seccomp here, or a clock in the kernel";
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    Jail jail;
    const auto rig = MakeRig(/*threads=*/1, /*prefetch=*/0, /*hidden=*/64, jail);
    jail.last = rig->trainer->total_steps();
    (void)rig->trainer->Run();
    syscall(SYS_exit_group, 3);
  }
  int status = 0;
  waitpid(child, &status, 0);
  EXPECT_FALSE(WIFSIGNALED(status)) << "ended by signal " << WTERMSIG(status);
  EXPECT_EQ(WEXITSTATUS(status), 0);
}
#endif

}  // namespace
}  // namespace lockstep::toy
