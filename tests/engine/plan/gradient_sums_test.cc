// The rule FuseFinishedGradients: who finishes the gradient of a norm's output takes the sums that
// the norm's Backward begins with; behind a fused GELU or SiLU it goes through the curve. Where it is applied, and that it changes no bit: each graph is held
// against itself without any fusion, whose gradients graph_gradients_test.cc holds against
// differences.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <ostream>
#include <string>
#include <utility>
#include <vector>

#include "engine/base/random.h"
#include "engine/comm/thread_ranks.h"
#include "engine/optim/sgd.h"
#include "engine/train/checkpointing.h"
#include "engine/train/network.h"
#include "engine/train/training_step.h"
#include "layers/activation.h"
#include "layers/arithmetic.h"
#include "layers/conv/conv.h"
#include "layers/conv/conv_transpose.h"
#include "layers/flatten.h"
#include "layers/linear.h"
#include "layers/loss/mse.h"
#include "layers/norm/batch_norm.h"
#include "layers/norm/layer_norm.h"
#include "layers/picture/pool.h"

namespace lockstep::inline v0_1 {
namespace {

using ::testing::ElementsAreArray;

constexpr int64_t kBatch = 12;
constexpr int kShards = 4;

struct Form {
  std::string name;
  Shape sample;  // of x without the batch
  std::function<Status(Graph&, Value x)> build;
  std::vector<std::string> sums;  // "READER for NORM" of each pair that the rule is applied to
  std::vector<std::string> frozen{};
};
std::ostream& operator<<(std::ostream& out, const Form& form) { return out << form.name; }

class FormModel final : public Model {
 public:
  explicit FormModel(const Form& form) : form_(form) {}
  Status Build(Graph& graph) const override {
    const Shape& s = form_.sample;
    Shape shape{graph.batch(), s[0]};
    if (s.rank() == 2) shape = {graph.batch(), s[0], s[1]};
    if (s.rank() == 3) shape = {graph.batch(), s[0], s[1], s[2]};
    LOCKSTEP_TRY_ASSIGN(const Value x, graph.AddInput("x", shape));
    return form_.build(graph, x);
  }

