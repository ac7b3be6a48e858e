// Layers bound together: that what neighbours share, fuse and overwrite changes no number.
#include "engine/train/network.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "gtest/gtest.h"
#include "layers/loss/cross_entropy.h"
#include "tests/layers/network_models.h"

namespace lockstep::inline v0_1::networks {
namespace {

constexpr double kFloatEps = 0x1p-24;  // half an ulp of 1

// ---- Memory
// ---------------------------------------------------------------------------------------

TEST(NetworkMemoryTest, BuffersThatShareMemoryAreNeverNeededTogether) {
  for (const Model& model : Models()) {
    const Trace unshared = TraceOf(model, {.share = false});
    ASSERT_FALSE(unshared.entries.empty());
    EXPECT_EQ(TraceOf(model, {.share = true}), unshared) << model.name;
  }
}

// A network bound for prediction keeps nothing for backward, so its buffers share all they can.
TEST(NetworkMemoryTest, PredictionsShareMemoryWithoutHarm) {
  for (const Model& model : Models()) {
    Context ctx({.threads = 1});
    const Shape in = Batched(model.sample, kBatch);
    const std::vector<float> x = Normals(in.size(), 14);
    Network trains = Network::Bind(ctx, model.make(), MseLoss(), {.input = in, .seed = 11}).value();
    const Shape out = trains.output_shape();
    const auto predict = [&](Network& net) {
      std::vector<float> y(static_cast<size_t>(out.size()), NAN);
      EXPECT_TRUE(net.Predict({x.data(), in}, {y.data(), out}).ok());
      return y;
    };
    const std::vector<float> y = predict(trains);
    for (const bool share : {true, false}) {
      Network net =
          Network::Bind(ctx, model.make(), {.input = in, .seed = 11, .share_memory = share})
              .value();
      Poison(net);
      EXPECT_EQ(predict(net), y) << model.name << (share ? " shared" : " unshared");
    }
  }
}

TEST(NetworkMemoryTest, NothingIsReadThatThisStepDidNotWrite) {
  for (const Model& model : Models())
    EXPECT_EQ(TraceOf(model, {.poison = true}), TraceOf(model, {})) << model.name;
}

TEST(NetworkMemoryTest, TheArenaIsWhatThePlanSays) {
  constexpr int64_t kPage = int64_t{1} << 21;  // at most
  for (const Model& model : Models()) {
    Context ctx({.threads = 1});
    for (const bool share : {true, false}) {
      const Network net =
          Network::Bind(ctx, model.make(), MseLoss(),
                        {.input = Batched(model.sample, kBatch), .share_memory = share})
              .value();
      const Program &trains = net.training_program(), &evaluates = net.evaluation_program();
      const int64_t bytes = std::max(trains.step_bytes(), evaluates.step_bytes()) +
                            trains.kept_bytes() + evaluates.kept_bytes();
      EXPECT_GE(net.arena_bytes(), bytes);
      EXPECT_LT(net.arena_bytes(), bytes + kPage);
      for (const Program* program : {&trains, &evaluates}) {
        const int64_t all = program->step_bytes() + program->kept_bytes();
        if (share) {
          EXPECT_LE(all, program->unshared_bytes()) << model.name;
        } else {
          EXPECT_EQ(all, program->unshared_bytes()) << model.name;
        }
      }
      EXPECT_EQ(net.bytes(), net.arena_bytes() + 2 * net.store().floats() * 4);
    }
  }
}

// The inner sequence is handed the ReLU before it folds its norm into its product.
TEST(NetworkFusionTest, AnActivationBehindASequenceStaysWhenItsNormIsFolded) {
  Context ctx({.threads = 1});
  const Shape in{16, 6}, out{16, 9};
  const NetworkOptions options{.input = in, .seed = 3};
  Network nested =
      Network::Bind(ctx, Sequential(Sequential(Linear(9), BatchNorm()), Relu()), options).value();
  Network bare =
      Network::Bind(ctx, Sequential(Sequential(Linear(9), BatchNorm()), Dropout()), options)
          .value();
  const std::vector<float> x = Normals(in.size(), 1);
  std::vector<float> y(static_cast<size_t>(out.size())), z(y.size());
  ASSERT_TRUE(nested.Predict({x.data(), in}, {y.data(), out}).ok());
  ASSERT_TRUE(bare.Predict({x.data(), in}, {z.data(), out}).ok());
  for (size_t i = 0; i < y.size(); ++i) EXPECT_EQ(y[i], std::max(z[i], 0.0f));
}

TEST(NetworkMemoryTest, ANetworkForPredictionTakesLess) {
  Context ctx({.threads = 1});
  const auto layers = [] {
    Sequential layers;
    for (int i = 0; i < 8; ++i) layers.Add(Linear(64)).Add(BatchNorm()).Add(Relu());
    return layers;
  };
  const Network trains = Network::Bind(ctx, layers(), MseLoss(), {.input = {256, 64}}).value();
  const Network predicts = Network::Bind(ctx, layers(), {.input = {256, 64}}).value();
  // Two activations at a time instead of one for each layer, and no gradients; but the weights
  // once more, with the norms folded in.
  EXPECT_LT(predicts.bytes(), trains.bytes() / 2);
  EXPECT_EQ(predicts.store().gradient_bytes(), 0);
}

// ---- Fusion
// ---------------------------------------------------------------------------------------

TEST(NetworkFusionTest, TrainsToTheBitsOfLayersThatAreAlone) {
  for (const Model& model : Models()) {
    EXPECT_EQ(TraceOf(model, {.evaluate = false}),
              TraceOf(model, {.fusion = Fusion::kNone, .share = false, .evaluate = false}))
        << model.name;
  }
}

TEST(NetworkFusionTest, TheBitsAreTheSameForAnyNumberOfThreads) {
  for (const Model& model : Models()) {
    for (const int shards : {1, 3}) {
      const Trace one = TraceOf(model, {.shards = shards});
      for (const int threads : {2, 7})
        EXPECT_EQ(TraceOf(model, {.threads = threads, .shards = shards}), one) << model.name;
    }
  }
}

// Fewer samples than shards leave some of them empty.
TEST(NetworkFusionTest, ShardsChangeRoundingOnly) {
  for (const Model& model : Models()) {
    const std::vector<double> one = TraceOf(model, {.shards = 1, .evaluate = false}).losses();
    for (const int shards : {2, 4, 30}) {
      const std::vector<double> many =
          TraceOf(model, {.shards = shards, .evaluate = false}).losses();
      ASSERT_EQ(many.size(), one.size()) << model.name;
      for (size_t i = 0; i < one.size(); ++i) {
        // After i steps of AdamW, which moves every parameter by about lr = 0.01 in a direction
        // that rounding can turn around where a gradient vanishes.
        EXPECT_NEAR(many[i], one[i], i == 0 ? 1e-5 : 3e-2 * (1.0 + one[i]))
            << model.name << ", step " << i;
      }
    }
  }
}

// y = scale * (w x + b) + shift in evaluation, folded or not, against double. Each of the K + 2
// terms meets at most K + 5 roundings: K of the sum, and a few of the factors.
TEST(NetworkFusionTest, AFoldedNormStaysWithinTheRoundingOfItsTerms) {
  constexpr int64_t kIn = 37, kOut = 19;
  Context ctx({.threads = 1});
  const auto bind = [&](Fusion fusion) {
    Network net = Network::Bind(ctx, Sequential(Linear(kOut), BatchNorm(), Relu()), MseLoss(),
                                {.input = {kBatch, kIn}, .seed = 21, .fusion = fusion})
                      .value();
    const std::vector<float> x = Normals(kBatch * kIn, 22), t = Normals(kBatch * kOut, 23);
    AdamW adam({.lr = 0.1});
    for (int i = 0; i < 5; ++i)  // so that statistics, gamma and beta are no longer 0 and 1
      EXPECT_TRUE(net.TrainStep({x.data(), {kBatch, kIn}}, {t.data(), {kBatch, kOut}}, adam).ok());
    return net;
  };
  Network fused = bind(Fusion::kAll);
  Network alone = bind(Fusion::kNone);
  ASSERT_TRUE(std::ranges::equal(fused.parameters().values, alone.parameters().values));

  const std::vector<float> x = Normals(kBatch * kIn, 24);
  std::vector<float> y_fused(kBatch * kOut), y_alone(kBatch * kOut);
  ASSERT_TRUE(fused.Predict({x.data(), {kBatch, kIn}}, {y_fused.data(), {kBatch, kOut}}).ok());
  ASSERT_TRUE(alone.Predict({x.data(), {kBatch, kIn}}, {y_alone.data(), {kBatch, kOut}}).ok());
  EXPECT_NE(y_fused, y_alone);  // otherwise nothing was folded

  const ConstParameterSet p = fused.parameters();  // weight, bias, gamma, beta
  const auto value = [&](size_t parameter, int64_t i) {
    return static_cast<double>(p.value(parameter).f32()[i]);
  };
  for (int64_t r = 0; r < kBatch; ++r) {
    for (int64_t c = 0; c < kOut; ++c) {
      const double mean = fused.state(0).f32()[c], var = fused.state(1).f32()[c];
      const double scale = value(2, c) / std::sqrt(var + 1e-5);
      double want = scale * (value(1, c) - mean) + value(3, c);
      double terms = std::abs(scale * value(1, c)) + std::abs(scale * mean) + std::abs(value(3, c));
      for (int64_t k = 0; k < kIn; ++k) {
        const double term = scale * value(0, c * kIn + k) *
                            static_cast<double>(x[static_cast<size_t>(r * kIn + k)]);
        want += term;
        terms += std::abs(term);
      }
      want = std::max(want, 0.0);
      const double tolerance = (kIn + 5) * kFloatEps * terms;
      const auto i = static_cast<size_t>(r * kOut + c);
      EXPECT_NEAR(y_fused[i], want, tolerance);
      EXPECT_NEAR(y_alone[i], want, tolerance);
    }
  }
}

TEST(NetworkFusionTest, AFoldedNormFollowsItsStatistics) {
  Context ctx({.threads = 1});
  Network net = Network::Bind(ctx, Sequential(Linear(5), BatchNorm()), MseLoss(),
                              {.input = {8, 3}, .seed = 1})
                    .value();
  const std::vector<float> x = Normals(24, 1), t = Normals(40, 2);
  std::vector<float> first(40), second(40), third(40);
  AdamW adam({.lr = 0.0, .weight_decay = 0.0});
  const auto predict = [&](std::vector<float>& y) {
    ASSERT_TRUE(net.Predict({x.data(), {8, 3}}, {y.data(), {8, 5}}).ok());
  };
  predict(first);
  // Nothing but the running statistics moves.
  ASSERT_TRUE(net.TrainStep({x.data(), {8, 3}}, {t.data(), {8, 5}}, adam).ok());
  predict(second);
  EXPECT_NE(first, second);
  // In the wrong mode as well.
  ASSERT_TRUE(net.EvaluateInTrainingMode({x.data(), {8, 3}}, {t.data(), {8, 5}}).ok());
  predict(third);
  EXPECT_NE(second, third);
}

TEST(NetworkFusionTest, APredictionFollowsItsWeights) {
  Context ctx({.threads = 1});
  const auto layers = [] { return Sequential(Linear(7), Relu(), Linear(5, {.bias = false})); };
  Network trains = Network::Bind(ctx, layers(), MseLoss(), {.input = {8, 3}, .seed = 1}).value();
  Network predicts = Network::Bind(ctx, layers(), {.input = {8, 3}, .seed = 1}).value();
  const std::vector<float> x = Normals(24, 1);
  std::vector<float> first(40), want(40), got(40);
  const auto predict = [&](Network& net, std::vector<float>& y) {
    ASSERT_TRUE(net.Predict({x.data(), {8, 3}}, {y.data(), {8, 5}}).ok());
  };
  predict(predicts, first);
  for (Network* net : {&trains, &predicts}) {
    ParameterWriter parameters = net->Write();
    for (float& value : parameters->values) value *= 1.5f;
  }
  predict(trains, want);
  predict(predicts, got);
  EXPECT_NE(got, first);
  EXPECT_EQ(got, want);
}

// ---- Long sums
// -----------------------------------------------------------------------------------------

// db = mean of 2 (y - t) over the batch, here -0.2. In one chain of float additions it would
// be -0.199787; the tree over chains of 256 keeps it within (256 + log2(1e5 / 256)) roundings.
TEST(NetworkLongSumTest, TheBiasGradientOfALongBatchOfEqualSamplesIsRight) {
  constexpr int64_t kSamples = 100000;
  Context ctx({.threads = 1});
  Network net =
      Network::Bind(ctx, Sequential(Linear(1)), MseLoss(), {.input = {kSamples, 1}}).value();
  {
    const ParameterWriter parameters = net.Write();
    std::ranges::fill(parameters->values, 0.0f);
  }
  const std::vector<float> x(kSamples, 0.1f), t(kSamples, 0.1f);
  ASSERT_TRUE(net.Gradients({x.data(), {kSamples, 1}}, {t.data(), {kSamples, 1}}).ok());
  const float db = net.parameters().gradient(1).f32()[0];
  EXPECT_NEAR(db, -2.0 * static_cast<double>(0.1f), (256 + 9) * kFloatEps * 0.2);
}

// ---- Dropout
// ------------------------------------------------------------------------------------------

TEST(NetworkDropoutTest, MasksAreAFunctionOfSeedStepAndPlaceInTheGlobalBatch) {
  Context ctx({.threads = 1});
  const auto bind = [&](int64_t batch, uint64_t seed) {
    return Network::Bind(ctx, Sequential(Linear(16), Dropout(0.5), Linear(2)), MseLoss(),
                         {.input = {batch, 4}, .seed = seed})
        .value();
  };
  Network net = bind(8, 1), half = bind(4, 1);
  const std::vector<float> x = Normals(32, 61), t = Normals(16, 62);
  const ConstTensor xs(x.data(), {8, 4}), ts(t.data(), {8, 2});
  const auto output = [&](Network& from, int64_t begin, int64_t end, uint64_t index) {
    EXPECT_TRUE(from.Gradients(xs.Samples(begin, end), ts.Samples(begin, end),
                               {.index = index, .first_sample = begin})
                    .ok());
    const auto y = from.output().span<float>();
    return std::vector<float>(y.begin(), y.end());
  };
  const std::vector<float> whole = output(net, 0, 8, 3);
  EXPECT_EQ(output(net, 0, 8, 3), whole);
  EXPECT_NE(output(net, 0, 8, 4), whole);
  std::vector<float> parts = output(half, 0, 4, 3);
  const std::vector<float> second = output(half, 4, 8, 3);
  parts.insert(parts.end(), second.begin(), second.end());
  EXPECT_EQ(parts, whole);

  // In evaluation it is not there.
  Network without = Network::Bind(ctx, Sequential(Linear(16), Dropout(0.0), Linear(2)), MseLoss(),
                                  {.input = {8, 4}, .seed = 1})
                        .value();
  EXPECT_EQ(net.Evaluate(xs, ts).value().sum, without.Evaluate(xs, ts).value().sum);
}

// ---- Losses in shards
// -----------------------------------------------------------------------------------

TEST(NetworkLossTest, EmptyShardsLoseNothing) {
  Context ctx({.threads = 1});
  const std::vector<float> x = Normals(8 * 3, 71), t = Normals(8 * 2, 72);
  const std::vector<int32_t> ids = {1, 0, 1, 1, 0, 0, 1, 0};
  for (const int shards : {1, 2, 3, 4, 8, 13}) {
    Network squares = Network::Bind(ctx, Sequential(Linear(2)), MseLoss(),
                                    {.input = {8, 3}, .seed = 3, .shards = shards})
                          .value();
    Network classes = Network::Bind(ctx, Sequential(Linear(2)), CrossEntropyLoss(),
                                    {.input = {8, 3}, .seed = 3, .shards = shards})
                          .value();
    for (int64_t n = 1; n <= 8; ++n) {
      double sum = 0.0, entropy = 0.0;
      for (int64_t i = 0; i < n; ++i) {
        const ConstTensor one = ConstTensor(x.data(), {8, 3}).Samples(i, i + 1);
        sum += squares.Evaluate(one, ConstTensor(t.data(), {8, 2}).Samples(i, i + 1)).value().sum;
        entropy +=
            classes.Evaluate(one, ConstTensor(ids.data(), {8}).Samples(i, i + 1)).value().sum;
      }
      const ConstTensor all(x.data(), {n, 3});
      const LossSum a = squares.Evaluate(all, {t.data(), {n, 2}}).value();
      const LossSum b = classes.Evaluate(all, {ids.data(), {n}}).value();
      // Single terms are rounded to float, their sums are double.
      EXPECT_NEAR(a.sum, sum, 1e-5) << n << " of " << shards;
      EXPECT_NEAR(b.sum, entropy, 1e-5) << n << " of " << shards;
      EXPECT_EQ(b.weight, static_cast<double>(n));
    }
  }
}

}  // namespace
}  // namespace lockstep::networks
