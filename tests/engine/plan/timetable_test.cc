// What runs twice, and that it changes no bit: every graph of graph_cases.h with every stretch of
// its operations as a region, and cut into regions in two.
#include "engine/plan/timetable.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "layers/dropout.h"
#include "layers/picture/pool.h"
#include "tests/engine/plan/graph_runs.h"

namespace lockstep::inline v0_1 {
namespace {

using cases::Case;
using cases::kBatch;
using cases::kCases;
using cases::kWidth;
using cases::Outcome;
using cases::RunOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// ---- Every region of every graph

// Fills with NaN what is not held, before the first Backward. Where each buffer has memory of its
// own.
class Forgets final : public StepObserver {
 public:
  Forgets(const Program& program, int* forgotten) : program_(program), forgotten_(forgotten) {}
  void Before(const std::string&, bool backward) override {
    if (!backward || done_) return;
    done_ = true;
    const Graph& graph = program_.graph();
    const Timetable times(graph, GradientFlow(graph), /*views_share=*/false);
    for (size_t v = 0; v < graph.value_count(); ++v) {
      const Value value{static_cast<int>(v)};
      const ConstTensor tensor = program_.value(value);
      if (times.held(value) || graph.info(value).node < 0 || tensor.empty()) continue;
      std::memset(const_cast<void*>(tensor.data()), 0xFF, tensor.bytes());
      ++*forgotten_;
    }
  }
  void After(const std::string&, bool, ConstTensor) override {}

 private:
  const Program& program_;
  int* forgotten_;
  bool done_ = false;
};

size_t OperationsOf(const Case& c) {
  ParameterStore store;
  Graph graph(store, {.samples = kBatch});
  EXPECT_TRUE(cases::CaseModel(c).Build(graph).ok());
  return graph.nodes().size();
}

class RegionsTest : public ::testing::TestWithParam<Case> {};

TEST_P(RegionsTest, ChangeNoBitWhereverTheyBeginAndEnd) {
  const Case& c = GetParam();
  const size_t count = OperationsOf(c);
  std::vector<std::vector<int>> cuts;
  for (size_t begin = 0; begin < count; ++begin) {
    for (size_t end = begin + 1; end <= count; ++end) {
      std::vector<int> one(count, -1), three(count, 0);
      for (size_t i = begin; i < end; ++i) one[i] = 0, three[i] = 1;
      for (size_t i = end; i < count; ++i) three[i] = 2;
      cuts.push_back(one);
      cuts.push_back(three);
    }
  }
  const Outcome plain = RunOf(c, kBatch, Fusion::kNone, /*share_memory=*/false);
  int forgotten = 0;
  for (const std::vector<int>& regions : cuts) {
    for (const Fusion fusion : {Fusion::kNone, Fusion::kAll}) {
      for (const bool share : {false, true}) {
        SCOPED_TRACE(::testing::PrintToString(regions) + ", fusion " +
                     std::to_string(static_cast<int>(fusion)) + (share ? ", shared" : ""));
        const auto forgets = [&](Network& net) {
          return std::make_unique<Forgets>(net.training_program(), &forgotten);
        };
        const Outcome other = share ? RunOf(c, kBatch, fusion, share, regions)
                                    : RunOf(c, kBatch, fusion, share, regions, forgets);
        EXPECT_EQ(plain.loss, other.loss);
        for (const auto& [name, gradient] : plain.gradients)
          EXPECT_TRUE(cases::SameBits(gradient, other.gradients.at(name))) << name;
      }
    }
  }
  // In small graphs every value is an output, or read outside of all regions.
  if (c.name == "AProductPlusItsOwnInputThenRelu") {
    EXPECT_GT(forgotten, 20);
  }
}

INSTANTIATE_TEST_SUITE_P(Graphs, RegionsTest, ::testing::ValuesIn(kCases),
                         [](const auto& info) { return info.param.name; });

// ---- What runs when

// x -> a -> (b -> c -> d) -> e -> loss, in parentheses a region.
struct Built {
  explicit Built(std::vector<std::string> frozen = {}, bool training = true)
      : graph(store, {.training = training, .samples = kBatch}, std::move(frozen)) {
    const Value x = *graph.AddInput("x", {kBatch, kWidth});
    a = *Apply(graph, "a", cases::kLinear, x);
    {
      const Graph::Recomputed region(graph);
      b = *Apply(graph, "b", cases::kLinear, a);
      {
        const Graph::Recomputed within(graph);
        c = *Apply(graph, "c", Tanh(), b);
      }
      d = *Apply(graph, "d", cases::kLinear, c);
    }
    e = *Apply(graph, "e", cases::kLinear, d);
    EXPECT_TRUE(graph.AddOutput("y", e).ok());
    EXPECT_TRUE(AddLoss(graph, "t", MseLoss(), e).ok());
  }
  Timetable Times() const { return {graph, GradientFlow(graph), /*views_share=*/true}; }

