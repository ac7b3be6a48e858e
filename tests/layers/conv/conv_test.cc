#include "layers/conv/conv.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "engine/optim/sgd.h"
#include "engine/train/checkpointing.h"
#include "engine/train/network.h"
#include "layers/activation.h"
#include "layers/container/residual.h"
#include "layers/container/sequential.h"
#include "layers/flatten.h"
#include "layers/linear.h"
#include "layers/norm/batch_norm.h"
#include "tests/layers/conv/conv_case.h"

namespace lockstep::inline v0_1 {
namespace {

using ::testing::AllOf;
using testing::ExpectConvolves;
using ::testing::HasSubstr;
using testing::LayerRunner;

ops::ConvShape ShapeOf(const Shape& x, int64_t out, const Conv2dOptions& o, int64_t out_h,
                       int64_t out_w, int64_t pad_top, int64_t pad_left) {
  return {.in_h = x[0],
          .in_w = x[1],
          .in_c = x[2],
          .out_h = out_h,
          .out_w = out_w,
          .out_c = out,
          .kernel_h = o.kernel.h,
          .kernel_w = o.kernel.w,
          .stride_h = o.stride.h,
          .stride_w = o.stride.w,
          .pad_top = pad_top,
          .pad_left = pad_left,
          .dilation_h = o.dilation.h,
          .dilation_w = o.dilation.w,
          .groups = o.groups};
}

int64_t Extent(int64_t in, int64_t kernel, int64_t stride, int64_t padding, int64_t dilation) {
  return (in + 2 * padding - dilation * (kernel - 1) - 1) / stride + 1;
}

void Expect(const Shape& x, int64_t out, const Conv2dOptions& o, int64_t samples = 5) {
  SCOPED_TRACE(::testing::Message()
               << x << " to " << out << ", kernel " << o.kernel.h << " x " << o.kernel.w
               << ", stride " << o.stride.h << " x " << o.stride.w << ", padding " << o.padding.h
               << ", dilation " << o.dilation.h << ", groups " << o.groups);
  const int64_t h = Extent(x[0], o.kernel.h, o.stride.h, o.padding.h, o.dilation.h);
  const int64_t w = Extent(x[1], o.kernel.w, o.stride.w, o.padding.w, o.dilation.w);
  ExpectConvolves(Conv2d(out, o), ShapeOf(x, out, o, h, w, o.padding.h, o.padding.w), false, 6,
                  samples);
}

TEST(Conv2dTest, MatchesTheReferenceInDoubleForEveryOption) {
  Expect({7, 6, 5}, 9, {.padding = 1});
  Expect({7, 6, 1}, 1, {.bias = false});
  Expect({7, 6, 16}, 17, {.kernel = {2, 3}, .padding = {1, 0}});
  Expect({9, 8, 3}, 15, {.stride = 2, .padding = 1});
  Expect({9, 8, 3}, 5, {.stride = {3, 2}, .padding = {2, 1}, .dilation = {1, 2}});
  Expect({8, 7, 4}, 6, {.kernel = 5, .stride = 3, .padding = 1});
  Expect({6, 6, 2}, 3, {.stride = 2});  // mlpack#2986: a stride that does not divide
  Expect({5, 4, 33}, 31, {.kernel = 1});
  Expect({5, 4, 3}, 4, {.kernel = 1, .stride = 2, .padding = 1});  // pytorch#34344
  Expect({3, 3, 2}, 3, {.padding = 3});                            // pytorch#20583
  Expect({1, 1, 3}, 2, {.padding = 1});
  Expect({5, 7, 4}, 16, {.padding = 1, .groups = 2});  // pytorch#19912
  Expect({5, 7, 9}, 15, {.stride = 2, .padding = 1, .groups = 3});
  Expect({5, 7, 18}, 18, {.padding = 1, .groups = 18});
  Expect({5, 7, 5}, 15, {.stride = 2, .padding = 1, .dilation = 2, .groups = 5});
  Expect({5, 7, 5}, 9, {.padding = 1}, /*samples=*/1);
}

// oneDNN#6035: few channels and a stride went wrong there.
TEST(Conv2dTest, OneByOneOfFewChannelsWithAnyStrideIsRight) {
  for (int64_t channels = 1; channels <= 7; ++channels) {
    for (const int64_t stride : {1, 2, 3})
      Expect({5, 6, channels}, 4, {.kernel = 1, .stride = stride}, /*samples=*/3);
  }
}

// keras#19291: where the padding is odd, the extra line is below and to the right.
TEST(Conv2dTest, SamePadsTheExtraLineBelowAndToTheRight) {
  const auto expect = [](const Shape& x, const Conv2dOptions& o, int64_t top, int64_t left) {
    const auto rounded_up = [](int64_t n, int64_t by) { return (n + by - 1) / by; };
    ExpectConvolves(
        Conv2d(3, o),
        ShapeOf(x, 3, o, rounded_up(x[0], o.stride.h), rounded_up(x[1], o.stride.w), top, left),
        false, 3, 3);
  };
  expect({5, 6, 2}, {.same = true}, 1, 1);
  expect({5, 6, 2}, {.kernel = {2, 4}, .same = true}, 0, 1);
  expect({6, 5, 2}, {.stride = 2, .same = true}, 0,
         1);  // an even extent needs one line, an odd two
  expect({6, 5, 2}, {.kernel = 2, .stride = 2, .same = true}, 0, 0);
  expect({7, 5, 2}, {.kernel = 1, .stride = 3, .same = true}, 0, 0);  // nothing to pad
  expect({7, 5, 2}, {.kernel = {4, 3}, .same = true, .dilation = {1, 2}}, 1, 2);
  // One number at a time: a kernel of two with weights 1 and 10 reads a pixel and the next.
  LayerRunner runner(
      std::make_unique<Conv2d>(1, Conv2dOptions{.kernel = {1, 2}, .same = true, .bias = false}),
      {1, 1, 3, 1});
  runner.value("weight")[0] = 1.0f;
  runner.value("weight")[1] = 10.0f;
  EXPECT_EQ(runner.Forward(std::vector<float>{1, 2, 3}, {1, 1, 3, 1}),
            (std::vector<float>{21, 32, 3}));
}

// pytorch#25101: the last lines of 11 x 11 are read by no window of 5 at stride 3 and padding 1.
TEST(Conv2dTest, InputsThatNoWindowReadsHaveNoGradientAtAll) {
  const Shape shape{2, 12, 12, 3};
  LayerRunner runner(
      std::make_unique<Conv2d>(4, Conv2dOptions{.kernel = 5, .stride = 3, .padding = 1}), shape);
  const std::vector<float> x = networks::Normals(shape.size(), 1);
  const std::vector<float> y = runner.Forward(x, shape);
  const std::vector<float> dx = runner.Backward(x, shape, std::vector<float>(y.size(), 1.0f));
  ASSERT_EQ(runner.out(), (Shape{2, 4, 4, 4}));  // the last window begins at 8 and ends before 13
  LayerRunner short_of(std::make_unique<Conv2d>(4, Conv2dOptions{.kernel = 2, .stride = 3}), shape);
  const std::vector<float> z = short_of.Forward(x, shape);
  const std::vector<float> dz = short_of.Backward(x, shape, std::vector<float>(z.size(), 1.0f));
  for (size_t i = 0; i < dz.size(); ++i) {
    const size_t column = i / 3 % 12, line = i / 36 % 12;
    EXPECT_EQ(dz[i] == 0.0f, column % 3 == 2 || line % 3 == 2) << i;
    EXPECT_FALSE(std::signbit(dz[i]) && dz[i] == 0.0f);
  }
  for (const float g : dx) EXPECT_NE(g, 0.0f);
}

TEST(Conv1dTest, IsAConvolutionOfPicturesOfOneLine) {
  const auto expect = [](int64_t t, int64_t channels, int64_t out, const Conv1dOptions& o) {
    const int64_t length = Extent(t, o.kernel, o.stride, o.padding, o.dilation);
    const Conv2dOptions flat{.kernel = {1, o.kernel},
                             .stride = {1, o.stride},
                             .dilation = {1, o.dilation},
                             .groups = o.groups};
    const ops::ConvShape shape = ShapeOf({1, t, channels}, out, flat, 1, length, 0, o.padding);
    // A layer of pictures of one line, so that the two take the same x.
    const Conv2d pictures(out, {.kernel = flat.kernel,
                                .stride = flat.stride,
                                .padding = {0, o.padding},
                                .dilation = flat.dilation,
                                .groups = o.groups,
                                .bias = o.bias});
    ExpectConvolves(pictures, shape, false, 4, 3);
    const testing::ConvInputs in{networks::Normals(3 * t * channels, 1),
                                 networks::Normals(3 * length * out, 2)};
    EXPECT_EQ(RunConv(Conv1d(out, o), {4, t, channels}, 3, in, 2, 2),
              RunConv(pictures, {4, 1, t, channels}, 3, in, 2, 2));
  };
  expect(11, 3, 5, {.kernel = 4, .padding = 2});
  expect(11, 4, 6, {.stride = 2, .dilation = 2, .groups = 2, .bias = false});
  expect(11, 4, 8, {.kernel = 5, .stride = 3, .padding = 4, .groups = 4});
  expect(1, 4, 2, {.kernel = 1});
}

template <class L>
std::string ErrorOf(const L& layer, const Shape& in) {
  return LayerRunner(std::make_unique<L>(layer), in).status().message();
}

TEST(Conv2dTest, WhatDoesNotFitIsSaidWithBothSizes) {
  const Shape x{2, 5, 6, 4};
  const auto error = [&](int64_t out, Conv2dOptions o) { return ErrorOf(Conv2d(out, o), x); };
  EXPECT_THAT(ErrorOf(Conv2d(3), {2, 5, 4}), AllOf(HasSubstr("pictures"), HasSubstr("(2, 5, 4)")));
  EXPECT_THAT(error(3, {.kernel = 9, .padding = 1}),
              AllOf(HasSubstr("9 x 9"), HasSubstr("7 x 8"), HasSubstr("(2, 5, 6, 4)")));
  EXPECT_THAT(error(3, {.kernel = 4, .dilation = 2}),
              AllOf(HasSubstr("7 x 7"), HasSubstr("5 x 6")));
  EXPECT_THAT(error(3, {.groups = 3}), AllOf(HasSubstr("groups = 3"), HasSubstr("4 channels")));
  EXPECT_THAT(error(5, {.groups = 2}), AllOf(HasSubstr("groups = 2"), HasSubstr("the 5 it gives")));
  EXPECT_THAT(error(3, {.groups = 0}), HasSubstr("at least one group, not 0"));
  EXPECT_THAT(error(0, {}), HasSubstr("at least one output channel, not 0"));
  EXPECT_THAT(error(3, {.kernel = {3, 0}}), HasSubstr("kernel must be at least 1"));
  EXPECT_THAT(error(3, {.stride = 0}), HasSubstr("stride must be at least 1"));
  EXPECT_THAT(error(3, {.padding = -1}), HasSubstr("padding must be at least 0"));
  EXPECT_THAT(error(3, {.dilation = {-2, 1}}), HasSubstr("not -2"));
  EXPECT_THAT(error(3, {.kernel = int64_t{1} << 62}), HasSubstr("kernel must be"));
  EXPECT_THAT(error(3, {.padding = int64_t{1} << 62}), HasSubstr("padding must be"));
  EXPECT_THAT(ErrorOf(Conv1d(3), x), AllOf(HasSubstr("signals"), HasSubstr("(2, 5, 6, 4)")));
  EXPECT_THAT(ErrorOf(Conv1d(3, {.kernel = 9, .padding = 1}), {2, 5, 4}),
              AllOf(HasSubstr("9"), HasSubstr("7"), HasSubstr("signal")));
}

TEST(Conv2dTest, BeginsAsPyTorchDoesOrAsAsked) {
  const auto largest = [](std::span<const float> values) {
    float most = 0.0f;
    for (const float v : values) most = std::max(most, std::abs(v));
    return most;
  };
  LayerRunner torch(std::make_unique<Conv2d>(64, Conv2dOptions{.groups = 2}), {1, 4, 4, 8});
  const float bound = 1.0f / std::sqrt(4.0f * 9.0f);
  EXPECT_LE(largest(torch.value("weight")), bound);
  EXPECT_GT(largest(torch.value("weight")), 0.98f * bound);
  EXPECT_LE(largest(torch.value("bias")), bound);
  EXPECT_GT(largest(torch.value("bias")), 0.8f * bound);
  LayerRunner he(std::make_unique<Conv2d>(64, Conv2dOptions{.init = ConvInit::kKaimingNormal}),
                 {1, 4, 4, 32});
  double squares = 0.0;
  for (const float v : he.value("weight")) squares += static_cast<double>(v) * v;
  const double n = 64.0 * 9.0 * 32.0, variance = 2.0 / (64.0 * 9.0);
  EXPECT_NEAR(squares / n, variance, 5.0 * variance * std::sqrt(2.0 / n));
  EXPECT_EQ(largest(he.value("bias")), 0.0f);
}

TEST(Conv2dTest, ABiasInFrontOfABatchNormIsReported) {
  Context ctx({.threads = 1});
  const auto notes = [&](bool bias) {
    const Network net = Network::Bind(ctx, Sequential(Conv2d(3, {.bias = bias}), BatchNorm()),
                                      MseLoss(), {.input = {2, 5, 6, 4}})
                            .value();
    return std::ranges::any_of(net.program().graph().report(), &LayerReport::bias_has_no_effect);
  };
  EXPECT_TRUE(notes(true));
  EXPECT_FALSE(notes(false));
}

// Its weights are packed once and kept, and made anew when they change.
TEST(Conv2dTest, ANetworkThatOnlyPredictsGivesTheSameBits) {
  Context ctx({.threads = 2});
  const auto layers = [] {
    return Sequential(Conv2d(6, {.padding = 1}), BatchNorm(), Residual(Conv2d(6, {.same = true})),
                      Conv2d(6, {.groups = 6}), Flatten(), Linear(3));
  };
  const Shape shape{3, 5, 6, 4};
  Network trains = Network::Bind(ctx, layers(), MseLoss(), {.input = shape, .seed = 3}).value();
  Network predicts =
      Network::Bind(ctx, layers(), {.input = shape, .seed = 3, .training = false}).value();
  const std::vector<float> x = networks::Normals(shape.size(), 1);
  const auto predict = [&](Network& net) {
    std::vector<float> y(9, NAN);
    EXPECT_TRUE(net.Predict({x.data(), shape}, {y.data(), {3, 3}}).ok());
    return y;
  };
  const std::vector<float> first = predict(predicts);
  EXPECT_EQ(first, predict(trains));
  for (Network* net : {&trains, &predicts}) {
    const ParameterWriter writer = net->Write();
    for (float& v : writer->values) v *= 1.5f;
  }
  const std::vector<float> second = predict(predicts);
  EXPECT_EQ(second, predict(trains));
  EXPECT_NE(second, first);
}

// Without options, where there are channels enough. Weights are below 1/sqrt(9 * 32) and x is
// standard normal: the bound is that of tests/engine/ops/winograd_test.cc.
TEST(Conv2dTest, ManyChannelsGoByWinogradAndOthersDoNot) {
  Context ctx({.threads = 2});
  for (const int64_t channels : {16, 32}) {
    const Shape shape{3, 7, 6, channels};
    const std::vector<float> x = networks::Normals(shape.size(), 1);
    const auto predict = [&](const Conv2dOptions& options) {
      Network net =
          Network::Bind(ctx, Sequential(Conv2d(channels, options)), {.input = shape, .seed = 3})
              .value();
      std::vector<float> y(static_cast<size_t>(shape.size()), NAN);
      EXPECT_TRUE(net.Predict({x.data(), shape}, {y.data(), shape}).ok());
      return y;
    };
    const std::vector<float> as_made = predict({.padding = 1});
    const std::vector<float> direct =
        predict({.padding = 1, .algorithm = ops::ConvAlgorithm::kDirect});
    if (channels < 32) {
      EXPECT_EQ(as_made, direct);
    } else {
      EXPECT_NE(as_made, direct);
      for (size_t i = 0; i < direct.size(); ++i)
        ASSERT_TRUE(std::abs(as_made[i] - direct[i]) <= (9.0f + 1.0f) * 6e-8f * 5.0f) << i;
    }
  }
}

// A whole batch, one that is not full, one of fewer samples than shards.
TEST(Conv2dTest, TrainingByWinogradEndsInTheSameBitsForAnyNumberOfThreads) {
  constexpr int64_t kBatch = 6;
  const auto train = [&](int threads, ops::ConvAlgorithm algorithm) {
    Context ctx({.threads = threads});
    const Conv2dOptions options{.padding = 1, .algorithm = algorithm};
    const Shape shape{kBatch, 9, 7, 5};
    Network net = Network::Bind(ctx,
                                Sequential(Conv2d(32, {.kernel = 1}), BatchNorm(), Relu(),
                                           Residual(Sequential(Conv2d(32, options), BatchNorm())),
                                           Relu(), Flatten(), Linear(3)),
                                MseLoss(), {.input = shape, .seed = 3, .shards = 3})
                      .value();
    Sgd sgd({.lr = 0.05});
    for (const int64_t samples : {kBatch, int64_t{5}, int64_t{2}}) {
      networks::Poison(net);
      const std::vector<float> x = networks::Normals(shape.WithBatch(samples).size(), 1);
      const std::vector<float> t = networks::Normals(samples * 3, 2);
      const Result<double> loss =
          net.TrainStep({x.data(), shape.WithBatch(samples)}, {t.data(), {samples, 3}}, sgd);
      EXPECT_TRUE(loss.ok()) << loss.status().message();
    }
    return ModelHash(net);
  };
  for (const auto algorithm : {Conv2dOptions().algorithm, ops::ConvAlgorithm::kWinograd4}) {
    const uint64_t one = train(1, algorithm);
    EXPECT_NE(one, train(1, ops::ConvAlgorithm::kDirect));
    for (const int threads : {2, 3, 8}) EXPECT_EQ(train(threads, algorithm), one) << threads;
  }
}

}  // namespace
}  // namespace lockstep
