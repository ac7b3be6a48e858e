// That right layers pass every check, and that each check finds the fault it is for.
#include "models/testing/check_layer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "layers/activation.h"
#include "layers/attention/multi_head_attention.h"
#include "layers/dropout.h"
#include "layers/linear.h"
#include "layers/norm/batch_norm.h"
#include "layers/sequence/embedding.h"
#include "models/testing/count_heap.h"

namespace lockstep::inline v0_1 {
namespace {

using ::testing::HasSubstr;

// y = w x by channel, written with one fault.
enum class Fault {
  kNone,
  kInputGradient,      // dx is a tenth too large
  kParameterGradient,  // dw misses the last row
  kOverwrites,         // dw is declared to be added to, and is not
  kThreads,            // dw is summed in as many pieces as there are threads
  kHoldsInput,         // Backward reads an x that it did not say it needs
  kReadsScratch,       // Forward reads memory that nothing has written
  kIgnoresFused,       // an activation is declared to be applied, and is not
  kMixes,              // samples depend on each other, in evaluation too
  kAllocates,          // a vector in every Forward
  kCounts,             // predictions depend on how many there were
  kHides,              // something is learned that is no state
};

class Scaling final : public Operation {
 public:
  explicit Scaling(Fault fault) : fault_(fault) {}

  Result<Declaration> Declare(std::span<const TensorSpec> x, const Fused&,
                              const PlanOptions&) const override {
    return Declaration{.outputs = {x[0]},
                       .reads_x = {fault_ != Fault::kHoldsInput, true},
                       .accumulates_dx = {false, fault_ == Fault::kOverwrites},
                       .applies = {.activation = fault_ == Fault::kIgnoresFused}};
  }
  void Book(std::span<const TensorSpec> x, Booking& booking) override {
    channels_ = x[0].shape.channels();
    scratch_ = booking.Book(channels_, Life::kStep);
    kept_ = booking.Book(channels_, Life::kBound);
  }
  void Forward(const Step& step, const Operands& o) override {
    const float *x = o.x_f32(0), *w = o.x_f32(1);
    x_ = x;
    const int64_t rows = o.y().shape().rows();
    std::vector<float> allocated(fault_ == Fault::kAllocates ? 1000 : 0);
    for (int64_t i = 0; i < rows * channels_; ++i) {
      float y = w[i % channels_] * x[i];
      if (fault_ == Fault::kReadsScratch) y += step[scratch_][i % channels_];
      if (fault_ == Fault::kMixes) y -= w[i % channels_] * x[i % channels_];  // the first sample's
      if (fault_ == Fault::kCounts) y += 1e-3f * static_cast<float>(calls_);
      if (fault_ == Fault::kHides) y += step[kept_][i % channels_];
      o.y_f32()[i] = y;
    }
    ++calls_;
    if (fault_ == Fault::kHides && step.backward_follows) step[kept_][0] += 0.1f;
  }
  void Backward(const Step& step, const Operands& o) override {
    const float *x = fault_ == Fault::kHoldsInput ? x_ : o.x_f32(0), *w = o.x_f32(1);
    const float* dy = o.dy_f32();
    const int64_t rows = o.dy().shape().rows();
    if (float* dw = o.dx_f32(1); dw != nullptr) {
      const int64_t pieces = fault_ == Fault::kThreads ? step.ctx.threads() : 1;
      const int64_t counted = fault_ == Fault::kParameterGradient ? rows - 1 : rows;
      for (int64_t c = 0; c < channels_; ++c) {
        float all = 0.0f;
        for (int64_t piece = 0; piece < pieces; ++piece) {
          float sum = 0.0f;
          for (int64_t r = counted * piece / pieces; r < counted * (piece + 1) / pieces; ++r) {
            const float first = fault_ == Fault::kMixes ? x[c] : 0.0f;
            sum += dy[r * channels_ + c] * (x[r * channels_ + c] - first);
          }
          all += sum;
        }
        dw[c] = all;
      }
    }
    float* dx = o.dx_f32(0);
    if (dx == nullptr) return;
    const float factor = fault_ == Fault::kInputGradient ? 1.1f : 1.0f;
    for (int64_t i = 0; i < rows * channels_; ++i) dx[i] = factor * w[i % channels_] * dy[i];
    for (int64_t i = 0; fault_ == Fault::kMixes && i < rows * channels_; ++i)
      dx[i % channels_] -= w[i % channels_] * dy[i];
  }

 private:
  Fault fault_;
  int64_t channels_ = 0, calls_ = 0;
  const float* x_ = nullptr;
  Buffer<float> scratch_, kept_;
};

class Scale final : public Layer {
 public:
  explicit Scale(Fault fault) : fault_(fault) {}
  std::string kind() const override { return "Scale"; }
  Result<Value> Build(Graph& graph, Value x) const override {
    LOCKSTEP_TRY_ASSIGN(const Value w, graph.AddParameter("weight", {graph.shape(x).channels()},
                                                          Init::Uniform(1.0f), Decay::kNo));
    return graph.Add(Scaling(fault_), {x, w});
  }

