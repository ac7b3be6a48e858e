// The graphs of graph_cases.h, each held against central differences of the same function written
// out in double: with and without fusion, with memory shared or not (which must not change a bit),
// in memory full of NaN, and on batches that are not full.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>
#include <string>
#include <vector>

#include "engine/base/random.h"
#include "engine/optim/sgd.h"
#include "engine/train/checkpointing.h"
#include "engine/train/network.h"
#include "layers/activation.h"
#include "layers/container/residual.h"
#include "layers/container/sequential.h"
#include "layers/linear.h"
#include "layers/loss/mse.h"
#include "layers/norm/batch_norm.h"
#include "tests/engine/plan/graph_runs.h"

namespace lockstep::inline v0_1 {
namespace {

using cases::Case;
using cases::kBatch;
using cases::kCases;
using cases::Outcome;
using cases::RunOf;
using cases::SameBits;

class GraphFormsTest : public ::testing::TestWithParam<Case> {};

TEST_P(GraphFormsTest, AreThoseOfTheLossAndSharingOrFusingChangesNoBit) {
  const Case& c = GetParam();
  for (const int64_t samples : {kBatch, int64_t{3}}) {
    if (c.whole_batches && samples != kBatch) continue;
    const Outcome plain = RunOf(c, samples, Fusion::kNone, /*share_memory=*/false);
    for (const Fusion fusion : {Fusion::kNone, Fusion::kAll}) {
      for (const bool share : {false, true}) {
        const Outcome other = RunOf(c, samples, fusion, share);
        EXPECT_EQ(plain.loss, other.loss) << "fusion " << static_cast<int>(fusion) << share;
        for (const auto& [name, gradient] : plain.gradients)
          EXPECT_TRUE(SameBits(gradient, other.gradients.at(name)))
              << name << ", fusion " << static_cast<int>(fusion) << ", shared memory " << share;
      }
    }

    cases::Named in;
    for (const auto& [name, values] : plain.inputs) in[name].assign(values.begin(), values.end());
    const auto loss = [&] { return c.loss(in, static_cast<size_t>(samples)); };
    // A gradient is a sum of at most 64 products, through at most 8 operations, of numbers that are
    // not above 4 here: (64 + 8) 2^-24 of at most 4 is 2e-5, where all roundings point one way. The
    // differences are good to 1e-9. What is lost or counted twice is some 1e-2.
    constexpr double kTolerance = 2e-5;
    EXPECT_LE(std::abs(plain.loss - loss()), kTolerance);
    for (const auto& [name, gradient] : plain.gradients) {
      const auto is = [&name = name](const std::string& other) { return name == other; };
      if (std::any_of(c.without_gradient.begin(), c.without_gradient.end(), is)) {
        for (const float g : gradient) EXPECT_TRUE(std::isnan(g)) << name << " was written";
        continue;
      }
      for (size_t i = 0; i < gradient.size(); ++i) {
        double& v = in.at(name)[i];
        const double begin = v, h = 1e-6;
        v = begin + h;
        const double above = loss();
        v = begin - h;
        const double difference = (above - loss()) / (2.0 * h);
        v = begin;
        const double error = std::abs(difference - static_cast<double>(gradient[i]));
        ASSERT_TRUE(error <= kTolerance)
            << name << "[" << i << "] of " << samples << " samples: " << gradient[i]
            << " instead of " << difference;
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Graphs, GraphFormsTest, ::testing::ValuesIn(kCases),
                         [](const auto& info) { return info.param.name; });

// As large as several tiles of a product, blocks of rows and stretches, where what is written too
// early shows elsewhere than in small ones.
TEST(GraphGradientsTest, ResidualNetsOfManyTilesEndInTheSameBitsHoweverTheyArePlanned) {
  constexpr int64_t kSamples = 300, kFeatures = 96;
  Random random(/*seed=*/3, /*stream=*/0);
  std::vector<float> x(kSamples * kFeatures), t(kSamples);
  for (float& v : x) v = static_cast<float>(random.Normal());
  for (float& v : t) v = static_cast<float>(random.Normal());
  std::vector<uint64_t> hashes;
  for (const Fusion fusion : {Fusion::kNone, Fusion::kAll}) {
    for (const bool share : {false, true}) {
      for (const int threads : {1, 2}) {
        Context ctx({.threads = threads});
        Result<Network> net = Network::Bind(
            ctx,
            Sequential(Residual(Linear(kFeatures)), Relu(), Residual(BatchNorm()),
                       Residual(Sequential(Linear(kFeatures), Relu())), Residual(Linear(kFeatures)),
                       Linear(1)),
            MseLoss(),
            {.input = {kSamples, kFeatures}, .shards = 2, .share_memory = share, .fusion = fusion});
        ASSERT_TRUE(net.ok()) << net.status().message();
        Sgd optimizer({.lr = 0.01});
        for (int step = 0; step < 3; ++step) {
          std::fill(net->step_memory().begin(), net->step_memory().end(), std::byte{0xFF});
          const Result<double> loss = net->TrainStep({x.data(), {kSamples, kFeatures}},
                                                     {t.data(), {kSamples, 1}}, optimizer);
          ASSERT_TRUE(loss.ok()) << loss.status().message();
        }
        hashes.push_back(ModelHash(*net));
        EXPECT_EQ(hashes.back(), hashes.front())
            << "fusion " << static_cast<int>(fusion) << ", shared memory " << share << ", "
            << threads << " threads";
      }
    }
  }
}

}  // namespace
}  // namespace lockstep