  ParameterStore store;
  Graph graph;
  Value a, b, c, d, e;
};

TEST(TimetableTest, ARegionRunsAgainBeforeItsFirstBackward) {
  const Built built;
  const Timetable times = built.Times();
  // d gives what e reads: it is held, and d need not run again. Tanh reads its y, which b computes
  // for nobody else.
  EXPECT_TRUE(times.held(built.a) && times.held(built.d) && times.held(built.e));
  EXPECT_FALSE(times.held(built.b) || times.held(built.c));
  EXPECT_THAT(times.before(3), ElementsAre(1, 2));
  for (const size_t node : {0, 1, 2, 4, 5}) EXPECT_THAT(times.before(node), IsEmpty()) << node;
  // Forward 0 to 5; then of the loss, of e; b and c again; of d, c, b, a.
  EXPECT_EQ(times.forward(5), 5);
  EXPECT_EQ(times.backward(5), 6);
  EXPECT_EQ(times.backward(4), 7);
  EXPECT_EQ(times.again(1), 8);
  EXPECT_EQ(times.again(2), 9);
  EXPECT_EQ(times.again(3), -1);
  EXPECT_EQ(times.backward(3), 10);
  EXPECT_EQ(times.backward(0), 13);
  EXPECT_EQ(times.end(), 14);
}

TEST(TimetableTest, WhatNobodyNeedsAgainDoesNotRunAgain) {
  const Built frozen({"*"}), evaluation({}, /*training=*/false), below({"a.*", "b.*", "d.*"});
  for (const Built* built : {&frozen, &evaluation, &below}) {
    const Timetable times = built->Times();
    for (int node = 0; node < 6; ++node) EXPECT_EQ(times.again(node), -1) << node;
    EXPECT_EQ(times.end(), 12);
  }
}

TEST(TimetableTest, WhatHasStatesOrWorksInItsMomentsDoesNotRunAgain) {
  for (const bool states : {false, true}) {
    ParameterStore store;
    Graph graph(store, {.samples = kBatch});
    const Value x = *graph.AddInput("x", {kBatch, kWidth});
    Value v, n, y;
    {
      const Graph::Recomputed region(graph);
      v = *Apply(graph, "v", cases::kLinear, x);
      n = *Apply(graph, "n", BatchNorm({.track_running_stats = states}), v);
      y = *Apply(graph, "y", Linear(kWidth), *Apply(graph, "r", Tanh(), n));
    }
    ASSERT_TRUE(AddLoss(graph, "t", MseLoss(), y).ok());
    for (const Fusion fusion : {Fusion::kNone, Fusion::kAll}) {
      ASSERT_TRUE(Fuse(graph, fusion).ok());
      const Timetable times(graph, GradientFlow(graph), /*views_share=*/true);
      EXPECT_FALSE(times.held(v));
      EXPECT_GE(times.again(0), 0);
      EXPECT_EQ(times.held(n), states || fusion == Fusion::kAll);
      EXPECT_EQ(times.again(1) < 0, states || fusion == Fusion::kAll);
    }
  }
}

// A layer may hand its states to layers within it.
class Counts final : public Layer {
 public:
  std::string kind() const override { return "Counts"; }
  Result<Value> Build(Graph& graph, Value x) const override {
    LOCKSTEP_TRY(graph.AddState("count", {1}, DType::kI64, 0.0).status());
    return Apply(graph, "inner", LayerNorm(), x);
  }
};

TEST(TimetableTest, WhatIsWithinALayerThatHasStatesDoesNotRunAgainAndTheReportSaysSo) {
  ParameterStore store;
  Graph graph(store, {.samples = kBatch});
  const Value x = *graph.AddInput("x", {kBatch, kWidth});
  ASSERT_TRUE(graph.AddState("of_the_model", {1}, DType::kF32, 0.0).ok());
  Value y;
  {
    const Graph::Recomputed region(graph);
    y = *Apply(graph, "a", Counts(), *Apply(graph, "b", cases::kLinear, x));
    y = *Apply(graph, "c", cases::kLinear, *Apply(graph, "d", Tanh(), y));
  }
  ASSERT_TRUE(graph.AddOutput("y", y).ok());
  ASSERT_TRUE(AddLoss(graph, "t", MseLoss(), y).ok());
  EXPECT_FALSE(graph.nodes()[0].has_states);
  EXPECT_TRUE(graph.nodes()[1].has_states);
  EXPECT_FALSE(graph.nodes()[2].has_states);
  const std::unique_ptr<Program> program = Program::Make(std::move(graph), {}).value();
  std::vector<std::string> notes;
  for (const LayerReport& row : program->graph().report())
    notes.insert(notes.end(), row.notes.begin(), row.notes.end());
  EXPECT_THAT(notes, ElementsAre(HasSubstr("not computed again")));
}

// ---- Memory that operations book from Forward to Backward

// y = x x, whose Backward reads x from memory of its own.
class Square final : public Operation {
 public:
  explicit Square(int* runs) : runs_(runs) {}
  Result<Declaration> Declare(std::span<const TensorSpec> x, const Fused&,
                              const PlanOptions&) const override {
    return Declaration{.outputs = {x[0]}, .flops = 100.0};
  }
  void Book(std::span<const TensorSpec> x, Booking& booking) override {
    x_ = booking.Book(x[0].shape.size(), Life::kStep);
  }
  void Forward(const Step& step, const Operands& o) override {
    ++*runs_;
    for (int64_t i = 0; i < o.y().size(); ++i) {
      step[x_][i] = o.x_f32(0)[i];
      o.y_f32()[i] = step[x_][i] * step[x_][i];
    }
  }
  void Backward(const Step& step, const Operands& o) override {
    for (int64_t i = 0; i < o.dy().size(); ++i) o.dx_f32(0)[i] = 2.0f * step[x_][i] * o.dy_f32()[i];
  }