 private:
  Fault fault_;
};

using lockstep::checks::CheckLayer;
using lockstep::checks::CheckReport;
using lockstep::checks::HeapCalls;
using lockstep::checks::kCountsHeap;
using lockstep::checks::LayerCheckOptions;

LayerCheckOptions Counting() {
  LayerCheckOptions options;
  if (kCountsHeap) options.heap_calls = HeapCalls;
  return options;
}

TEST(CheckLayerTest, RightLayersPass) {
  const auto expect_ok = [](const Layer& layer, const Shape& x) {
    const CheckReport report = CheckLayer(layer, x, Counting());
    EXPECT_TRUE(report.ok()) << layer.kind() << ":\n" << report.ToString();
    EXPECT_EQ(report.done.size(), kCountsHeap ? 10u : 9u);
    EXPECT_TRUE(report.status().ok());
  };
  expect_ok(Scale(Fault::kNone), {24, 5});
  expect_ok(Linear(7), {9, 3});
  expect_ok(Dropout(0.3), {24, 5});
  expect_ok(BatchNorm(), {24, 5});
  expect_ok(MultiHeadAttention({.heads = 2, .dropout = 0.2}), {8, 3, 6});
  LayerCheckOptions ids;
  ids.ids = 11;
  const CheckReport report = CheckLayer(Embedding(11, 4), {9, 3}, ids);
  EXPECT_TRUE(report.ok()) << report.ToString();
}

struct Case {
  const char* name;
  Fault fault;
  const char* check;  // that must find it
  const char* says;
};

class CheckLayerFaults : public ::testing::TestWithParam<Case> {};

TEST_P(CheckLayerFaults, AreFound) {
  if (GetParam().fault == Fault::kAllocates && !kCountsHeap)
    GTEST_SKIP() << "nothing is counted here";
  const CheckReport report = CheckLayer(Scale(GetParam().fault), {24, 5}, Counting());
  EXPECT_TRUE(report.Failed(GetParam().check)) << report.ToString();
  EXPECT_THAT(report.ToString(), HasSubstr(GetParam().says));
  EXPECT_EQ(report.status().code(), Code::kInvalid);
}

INSTANTIATE_TEST_SUITE_P(
    Each, CheckLayerFaults,
    ::testing::Values(
        Case{"InputGradient", Fault::kInputGradient, "gradients", "the gradient of x"},
        Case{"ParameterGradient", Fault::kParameterGradient, "gradients", "weight"},
        Case{"Overwrites", Fault::kOverwrites, "accumulation", "not added to"},
        Case{"Threads", Fault::kThreads, "threads",
             "threads, 1 shards: step 0: gradient of weight"},
        Case{"HoldsInput", Fault::kHoldsInput, "memory", "memory not shared, and shared"},
        Case{"ReadsScratch", Fault::kReadsScratch, "memory", "poisoned"},
        Case{"IgnoresFused", Fault::kIgnoresFused, "fusion", "by themselves"},
        Case{"Mixes", Fault::kMixes, "evaluation", "predicted among 24 and among 1"},
        Case{"Allocates", Fault::kAllocates, "allocations", "take from the heap"},
        Case{"Counts", Fault::kCounts, "evaluation", "a second prediction"},
        Case{"Hides", Fault::kHides, "files", "learns otherwise"}),
    [](const auto& info) { return info.param.name; });

// Two runs of one seed: by a counter that all networks of a program share.
class Restless final : public Layer {
 public:
  std::string kind() const override { return "Restless"; }
  Result<Value> Build(Graph& graph, Value x) const override {
    LOCKSTEP_TRY_ASSIGN(
        const Value w,
        graph.AddParameter("weight", {graph.shape(x).channels()},
                           Init::Constant(1.0f + 1e-3f * static_cast<float>(++built_)),
                           Decay::kNo));
    return graph.Add(Scaling(Fault::kNone), {x, w});
  }

 private:
  mutable int built_ = 0;
};

TEST(CheckLayerTest, WhatDoesNotRepeatIsFound) {
  const CheckReport report = CheckLayer(Restless(), {24, 5});
  EXPECT_TRUE(report.Failed("repeats")) << report.ToString();
}

TEST(CheckLayerTest, WhatCannotBeBuiltIsSaid) {
  const CheckReport report = CheckLayer(MultiHeadAttention({.heads = 4}), {24, 6});
  EXPECT_TRUE(report.Failed("builds"));
  EXPECT_EQ(report.done, std::vector<std::string>{"builds"});
  EXPECT_TRUE(CheckLayer(Linear(2), {3, 5}).Failed("builds"));
}

TEST(CheckLayerTest, ChecksCanBeLeftOut) {
  LayerCheckOptions options;
  options.leave_out = {"gradients", "files"};
  const CheckReport report = CheckLayer(Scale(Fault::kInputGradient), {24, 5}, options);
  EXPECT_TRUE(report.ok()) << report.ToString();
  EXPECT_THAT(report.done, ::testing::Not(::testing::Contains("gradients")));
  EXPECT_THAT(report.done, ::testing::Contains("threads"));
}

}  // namespace
}  // namespace lockstep
