// Lstm and Gru against the same in double, gradients by complex step; a text has the same bits
// whatever is beside it.
#include "tests/reference/recurrent.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <complex>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "engine/optim/adam.h"
#include "engine/train/network.h"
#include "gmock/gmock.h"
#include "layers/container/sequential.h"
#include "layers/linear.h"
#include "layers/loss/mse.h"
#include "layers/recurrent/gru.h"
#include "layers/recurrent/lstm.h"
#include "tests/engine/kernels/fused.h"
#include "tests/engine/ops/same_bits.h"
#include "tests/engine/train/count_heap.h"
#include "tests/layers/recurrent/nets.h"
// After targets.h.
#include <hwy/highway.h>
#include <hwy/tests/test_util-inl.h>

namespace lockstep::inline v0_1 {
namespace {

using ::testing::HasSubstr;
using testing::LayerRunner;
using testing::Mode;
using testing::Net;
using testing::NetLayer;
using testing::Numbers;
using testing::NumbersOf;
using testing::Values;
using Complex = std::complex<double>;
using Norm = RecurrentOptions::Norm;

std::unique_ptr<LayerRunner> Bound(const Net& net, const Shape& in, int threads = 1,
                                   int shards = 1) {
  auto runner = std::make_unique<LayerRunner>(std::make_unique<NetLayer>(net), in,
                                              std::vector<std::string>{}, threads, shards);
  EXPECT_TRUE(runner->status().ok()) << runner->status().message();
  // Norms and biases begin as constants; here everything is of the first order.
  uint32_t stream = 50;
  for (const ParameterInfo& info : runner->store().infos()) {
    const std::vector<float> values = Values(++stream, info.shape.size());
    const bool gamma = info.name.starts_with("norm") && info.name.ends_with(".weight");
    std::span<float> to = runner->value(info.name);
    for (size_t i = 0; i < to.size(); ++i) to[i] = 0.6f * values[i] + (gamma ? 1.0f : 0.0f);
  }
  return runner;
}

// The same of a whole batch in one direction, with every parameter as a leaf.
std::vector<Complex> ReferenceOf(const Net& net, bool reverse, const Shape& in,
                                 const std::vector<Complex>& x,
                                 const std::map<std::string, std::vector<Complex>>& parameters,
                                 const std::string& suffix) {
  const auto of = [&](const std::string& name) {
    const auto found = parameters.find(name);
    return found == parameters.end() ? std::vector<Complex>() : found->second;
  };
  const reference::RecurrentWeights<Complex> w{
      .ih = of("weight_ih" + suffix),
      .hh = of("weight_hh" + suffix),
      .bias_ih = of("bias_ih" + suffix),
      .bias_hh = of("bias_hh" + suffix),
      .norm_ih_gamma = of("norm_ih" + suffix + ".weight"),
      .norm_ih_beta = of("norm_ih" + suffix + ".bias"),
      .norm_hh_gamma = of("norm_hh" + suffix + ".weight"),
      .norm_hh_beta = of("norm_hh" + suffix + ".bias"),
      .norm_cell_gamma = of("norm_cell" + suffix + ".weight"),
      .norm_cell_beta = of("norm_cell" + suffix + ".bias")};
  std::vector<Complex> y;
  for (int64_t b = 0; b < in[0]; ++b) {
    const auto sample = x.begin() + b * in[1] * in[2];
    std::vector<int32_t> segments;
    if (!net.segments.empty()) {
      const auto first = net.segments.begin() + b * in[1];
      segments.assign(first, first + in[1]);
    }
    const auto one = reference::Recurrent<Complex>(
        net.lstm, reverse, static_cast<size_t>(net.hidden),
        std::vector<Complex>(sample, sample + in[1] * in[2]), w, segments);
    y.insert(y.end(), one.begin(), one.end());
  }
  return y;
}

// Chains of up to 9 steps, each a sum of some 40 terms of the first order and functions right to
// 2.5 ulp (6e-8): errors of 9 * sqrt(40) * 6e-8 = 3.4e-6, for layer norms, which divide by small
// deviations, several times that; of the largest value.
constexpr double kTolerance = 2e-5;

void ExpectNear(std::span<const float> got, const std::vector<double>& want,
                const std::string& what) {
  ASSERT_EQ(got.size(), want.size()) << what;
  double largest = 1e-3;
  for (const double v : want) largest = std::max(largest, std::abs(v));
  for (size_t i = 0; i < want.size(); ++i) {
    const double error = std::abs(static_cast<double>(got[i]) - want[i]);
    ASSERT_TRUE(error <= kTolerance * largest)
        << what << "[" << i << "]: " << got[i] << " against " << want[i];
  }
}

constexpr int32_t kPad = -1;
const std::vector<int32_t> kMixed = {
    kPad, kPad, 0,    0,    0,    0,    0,     // padded left
    0,    0,    0,    0,    1,    1,    2,     // packed
    0,    0,    0,    0,    0,    kPad, kPad,  // padded right
    kPad, kPad, kPad, kPad, kPad, kPad, kPad,  // of length 0
    0,    0,    kPad, 0,    1,    kPad, 1,     // gaps, which the state passes
};
const Shape kIn{5, 7, 3};

std::vector<Net> Nets() {
  std::vector<Net> nets;
  for (const bool lstm : {true, false}) {
    for (const Norm norm : {Norm::kNone, Norm::kLayer}) {
      for (const bool segments : {false, true}) {
        Net net{.lstm = lstm, .options = {.bidirectional = true, .norm = norm}};
        if (segments) net.segments = kMixed;
        nets.push_back(net);
      }
    }
  }
  nets.push_back({.lstm = true, .options = {.bias = false}});
  nets.push_back({.lstm = false, .options = {.bias = false}});
  return nets;
}

TEST(RecurrentTest, ForwardAndEveryGradientAreThoseOfTheReferenceInDouble) {
  for (const Net& net : Nets()) {
    SCOPED_TRACE((net.lstm ? "LSTM" : "GRU") +
                 std::string(net.segments.empty() ? "" : " segments") +
                 (net.options.norm == Norm::kLayer ? " layer norm" : ""));
    const auto runner = Bound(net, kIn);
    const std::vector<float> x = Values(1, kIn.size());
    const std::vector<float> dy = Values(2, runner->out().size());
    const Numbers got = NumbersOf(*runner, x, kIn, dy);
    std::map<std::string, std::vector<Complex>> leaves;
    for (const ParameterInfo& info : runner->store().infos()) {
      const std::span<float> value = runner->value(info.name);
      leaves[info.name] = {value.begin(), value.end()};
    }
    leaves["x"] = {x.begin(), x.end()};
    const auto reference = [&] {
      std::vector<Complex> y = ReferenceOf(net, false, kIn, leaves["x"], leaves, "_l0");
      if (!net.options.bidirectional) return y;
      const auto back = ReferenceOf(net, true, kIn, leaves["x"], leaves, "_l0_reverse");
      std::vector<Complex> both;
      const int64_t n = net.hidden;
      for (int64_t row = 0; row < kIn.rows(); ++row) {
        both.insert(both.end(), y.begin() + row * n, y.begin() + (row + 1) * n);
        both.insert(both.end(), back.begin() + row * n, back.begin() + (row + 1) * n);
      }
      return both;
    };
    std::vector<double> want;
    for (const Complex& v : reference()) want.push_back(v.real());
    ExpectNear(got.y, want, "y");
    ExpectNear(runner->Forward(x, kIn, Mode::kEvaluate), want, "y in evaluation");
    for (auto& [name, values] : leaves) {
      std::vector<double> slopes;
      for (Complex& value : values) {
        const Complex before = value;
        value += Complex(0.0, 1e-40);
        double slope = 0.0;
        const std::vector<Complex> y = reference();
        for (size_t i = 0; i < y.size(); ++i) slope += dy[i] * y[i].imag() * 1e40;
        slopes.push_back(slope);
        value = before;
      }
      ExpectNear(name == "x" ? got.dx : got.gradients.at(name), slopes, name);
    }
  }
}

TEST(RecurrentTest, HasTheSameBitsForAnyNumberOfThreads) {
  for (Net net : Nets()) {
    net.hidden = 19;
    net.options.layers = 2;
    const auto run = [&](int threads) {
      const auto runner = Bound(net, kIn, threads, /*shards=*/4);
      return NumbersOf(*runner, Values(1, kIn.size()), kIn, Values(2, runner->out().size()));
    };
    const Numbers one = run(1);
    for (const int threads : {2, 3, 7}) {
      const Numbers more = run(threads);
      EXPECT_TRUE(SameBits(one.y, more.y));
      EXPECT_TRUE(SameBits(one.dx, more.dx));
      for (const auto& [name, gradient] : one.gradients)
        EXPECT_TRUE(SameBits(gradient, more.gradients.at(name))) << name;
    }
  }
}

TEST(RecurrentTest, HasTheSameBitsOnEverySimdTargetThatFuses) {
  for (Net net : Nets()) {
    net.hidden = 19;
    std::vector<Numbers> all;
    for (const int64_t target : hwy::SupportedAndGeneratedTargets()) {
      hwy::SetSupportedTargetsForTest(target);
      if (testing_arrays::HasFma()) {
        const auto runner = Bound(net, kIn);
        all.push_back(
            NumbersOf(*runner, Values(1, kIn.size()), kIn, Values(2, runner->out().size())));
      }
    }
    hwy::SetSupportedTargetsForTest(0);
    for (const Numbers& one : all) {
      EXPECT_TRUE(SameBits(one.y, all[0].y));
      EXPECT_TRUE(SameBits(one.dx, all[0].dx));
      for (const auto& [name, gradient] : one.gradients)
        EXPECT_TRUE(SameBits(gradient, all[0].gradients.at(name))) << name;
    }
  }
}

TEST(RecurrentTest, AStepTakesNothingFromTheHeap) {
  if (!toy::kCountsHeap) GTEST_SKIP() << "nothing is counted here";
  for (const int threads : {1, 2}) {
    for (const Norm norm : {Norm::kNone, Norm::kLayer}) {
      Context ctx({.threads = threads});
      const RecurrentOptions options{.layers = 2, .dropout = 0.1, .norm = norm};
      Network net =
          Network::Bind(ctx, Sequential(Lstm(48, options), Gru(48, options), LastStep(), Linear(1)),
                        MseLoss(), {.input = {8, 9, 16}, .shards = 2})
              .value();
      AdamW adam({.lr = 1e-3});
      const std::vector<float> x = Values(1, 8 * 9 * 16), t = Values(2, 8);
      const auto step = [&] {
        ASSERT_TRUE(net.TrainStep({x.data(), {8, 9, 16}}, {t.data(), {8, 1}}, adam).ok());
      };
      for (int i = 0; i < 3; ++i) step();
      const int64_t before = toy::HeapCalls();
      for (int i = 0; i < 3; ++i) step();
      EXPECT_EQ(toy::HeapCalls(), before) << threads;
    }
  }
}

// The places of a text, one behind the other.
std::vector<float> Rows(const std::vector<float>& all, const std::vector<int64_t>& places,
                        int64_t width) {
  std::vector<float> rows;
  for (const int64_t at : places)
    rows.insert(rows.end(), all.begin() + at * width, all.begin() + (at + 1) * width);
  return rows;
}

TEST(RecurrentTest, ATextHasTheBitsThatItHasAloneWhereverItStands) {
  for (Net net : Nets()) {
    net.hidden = 18;
    net.options.layers = 2;
    net.segments = kMixed;
    const auto together = Bound(net, kIn);
    const int64_t width = together->out().channels();
    const std::vector<float> x = Values(1, kIn.size()), dy = Values(2, together->out().size());
    const Numbers all = NumbersOf(*together, x, kIn, dy);
    for (int64_t b = 0; b < kIn[0]; ++b) {
      for (int32_t text = 0; text < 3; ++text) {
        std::vector<int64_t> places;
        for (int64_t at = b * kIn[1]; at < (b + 1) * kIn[1]; ++at) {
          if (kMixed[static_cast<size_t>(at)] == text) places.push_back(at);
        }
        if (places.empty()) continue;
        Net one = net;
        one.segments.clear();
        const Shape in{1, static_cast<int64_t>(places.size()), kIn[2]};
        const auto alone = Bound(one, in);
        const Numbers numbers =
            NumbersOf(*alone, Rows(x, places, kIn[2]), in, Rows(dy, places, width));
        EXPECT_TRUE(SameBits(numbers.y, Rows(all.y, places, width))) << b << " " << text;
        EXPECT_TRUE(SameBits(numbers.dx, Rows(all.dx, places, kIn[2]))) << b << " " << text;
      }
    }
    for (int64_t at = 0; at < kIn.rows(); ++at) {
      if (kMixed[static_cast<size_t>(at)] >= 0) continue;
      for (int64_t i = 0; i < width; ++i)
        EXPECT_EQ(all.y[static_cast<size_t>(at * width + i)], 0.0f);
    }
  }
}

TEST(RecurrentTest, ASmallerBatchHasTheBitsOfItsSamplesAndGradientsAddUp) {
  for (const Net& net : Nets()) {
    const auto runner = Bound(net, kIn);
    const std::vector<float> x = Values(1, kIn.size()), dy = Values(2, runner->out().size());
    const Numbers whole = NumbersOf(*runner, x, kIn, dy);
    const Shape two{2, 7, 3};
    const Numbers part = NumbersOf(*runner, x, two, dy);
    const auto count = static_cast<size_t>(runner->out().WithBatch(2).size());
    EXPECT_TRUE(SameBits(part.y, {whole.y.begin(), whole.y.begin() + static_cast<int64_t>(count)}));
    runner->Forward(x, two);
    runner->Backward(x, two, dy, /*accumulate=*/true);
    for (const auto& [name, gradient] : part.gradients) {
      const std::span<float> twice = runner->gradient(name);
      for (size_t i = 0; i < twice.size(); ++i) EXPECT_EQ(twice[i], 2.0f * gradient[i]) << name;
    }
  }
}

TEST(RecurrentTest, AThousandStepsStayFinite) {
  for (const bool lstm : {true, false}) {
    for (const Norm norm : {Norm::kNone, Norm::kLayer}) {
      const Shape in{2, 1000, 3};
      const auto runner = Bound({.lstm = lstm, .hidden = 24, .options = {.norm = norm}}, in);
      const Numbers got =
          NumbersOf(*runner, Values(1, in.size()), in, Values(2, runner->out().size()));
      for (const float v : got.y) ASSERT_TRUE(std::abs(v) <= 1.0f);
      for (const float v : got.dx) ASSERT_TRUE(std::isfinite(v));
      for (const auto& [name, gradient] : got.gradients) {
        for (const float v : gradient) ASSERT_TRUE(std::isfinite(v)) << name;
      }
    }
  }
}

TEST(RecurrentTest, TheLastStepIsTheStateBehindTheWholeText) {
  for (Net net : {Net{.options = {.bidirectional = true}}, Net{.lstm = false}}) {
    net.segments = kMixed;
    const auto all = Bound(net, kIn);
    net.last_step = true;
    const auto last = Bound(net, kIn);
    const std::vector<float> x = Values(1, kIn.size());
    const std::vector<float> y = all->Forward(x, kIn), got = last->Forward(x, kIn);
    const int64_t width = all->out().channels(), h = net.hidden;
    const int64_t ends[] = {6, 6, 4, -1, 6}, begins[] = {2, 0, 0, -1, 0};
    for (int64_t b = 0; b < 5; ++b) {
      for (int64_t i = 0; i < width; ++i) {
        const int64_t place = i < h ? ends[b] : begins[b];
        const float want = place < 0 ? 0.0f : y[static_cast<size_t>((b * 7 + place) * width + i)];
        EXPECT_EQ(got[static_cast<size_t>(b * width + i)], want) << b << " " << i;
      }
    }
    // Its gradient is that of the places it reads.
    const std::vector<float> dy = Values(3, last->out().size());
    std::vector<float> spread(y.size(), 0.0f);
    for (int64_t b = 0; b < 5; ++b) {
      for (int64_t i = 0; i < width; ++i) {
        const int64_t place = i < h ? ends[b] : begins[b];
        if (place >= 0)
          spread[static_cast<size_t>((b * 7 + place) * width + i)] =
              dy[static_cast<size_t>(b * width + i)];
      }
    }
    EXPECT_TRUE(SameBits(last->Backward(x, kIn, dy), all->Backward(x, kIn, spread)));
  }
}

std::string ErrorOf(const Net& net, const Shape& in) {
  const LayerRunner runner(std::make_unique<NetLayer>(net), in);
  return runner.status().ok() ? "" : runner.status().message();
}

TEST(RecurrentTest, WhatDoesNotFitIsSaidWithTheReason) {
  EXPECT_THAT(ErrorOf({.options = {.norm = Norm::kBatch}}, kIn), HasSubstr("take layer norm"));
  EXPECT_THAT(ErrorOf({.hidden = 0}, kIn), HasSubstr("at least one unit, not 0"));
  EXPECT_THAT(ErrorOf({.options = {.layers = 0}}, kIn), HasSubstr("at least one layer, not 0"));
  EXPECT_THAT(ErrorOf({.options = {.layers = 2, .dropout = 1.5}}, kIn), HasSubstr("[0, 1]"));
  EXPECT_THAT(ErrorOf({}, {5, 3}), HasSubstr("(batch, steps, channels)"));
}

// ---- A text that goes on.

std::vector<float> InPieces(const Net& net, std::span<const float> x, int64_t steps, int64_t in,
                            const std::vector<int64_t>& pieces, LayerRunner& weights) {
  Context ctx({.threads = 1});
  ParameterStore store;
  Graph graph(store, {.training = false, .samples = steps, .cache_tokens = steps});
  const Value input = graph.AddInput("x", {steps, 1, in}).value();
  const Value y = Apply(graph, "", NetLayer(net), input).value();
  EXPECT_TRUE(graph.AddOutput("y", y).ok());
  const std::unique_ptr<Program> program = Program::Make(std::move(graph), {}).value();
  store.Allocate(ctx, 1, false);
  const ParameterSet set = store.ParametersToWrite();
  for (size_t i = 0; i < set.infos.size(); ++i) {
    const std::span<float> from = weights.value(set.infos[i].name);
    std::copy(from.begin(), from.end(), set.value(i).f32());
  }
  store.Changed();
  PageMemory memory(ctx, program->step_bytes() + program->kept_bytes() + 64);
  program->Place(memory.data(), memory.data() + program->step_bytes());
  std::vector<float> all;
  int64_t first = 0;
  for (const int64_t count : pieces) {
    const BatchCut cut = BatchCut::Whole(count, 1);
    program->SetCut(cut);
    program->SetInput(0, ConstTensor(x.data() + first * in, {count, 1, in}));
    std::vector<float> piece(static_cast<size_t>(count * net.hidden));
    program->SetOutput(0, Tensor(piece.data(), {count, 1, net.hidden}));
    const Step step{.ctx = ctx,
                    .program = *program,
                    .cut = cut,
                    .states = store.state_memory(false),
                    .first_token = first};
    program->Forward(step, /*losses=*/false);
    all.insert(all.end(), piece.begin(), piece.end());
    first += count;
  }
  return all;
}

TEST(RecurrentTest, ATextThatGoesOnHasTheBitsOfTheWhole) {
  for (const bool lstm : {true, false}) {
    for (const Norm norm : {Norm::kNone, Norm::kLayer}) {
      const Net net{.lstm = lstm, .hidden = 18, .options = {.layers = 2, .norm = norm}};
      const Shape in{1, 9, 3};
      const auto whole = Bound(net, in);
      const std::vector<float> x = Values(1, in.size());
      const std::vector<float> y = whole->Forward(x, in);
      EXPECT_TRUE(SameBits(y, InPieces(net, x, 9, 3, {9}, *whole)));
      EXPECT_TRUE(SameBits(y, InPieces(net, x, 9, 3, {4, 1, 1, 3}, *whole)));
    }
  }
}

TEST(RecurrentTest, OfATextThatGoesOnThereIsNoReverse) {
  ParameterStore store;
  Graph graph(store, {.training = false, .samples = 4, .cache_tokens = 4});
  const Value x = graph.AddInput("x", {4, 1, 3}).value();
  const auto y = Apply(graph, "rnn", Lstm(5, {.bidirectional = true}), x);
  ASSERT_FALSE(y.ok());
  EXPECT_THAT(y.status().message(), HasSubstr("bidirectional"));
}

}  // namespace
}  // namespace lockstep
