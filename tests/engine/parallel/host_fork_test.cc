// A process that forks: the child has none of the threads, and may find TBB's locks held.
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstring>
#include <memory>
#include <numeric>
#include <optional>
#include <thread>
#include <vector>

#include "engine/data/loader.h"
#include "engine/optim/adam.h"
#include "engine/parallel/context.h"
#include "engine/train/network.h"
#include "layers/activation.h"
#include "layers/container/sequential.h"
#include "layers/linear.h"
#include "layers/loss/bce_with_logits.h"
#include "layers/norm/batch_norm.h"

namespace lockstep::inline v0_1 {
namespace {

constexpr int64_t kWorth = Context::kInlineWork;
constexpr unsigned kPatience = 60;  // seconds, after which a child that hangs is ended

// Whether body holds in a child, which ends without any destructor of this process.
template <class Body>
bool HoldsInChild(const Body& body) {
  const pid_t child = fork();
  if (child == 0) {
    alarm(kPatience);
    _exit(body() ? 0 : 1);
  }
  int status = 0;
  return child > 0 && waitpid(child, &status, 0) == child && WIFEXITED(status) &&
         WEXITSTATUS(status) == 0;
}

bool Adds(Context& ctx) {
  for (int loop = 0; loop < 20; ++loop) {
    std::atomic<int64_t> sum{0};
    ctx.For(10, kWorth, [&](int64_t i) { sum += i; });
    ctx.For(10, 0, [&](int64_t i) { sum += i; });
    if (sum != 90) return false;
  }
  return true;
}

TEST(HostFork, AContextGoesOnAloneInTheChildAndEnds) {
  for (int round = 0; round < 20; ++round) {
    auto ctx = std::make_unique<Context>(ContextOptions{.threads = 3});
    if (round % 2 == 0) {
      ASSERT_TRUE(Adds(*ctx));  // helpers may be there, or still be asked for
    }
    EXPECT_TRUE(HoldsInChild([&] {
      const bool adds = Adds(*ctx);
      ctx.reset();
      return adds;
    }));
    EXPECT_TRUE(HoldsInChild([&] {
      ctx.reset();
      return true;
    }));
    EXPECT_TRUE(Adds(*ctx));  // undisturbed
  }
}

TEST(HostFork, ANewContextInTheChildHasOneThread) {
  Context parent({.threads = 3});
  ASSERT_TRUE(Adds(parent));
  EXPECT_TRUE(HoldsInChild([] {
    auto ctx = std::make_unique<Context>(ContextOptions{.threads = 4});
    const bool holds = ctx->threads() == 1 && Adds(*ctx);
    ctx.reset();
    return holds;
  }));
}

TEST(HostFork, AContextThatAnotherThreadDrivesIsFreeInTheChild) {
  Context ctx({.threads = 2});
  std::atomic<bool> is_inside{false}, may_end{false};
  std::thread other([&] {
    ctx.For(2, kWorth, [&](int64_t) {
      is_inside = true;
      while (!may_end) std::this_thread::yield();
    });
  });
  while (!is_inside) std::this_thread::yield();
  EXPECT_TRUE(HoldsInChild([&] { return Adds(ctx); }));
  may_end = true;
  other.join();
}

TEST(HostFork, ANetworkPredictsTrainsAndEndsInTheChildAsInTheParent) {
  constexpr int64_t kSamples = 64, kFeatures = 64;
  const std::vector<float> x(kSamples * kFeatures, 0.5f), targets(kSamples, 1.0f);
  const ConstTensor input(x.data(), {kSamples, kFeatures}), target(targets.data(), {kSamples, 1});
  const auto step = [&](Network& net, Optimizer& optimizer, std::vector<float>& y) {
    return net.TrainStep(input, target, optimizer).ok() &&
           net.Predict(input, Tensor(y.data(), {kSamples, 1})).ok();
  };
  auto ctx = std::make_unique<Context>(ContextOptions{.threads = 2});
  std::optional<Network> net =
      Network::Bind(*ctx,
                    Sequential(Linear(256), BatchNorm(), Relu(), Linear(256), Relu(), Linear(1)),
                    BceWithLogitsLoss(), {.input = {kSamples, kFeatures}})
          .value();
  AdamW adam;
  std::vector<float> y(kSamples), in_child(kSamples);
  ASSERT_TRUE(step(*net, adam, y));
  int pipes[2];
  ASSERT_EQ(pipe(pipes), 0);
  const auto bytes = static_cast<ssize_t>(kSamples * sizeof(float));
  EXPECT_TRUE(HoldsInChild([&] {
    const bool done = step(*net, adam, in_child);
    net.reset();
    ctx.reset();
    return done && write(pipes[1], in_child.data(), static_cast<size_t>(bytes)) == bytes;
  }));
  ASSERT_TRUE(step(*net, adam, y));
  ASSERT_EQ(read(pipes[0], in_child.data(), static_cast<size_t>(bytes)), bytes);
  EXPECT_EQ(std::memcmp(y.data(), in_child.data(), static_cast<size_t>(bytes)), 0);
  close(pipes[0]);
  close(pipes[1]);
}

TEST(HostFork, ALoaderThatPreparesAheadGoesOnAtItsPlaceInTheChildAndEnds) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "sanitizers hold locks of their own when a process with threads forks";
#endif
  constexpr int64_t kSize = 40;
  std::vector<float> x(kSize);
  std::iota(x.begin(), x.end(), 0.0f);
  const std::shared_ptr<const Dataset> dataset =
      InMemoryDataset::Make({.name = "numbers", .size = kSize, .x_shape = {1}, .classes = 1}, x,
                            std::vector<int32_t>(kSize, 0))
          .value();
  for (const int threads : {1, 3}) {
    std::unique_ptr<Loader> loader =
        Loader::Make(dataset, AllIndices(kSize),
                     {.batch = 8, .shuffle = false, .prefetch = 2, .threads = threads})
            .value();
    const auto gives = [&](float first) {
      const Batch* batch = loader->Next().value();
      return batch != nullptr && batch->x.f32()[0] == first;
    };
    ASSERT_TRUE(gives(0));
    EXPECT_TRUE(HoldsInChild([&] { return gives(8) && gives(16) && (loader.reset(), true); }));
    EXPECT_TRUE(HoldsInChild([&] { return loader->Seek({}).ok() && gives(0); }));
    EXPECT_TRUE(HoldsInChild([&] { return loader.reset(), true; }));
    EXPECT_TRUE(gives(8));
  }
}

}  // namespace
}  // namespace lockstep