 private:
  int* runs_;
  Buffer<float> x_;
};

TEST(TimetableTest, WhatOperationsRememberIsComputedAgainAndTakesMemoryOnceForAllRegions) {
  constexpr int kRegions = 6, kSquares = 4;
  constexpr int64_t kValue = kBatch * kWidth * 4 > 64 ? 128 : 64;  // bytes, as laid out
  std::array<std::vector<float>, 2> gradients;
  std::array<int64_t, 2> bytes{};
  for (const bool recomputed : {false, true}) {
    int runs = 0;
    ParameterStore store;
    Graph graph(store, {.samples = kBatch});
    Value v = *graph.AddInput("x", {kBatch, kWidth}, DType::kF32, /*wants_gradient=*/true);
    for (int r = 0; r < kRegions; ++r) {
      std::unique_ptr<Graph::Recomputed> region;
      if (recomputed) region = std::make_unique<Graph::Recomputed>(graph);
      v = *graph.Add(Multiply(), {v, v});  // reads x in Backward: so squares are needed again
      for (int k = 0; k < kSquares; ++k) v = *graph.Add(Square(&runs), {v});
      v = *graph.Add(Multiply(), {v, v});
    }
    ASSERT_TRUE(AddLoss(graph, "t", MseLoss(), v).ok());
    Context ctx({.threads = 1});
    const std::unique_ptr<Program> program = Program::Make(std::move(graph), {}).value();
    store.Allocate(ctx, /*seed=*/1, /*training=*/true);
    const PageMemory memory(ctx, program->step_bytes() + program->kept_bytes());
    std::memset(memory.data(), 0xFF, static_cast<size_t>(program->step_bytes()));
    program->Place(memory.data(), memory.data() + program->step_bytes());
    std::vector<float> x(kBatch * kWidth), t(x.size(), 0.5f);
    for (size_t i = 0; i < x.size(); ++i) x[i] = 0.99f + 0.001f * static_cast<float>(i % 20);
    program->SetInput(0, {x.data(), {kBatch, kWidth}});
    program->SetInput(1, {t.data(), {kBatch, kWidth}});
    const Step step{.ctx = ctx, .program = *program, .cut = BatchCut::Whole(kBatch, 1)};
    program->Forward(step, /*losses=*/true);
    program->Backward(step, std::array{1.0});
    gradients[recomputed] = cases::FloatsOf(program->input_gradient(0));
    bytes[recomputed] = program->step_bytes();
    EXPECT_EQ(runs, (recomputed ? 2 : 1) * kRegions * kSquares);
    // 100 of each Square; Multiply counts one for each element, and the last one's y is held.
    EXPECT_EQ(program->repeated_flops(),
              recomputed ? kRegions * (100.0 * kSquares + kBatch * kWidth) : 0.0);
  }
  EXPECT_THAT(gradients[1], ::testing::ElementsAreArray(gradients[0]));
  // Held: of each region what it gives; once: the inside of one (of each Square what it remembers
  // and its y), a few gradients and the loss.
  EXPECT_LE(bytes[1], (kRegions + 2 * kSquares + 8) * kValue);
  EXPECT_GE(bytes[0], kRegions * (kSquares + 2) * kValue);
}

// ---- One output that is held and one that is not

// y0 = x, which may be written over, and y1 = x x.
class Splits final : public Operation {
 public:
  Result<Declaration> Declare(std::span<const TensorSpec> x, const Fused&,
                              const PlanOptions&) const override {
    return Declaration{.outputs = {x[0], x[0]}, .reads_y = {true}, .y_may_overwrite_x = true};
  }
  void Forward(const Step&, const Operands& o) override {
    for (int64_t i = 0; i < o.y().size(); ++i) {
      const float x = o.x_f32(0)[i];
      o.y_f32(0)[i] = x;
      o.y_f32(1)[i] = x * x;
    }
  }
  void Backward(const Step&, const Operands& o) override {
    for (int64_t i = 0; i < o.dy().size(); ++i)
      o.dx_f32(0)[i] = o.dy_f32(0)[i] + 2.0f * o.y_f32(0)[i] * o.dy_f32(1)[i];
  }
};

TEST(TimetableTest, WhatIsHeldLiesNowhereWhereSomethingIsComputedAgain) {
  std::array<std::vector<float>, 2> gradients;
  for (const bool recomputed : {false, true}) {
    ParameterStore store;
    Graph graph(store, {.samples = kBatch});
    const Value x = *graph.AddInput("x", {kBatch, kWidth}, DType::kF32, /*wants_gradient=*/true);
    Value held, w;
    {
      std::unique_ptr<Graph::Recomputed> region;
      if (recomputed) region = std::make_unique<Graph::Recomputed>(graph);
      const Value v = *graph.Add(Sum(), {x, x});
      const std::vector<Value> y = *graph.AddOperation(std::make_unique<Splits>(), {v});
      held = y[0];
      w = *graph.Add(Multiply(), {y[1], y[1]});
    }
    const Value sum = *graph.Add(Sum(), {w, held});
    ASSERT_TRUE(AddLoss(graph, "t", MseLoss(), sum).ok());
    const Timetable times(graph, GradientFlow(graph), /*views_share=*/true);
    EXPECT_EQ(times.again(0) >= 0, recomputed);
    EXPECT_EQ(times.again(1) >= 0, recomputed);
    EXPECT_TRUE(times.held(held));
    Context ctx({.threads = 1});
    const std::unique_ptr<Program> program = Program::Make(std::move(graph), {}).value();
    store.Allocate(ctx, /*seed=*/1, /*training=*/true);
    const PageMemory memory(ctx, program->step_bytes() + program->kept_bytes());
    std::memset(memory.data(), 0xFF, static_cast<size_t>(program->step_bytes()));
    program->Place(memory.data(), memory.data() + program->step_bytes());
    std::vector<float> numbers(kBatch * kWidth), t(numbers.size(), 0.5f);
    for (size_t i = 0; i < numbers.size(); ++i) numbers[i] = 0.1f * static_cast<float>(i % 7);
    program->SetInput(0, {numbers.data(), {kBatch, kWidth}});
    program->SetInput(1, {t.data(), {kBatch, kWidth}});
    const Step step{.ctx = ctx, .program = *program, .cut = BatchCut::Whole(kBatch, 1)};
    program->Forward(step, /*losses=*/true);
    program->Backward(step, std::array{1.0});
    gradients[recomputed] = cases::FloatsOf(program->input_gradient(0));
  }
  EXPECT_THAT(gradients[1], ::testing::ElementsAreArray(gradients[0]));
}

}  // namespace
}  // namespace lockstep