 private:
  const Form& form_;
};

Status Finish(Graph& graph, Value y) {
  LOCKSTEP_TRY(graph.AddOutput("y", y));
  return AddLoss(graph, "t", MseLoss(), y);
}

#define APPLY(value, name, layer, x) \
  LOCKSTEP_TRY_ASSIGN(const Value value, Apply(g, name, layer, x))
#define ADD(value, operation, ...) \
  LOCKSTEP_TRY_ASSIGN(const Value value, g.Add(operation, {__VA_ARGS__}))

const Linear kLinear(20);
const Conv2d kConv(20, {.padding = 1});
const Shape kRow{20}, kRows{50, 20}, kPicture{9, 8, 20};  // two blocks of rows in each shard

std::vector<Form> Forms() {
  std::vector<Form> forms;
  const auto add = [&](std::string name, Shape sample, std::vector<std::string> sums, auto build,
                       std::vector<std::string> frozen = {}) {
    forms.push_back({std::move(name), sample, build, std::move(sums), std::move(frozen)});
  };

  // ---- One reader.
  add("ALinear", kRow, {"c for n"}, [](Graph& g, Value x) -> Status {
    APPLY(v, "v", kLinear, x);
    APPLY(n, "n", BatchNorm(), v);
    APPLY(c, "c", kLinear, n);
    return Finish(g, c);
  });
  add("ALinearBehindARelu", kRows, {"c for n"}, [](Graph& g, Value x) -> Status {
    APPLY(v, "v", kLinear, x);
    APPLY(n, "n", BatchNorm(), v);
    APPLY(r, "r", Relu(), n);
    APPLY(c, "c", kLinear, r);
    return Finish(g, c);
  });
  add("ALinearOfManyColumns", {50, 7}, {"c for n"}, [](Graph& g, Value x) -> Status {
    APPLY(v, "v", Linear(150), x);
    APPLY(n, "n", BatchNorm(), v);
    APPLY(c, "c", Linear(3), n);
    return Finish(g, c);
  });
  add("AConvolution", kPicture, {"c for n"}, [](Graph& g, Value x) -> Status {
    APPLY(v, "v", kConv, x);
    APPLY(n, "n", BatchNorm(), v);
    APPLY(r, "r", Relu(), n);
    APPLY(c, "c", kConv, r);
    return Finish(g, c);
  });
  add("AConvolutionByWinograd", {9, 8, 5}, {"c for n"}, [](Graph& g, Value x) -> Status {
    APPLY(v, "v", Conv2d(32, {.kernel = 1}), x);
    APPLY(n, "n", BatchNorm(), v);
    APPLY(r, "r", Relu(), n);
    APPLY(c, "c", Conv2d(32, {.padding = 1}), r);
    return Finish(g, c);
  });
  add("AConvolutionOfStride2", kPicture, {"c for n"}, [](Graph& g, Value x) -> Status {
    APPLY(v, "v", kConv, x);
    APPLY(n, "n", BatchNorm(), v);
    APPLY(c, "c", Conv2d(7, {.kernel = 1, .stride = 2}), n);
    return Finish(g, c);
  });
  add("ADepthwiseConvolution", kPicture, {"c for n"}, [](Graph& g, Value x) -> Status {
    APPLY(v, "v", kConv, x);
    APPLY(n, "n", BatchNorm(), v);
    APPLY(c, "c", Conv2d(20, {.padding = 1, .groups = 20}), n);
    return Finish(g, c);
  });
  add("ATransposedConvolution", kPicture, {"c for n"}, [](Graph& g, Value x) -> Status {
    APPLY(v, "v", kConv, x);
    APPLY(n, "n", BatchNorm(), v);
    APPLY(c, "c", ConvTranspose2d(6, {.kernel = 2, .stride = 2}), n);
    return Finish(g, c);
  });
  add("AFrozenLinear", kRow, {"c for n"},
      [](Graph& g, Value x) -> Status {
        APPLY(v, "v", kLinear, x);
        APPLY(n, "n", BatchNorm(), v);
        APPLY(c, "c", kLinear, n);
        return Finish(g, c);
      },
      {"c.*"});
  add("NormsInARow", kPicture, {"c for n", "d for m"}, [](Graph& g, Value x) -> Status {
    APPLY(n, "n", BatchNorm(), x);
    APPLY(c, "c", kConv, n);
    APPLY(m, "m", BatchNorm(), c);
    APPLY(r, "r", Relu(), m);
    APPLY(d, "d", kConv, r);
    return Finish(g, d);
  });

  // ---- Several: the first, whose Backward is the last.
  add("TheFirstOfTwoLinears", kRow, {"c for n"}, [](Graph& g, Value x) -> Status {
    APPLY(v, "v", kLinear, x);
    APPLY(n, "n", BatchNorm(), v);
    APPLY(c, "c", kLinear, n);
    APPLY(d, "d", kLinear, n);
    ADD(y, Multiply(), c, d);
    return Finish(g, y);
  });
  add("AResidualBlock", kPicture, {"c for n", "d for m"}, [](Graph& g, Value x) -> Status {
    APPLY(v, "v", kConv, x);
    APPLY(n, "n", BatchNorm(), v);
    APPLY(r, "r", Relu(), n);
    APPLY(c, "c", kConv, r);
    APPLY(m, "m", BatchNorm(), c);
    APPLY(s, "s", Relu(), m);
    APPLY(d, "d", kConv, s);
    APPLY(o, "o", BatchNorm(), d);
    ADD(y, Sum(), o, r);
    return Finish(g, y);
  });
  add("AResidualBlockWhoseSumANormAdds", kPicture, {"c for n", "e for o"},
      [](Graph& g, Value x) -> Status {
        APPLY(v, "v", kConv, x);
        APPLY(n, "n", BatchNorm(), v);
        APPLY(c, "c", kConv, n);
        APPLY(o, "o", BatchNorm(), c);
        ADD(sum, Sum(), o, n);
        APPLY(r, "r", Relu(), sum);
        APPLY(e, "e", kConv, r);
        ADD(y, Multiply(), r, e);
        return Finish(g, y);
      });
  add("ALinearBeforeOneThatCannotAdd", kRow, {"c for n"}, [](Graph& g, Value x) -> Status {
    APPLY(v, "v", kLinear, x);
    APPLY(n, "n", BatchNorm(), v);
    APPLY(c, "c", kLinear, n);
    APPLY(h, "h", Tanh(), n);
    ADD(square, Multiply(), n, n);
    ADD(y, Concatenate(), c, h, square, n);
    return Finish(g, y);
  });
  add("ALinearBeforeALoss", kRow, {"c for n"}, [](Graph& g, Value x) -> Status {
    APPLY(v, "v", kLinear, x);
    APPLY(n, "n", BatchNorm(), v);
    APPLY(c, "c", kLinear, n);
    LOCKSTEP_TRY(Finish(g, c));
    LOCKSTEP_TRY(g.AddOutput("n", n));
    return AddLoss(g, "s", MseLoss(), n, /*factor=*/0.5);
  });
  add("ALinearBeforeAView", kRows, {"c for n"}, [](Graph& g, Value x) -> Status {
    APPLY(v, "v", kLinear, x);
    APPLY(n, "n", BatchNorm(), v);
    APPLY(c, "c", kLinear, n);
    APPLY(flat, "flat", Flatten(), n);
    APPLY(d, "d", Linear(6), flat);
    LOCKSTEP_TRY(Finish(g, c));
    LOCKSTEP_TRY(g.AddOutput("d", d));
    return AddLoss(g, "s", MseLoss(), d, /*factor=*/0.5);
  });
  add("TheFirstThatALossDependsOn", kRow, {"d for n"}, [](Graph& g, Value x) -> Status {
    APPLY(v, "v", kLinear, x);
    APPLY(n, "n", BatchNorm(), v);
    APPLY(dead, "dead", kLinear, n);
    LOCKSTEP_TRY(g.AddOutput("dead", dead));
    APPLY(h, "h", Tanh(), n);
    LOCKSTEP_TRY(g.AddOutput("h", h));
    APPLY(d, "d", kLinear, n);
    return Finish(g, d);
  });

  // ---- Curves of products.
  add("ALinearBehindAGelu", kRows, {"c for v"}, [](Graph& g, Value x) -> Status {
    APPLY(v, "v", kLinear, x);
    APPLY(a, "a", Gelu(), v);
    APPLY(c, "c", Linear(3), a);
    return Finish(g, c);
  });
  add("TheFirstOfTwoLinearsBehindASilu", kRow, {"c for v"}, [](Graph& g, Value x) -> Status {
    APPLY(v, "v", Linear(150), x);
    APPLY(a, "a", Silu(), v);
    APPLY(c, "c", Linear(3), a);
    APPLY(d, "d", Linear(3), a);
    ADD(y, Multiply(), c, d);
    LOCKSTEP_TRY(g.AddOutput("a", a));
    return Finish(g, y);
  });
  add("AFeedForwardThatIsAddedTo", kRows, {"c for v"}, [](Graph& g, Value x) -> Status {
    APPLY(n, "n", LayerNorm(), x);
    APPLY(v, "v", Linear(70), n);
    APPLY(a, "a", Gelu(GeluApproximation::kTanh), v);
    APPLY(c, "c", kLinear, a);
    ADD(y, Sum(), x, c);
    return Finish(g, y);
  });
  add("AGeluOfASum", kRow, {"c for w"}, [](Graph& g, Value x) -> Status {
    APPLY(v, "v", kLinear, x);
    APPLY(w, "w", kLinear, v);
    ADD(sum, Sum(), v, w);
    APPLY(a, "a", Gelu(), sum);
    APPLY(c, "c", kLinear, a);
    return Finish(g, c);
  });
  add("ANormBetweenCurves", kRow, {"c for n"}, [](Graph& g, Value x) -> Status {
    APPLY(v, "v", kLinear, x);
    APPLY(a, "a", Gelu(), v);
    APPLY(n, "n", BatchNorm(), a);
    APPLY(c, "c", kLinear, n);
    APPLY(y, "y", Silu(), c);
    return Finish(g, y);
  });
  add("NotALinearThatAddsTheCurveThatItReads", kRow, {}, [](Graph& g, Value x) -> Status {
    APPLY(v, "v", kLinear, x);
    APPLY(a, "a", Gelu(), v);
    APPLY(c, "c", kLinear, a);
    ADD(y, Sum(), c, a);
    return Finish(g, y);
  });
  add("NotForACurveOfAValueThatOthersRead", kRow, {}, [](Graph& g, Value x) -> Status {
    APPLY(v, "v", kLinear, x);
    APPLY(a, "a", Gelu(), v);
    APPLY(c, "c", kLinear, a);
    ADD(y, Multiply(), c, v);
    return Finish(g, y);
  });

  // ---- Where it must not be.
  add("NotALossBeforeTheLinear", kRow, {}, [](Graph& g, Value x) -> Status {
    APPLY(v, "v", kLinear, x);
    APPLY(n, "n", BatchNorm(), v);
    LOCKSTEP_TRY(g.AddOutput("n", n));
    LOCKSTEP_TRY(AddLoss(g, "s", MseLoss(), n, /*factor=*/0.5));
    APPLY(c, "c", kLinear, n);
    return Finish(g, c);
  });
  add("NotAProductOfItselfBeforeTheLinear", kRow, {}, [](Graph& g, Value x) -> Status {
    APPLY(v, "v", kLinear, x);
    APPLY(n, "n", BatchNorm(), v);
    ADD(square, Multiply(), n, n);
    APPLY(c, "c", kLinear, n);
    ADD(y, Sum(), square, c);
    return Finish(g, y);
  });
  add("NotAPoolBeforeTheConvolution", kPicture, {}, [](Graph& g, Value x) -> Status {
    APPLY(v, "v", kConv, x);
    APPLY(n, "n", BatchNorm(), v);
    APPLY(p, "p", MaxPool2d(3, {.stride = 1, .padding = 1}), n);
    APPLY(c, "c", kConv, n);
    ADD(y, Sum(), p, c);
    return Finish(g, y);
  });
  add("NotAViewBeforeTheLinear", kRows, {}, [](Graph& g, Value x) -> Status {
    APPLY(v, "v", kLinear, x);
    APPLY(n, "n", BatchNorm(), v);
    APPLY(flat, "flat", Flatten(), n);
    APPLY(c, "c", Linear(6), flat);
    return Finish(g, c);
  });
  add("NotALinearThatAddsWhatItReads", kRow, {}, [](Graph& g, Value x) -> Status {
    APPLY(v, "v", kLinear, x);
    APPLY(n, "n", BatchNorm(), v);
    APPLY(c, "c", kLinear, n);
    ADD(y, Sum(), c, n);
    return Finish(g, y);
  });
  add("NotALinearThatOnlyAddsIt", kRow, {}, [](Graph& g, Value x) -> Status {
    APPLY(u, "u", kLinear, x);
    APPLY(v, "v", kLinear, x);
    APPLY(n, "n", BatchNorm(), v);
    APPLY(c, "c", kLinear, u);
    ADD(sum, Sum(), c, n);
    APPLY(d, "d", kLinear, n);
    ADD(y, Multiply(), sum, d);
    return Finish(g, y);
  });
  add("NotAConvolutionOfSignals", kRows, {}, [](Graph& g, Value x) -> Status {
    APPLY(v, "v", kLinear, x);
    APPLY(n, "n", BatchNorm(), v);
    APPLY(c, "c", Conv1d(9, {.padding = 1}), n);
    return Finish(g, c);
  });
  add("NotForANormThatIsFrozen", kRow, {},
      [](Graph& g, Value x) -> Status {
        APPLY(v, "v", kLinear, x);
        APPLY(n, "n", BatchNorm(), v);
        APPLY(c, "c", kLinear, n);
        return Finish(g, c);
      },
      {"n.*"});
  add("NotForANormThatNoLossDependsOn", kRow, {}, [](Graph& g, Value x) -> Status {
    APPLY(v, "v", kLinear, x);
    APPLY(n, "n", BatchNorm(), v);
    APPLY(dead, "dead", kLinear, n);
    LOCKSTEP_TRY(g.AddOutput("dead", dead));
    APPLY(c, "c", kLinear, v);
    return Finish(g, c);
  });
  return forms;
}

#undef APPLY
#undef ADD

struct Job {
  int64_t samples = kBatch;  // of the global batch
  Fusion fusion = Fusion::kAll;
  int threads = 1;
  int64_t parts = 1;
  bool share_memory = true;
};

struct Outcome {
  Status status;
  std::vector<double> losses;
  std::vector<float> gradients;  // of the last step
  uint64_t hash = 0;             // of parameters and statistics
  bool operator==(const Outcome& other) const {
    return status.ok() && other.status.ok() && losses == other.losses &&
           gradients == other.gradients && hash == other.hash;
  }
};

// Two steps on memory full of NaN.
Outcome RunOf(const Form& form, const Job& job, Communicator* communicator = nullptr) {
  const int rank = communicator == nullptr ? 0 : communicator->rank();
  const int ranks = communicator == nullptr ? 1 : communicator->size();
  Outcome outcome;
  Context ctx({.threads = job.threads});
  Result<Network> net = Network::Bind(ctx, FormModel(form), kBatch / (ranks * job.parts),
                                      {.seed = 5,
                                       .shards = kShards,
                                       .communicator = communicator,
                                       .frozen = form.frozen,
                                       .share_memory = job.share_memory,
                                       .fusion = job.fusion});
  outcome.status = net.status();
  if (!net.ok()) return outcome;
  const auto step = TrainingStep::Make(*net, {.parts = job.parts});
  outcome.status = step.status();
  if (!step.ok()) return outcome;
  const BatchCut cut = BatchCut::OfRank(job.samples, kShards, rank, ranks);
  Sgd optimizer({.lr = 0.05});
  const Graph& graph = net->training_program().graph();
  for (uint64_t index = 0; index < 2; ++index) {
    std::vector<std::vector<float>> data;
    std::vector<ConstTensor> inputs;
    for (const Graph::Input& input : graph.inputs()) {
      const Shape shape = graph.shape(input.value).WithBatch(cut.samples());
      const int64_t each = graph.shape(input.value).WithBatch(1).size();
      Random random(/*seed=*/index + 1, StreamOf(input.name));
      data.emplace_back(static_cast<size_t>(kBatch * each));
      for (float& v : data.back()) v = static_cast<float>(random.Normal());
      inputs.emplace_back(data.back().data() + cut.first_sample() * each, shape);
    }
    std::fill(net->step_memory().begin(), net->step_memory().end(), std::byte{0xFF});
    const Result<TrainingStepReport> report =
        (*step)->Run({.inputs = inputs, .samples = cut.samples(), .global_samples = job.samples},
                     index, optimizer, 0.05);
    outcome.status = report.status();
    if (!report.ok()) return outcome;
    outcome.losses.push_back(report->loss.sum / report->loss.weight);
  }
  // Of several ranks, each has the sums of its own ranges.
  const std::span<const float> gradients = net->parameters().gradients;
  outcome.gradients.resize(gradients.size());
  for (const IndexRange& range : optimizer.held()) {
    for (const ParameterInfo& info : net->parameters().infos) {
      if (info.frozen) continue;
      const int64_t end = std::min(range.end, info.offset + info.shape.size());
      for (int64_t i = std::max(range.begin, info.offset); i < end; ++i)
        outcome.gradients[static_cast<size_t>(i)] = gradients[static_cast<size_t>(i)];
    }
  }
  outcome.hash = ModelHash(*net);
  return outcome;
}

class GradientSumsTest : public ::testing::TestWithParam<Form> {};

TEST_P(GradientSumsTest, AreTakenByWhoFinishesTheGradientAndByNobodyElse) {
  const Form& form = GetParam();
  Context ctx({.threads = 1});
  for (const Fusion fusion : {Fusion::kNone, Fusion::kAll}) {
    const Result<Network> net = Network::Bind(
        ctx, FormModel(form), kBatch, {.shards = 1, .frozen = form.frozen, .fusion = fusion});
    ASSERT_TRUE(net.ok()) << net.status().message();
    std::vector<std::string> sums;
    for (const std::string& line : net->training_program().fusions()) {
      const std::string verb = " its gradient for ";  // "sums", and "bends" for curves
      const size_t at = line.find(verb);
      if (at == std::string::npos) continue;
      // Names without the kinds of layers behind them.
      const std::string norm = line.substr(at + verb.size());
      sums.push_back(line.substr(0, line.find(' ')) + " for " + norm.substr(0, norm.find(' ')));
    }
    EXPECT_THAT(sums,
                ElementsAreArray(fusion == Fusion::kAll ? form.sums : std::vector<std::string>()));
    for (const std::string& line : net->evaluation_program().fusions())
      EXPECT_EQ(line.find("sums"), std::string::npos) << line;
  }
}

TEST_P(GradientSumsTest, ChangeNoBit) {
  const Form& form = GetParam();
  for (const int64_t parts : {1, 2}) {
    // A batch that is not full, and where nothing normalises a single value, one of fewer samples
    // than shards.
    for (const int64_t samples : {kBatch, int64_t{11}, parts == 1 ? int64_t{3} : int64_t{5}}) {
      const Outcome plain =
          RunOf(form, {.samples = samples, .fusion = Fusion::kNone, .parts = parts});
      ASSERT_TRUE(plain.status.ok()) << plain.status.message();
      for (const int threads : {1, 2, 3, 8}) {
        const bool share = threads != 2;
        const Outcome fused = RunOf(
            form, {.samples = samples, .threads = threads, .parts = parts, .share_memory = share});
        ASSERT_TRUE(fused.status.ok()) << fused.status.message();
        EXPECT_TRUE(fused == plain) << samples << " samples, " << parts << " parts, " << threads
                                    << " threads, memory shared " << share;
      }
    }
  }
}

TEST_P(GradientSumsTest, ChangeNoBitOnSeveralRanks) {
  const Form& form = GetParam();
  for (const int64_t samples : {kBatch, int64_t{3}}) {  // on four ranks, one without any
    const Outcome plain = RunOf(form, {.samples = samples, .fusion = Fusion::kNone});
    ASSERT_TRUE(plain.status.ok()) << plain.status.message();
    for (const int ranks : {2, 4}) {
      std::vector<Outcome> outcomes(static_cast<size_t>(ranks));
      ThreadRanks::Run(ranks, [&](Communicator& communicator) {
        outcomes[static_cast<size_t>(communicator.rank())] =
            RunOf(form, {.samples = samples, .threads = 2}, &communicator);
      });
      std::vector<float> gradients(plain.gradients.size());
      for (const Outcome& outcome : outcomes) {
        ASSERT_TRUE(outcome.status.ok()) << outcome.status.message();
        for (size_t i = 0; i < gradients.size(); ++i) gradients[i] += outcome.gradients[i];
      }
      for (Outcome& outcome : outcomes) {
        outcome.gradients = gradients;
        EXPECT_TRUE(outcome == plain) << samples << " samples, " << ranks << " ranks";
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Forms, GradientSumsTest, ::testing::ValuesIn(Forms()),
                         [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace lockstep
