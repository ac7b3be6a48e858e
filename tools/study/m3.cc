// M3: batch norm does not suit recurrent nets, layer norm does. What the layers refuse is put
// together here by hand: batch norm at every step of an LSTM, after Cooijmans and others,
// "Recurrent batch normalization", 2017, with statistics and parameters shared by all steps, as a
// net must have them that is to read longer sequences than it was trained on. Layer norm: Ba,
// Kiros, Hinton, "Layer normalization", 2016.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <memory>

#include "engine/base/random.h"
#include "engine/optim/adam.h"
#include "layers/activation.h"
#include "layers/arithmetic.h"
#include "layers/linear.h"
#include "layers/loss/mse.h"
#include "layers/norm/batch_norm.h"
#include "layers/recurrent/last_step.h"
#include "layers/recurrent/lstm.h"
#include "tools/study/study.h"

namespace lockstep::inline v0_1::tools {
namespace {

constexpr int64_t kUnits = 24;
constexpr int64_t kTrained = 20;                     // steps in training
const std::vector<int64_t> kLengths = {20, 24, 30};  // afterwards
constexpr int64_t kStepsPerEpoch = 100;              // of training
constexpr int64_t kTestSamples = 512;
constexpr int64_t kProbes = 8;           // samples, and batches, for noise
constexpr double kVariance = 1.0 / 3.0;  // of what is to be recalled

enum class Arm { kNone, kLayer, kBatch };
const std::vector<std::pair<std::string, Arm>> kArms = {
    {"no norm", Arm::kNone}, {"layer norm", Arm::kLayer}, {"batch norm", Arm::kBatch}};

// ---- The net with batch norm, step by step

// Numbers [begin, begin + count) of each sample of x, as (B, count): columns, or a step.
class Part final : public Operation {
 public:
  Part(int64_t begin, int64_t count) : begin_(begin), count_(count) {}
  Result<Declaration> Declare(std::span<const TensorSpec> x, const Fused&,
                              const PlanOptions&) const override {
    return Declaration{
        .outputs = {{Shape{x[0].shape.batch(), count_}, DType::kF32, /*batched=*/true}}};
  }
  void Forward(const Step&, const Operands& o) override {
    const int64_t columns = o.x(0).shape().sample_size();
    for (int64_t i = 0; i < o.y().shape().batch(); ++i) {
      const float* from = o.x_f32(0) + i * columns + begin_;
      std::copy(from, from + count_, o.y_f32() + i * count_);
    }
  }
  void Backward(const Step&, const Operands& o) override {
    const int64_t columns = o.dx(0).shape().sample_size();
    std::fill(o.dx_f32(0), o.dx_f32(0) + o.dx(0).size(), 0.0f);
    for (int64_t i = 0; i < o.dy().shape().batch(); ++i) {
      const float* from = o.dy_f32() + i * count_;
      std::copy(from, from + count_, o.dx_f32(0) + i * columns + begin_);
    }
  }

 private:
  int64_t begin_, count_;
};

// h behind the last step of x (B, T, 2).
class BatchNormLstm final : public Layer {
 public:
  std::string kind() const override { return "BatchNormLstm"; }
  Result<Value> Build(Graph& graph, Value x) const override {
    const Init init = Init::Uniform(static_cast<float>(1.0 / std::sqrt(double{kUnits})));
    LOCKSTEP_TRY_ASSIGN(const Value w_ih,
                        graph.AddParameter("weight_ih", {4 * kUnits, 2}, init, Decay::kYes));
    LOCKSTEP_TRY_ASSIGN(const Value w_hh,
                        graph.AddParameter("weight_hh", {4 * kUnits, kUnits}, init, Decay::kYes));
    Value h, c;
    for (int64_t t = 0; t < graph.shape(x)[1]; ++t) {
      LOCKSTEP_TRY_ASSIGN(const Value now, graph.Add(Part(2 * t, 2), {x}));
      LOCKSTEP_TRY_ASSIGN(Value sum, AddProduct(graph, now, w_ih));
      LOCKSTEP_TRY_ASSIGN(sum, Apply(graph, "norm_ih", input_norm_, sum));
      if (h.valid()) {
        LOCKSTEP_TRY_ASSIGN(Value hidden, AddProduct(graph, h, w_hh));
        LOCKSTEP_TRY_ASSIGN(hidden, Apply(graph, "norm_hh", hidden_norm_, hidden));
        LOCKSTEP_TRY_ASSIGN(sum, graph.Add(Sum(), {sum, hidden}));
      }
      const auto gate = [&](int64_t which, const Layer& activation) -> Result<Value> {
        LOCKSTEP_TRY_ASSIGN(const Value part, graph.Add(Part(which * kUnits, kUnits), {sum}));
        return activation.Build(graph, part);
      };
      LOCKSTEP_TRY_ASSIGN(const Value in, gate(0, Sigmoid()));
      LOCKSTEP_TRY_ASSIGN(const Value forget, gate(1, Sigmoid()));
      LOCKSTEP_TRY_ASSIGN(const Value value, gate(2, Tanh()));
      LOCKSTEP_TRY_ASSIGN(const Value out, gate(3, Sigmoid()));
      LOCKSTEP_TRY_ASSIGN(Value next, graph.Add(Multiply(), {in, value}));
      if (c.valid()) {
        LOCKSTEP_TRY_ASSIGN(const Value kept, graph.Add(Multiply(), {forget, c}));
        LOCKSTEP_TRY_ASSIGN(next, graph.Add(Sum(), {kept, next}));
      }
      c = next;
      LOCKSTEP_TRY_ASSIGN(Value seen, Apply(graph, "norm_cell", cell_norm_, c));
      LOCKSTEP_TRY_ASSIGN(seen, Tanh().Build(graph, seen));
      LOCKSTEP_TRY_ASSIGN(h, graph.Add(Multiply(), {out, seen}));
    }
    return h;
  }

 private:
  // Gates begin at small values, as Cooijmans and others found is needed.
  BatchNorm input_norm_{{.gamma = 0.1f}}, hidden_norm_{{.gamma = 0.1f}};
  BatchNorm cell_norm_{{.gamma = 0.1f}};
};

class RecallNet final : public Model {
 public:
  RecallNet(Arm arm, int64_t steps) : arm_(arm), steps_(steps) {}
  Status Build(Graph& graph) const override {
    LOCKSTEP_TRY_ASSIGN(Value x, graph.AddInput("x", {graph.batch(), steps_, 2}));
    if (arm_ == Arm::kBatch) {
      LOCKSTEP_TRY_ASSIGN(x, Apply(graph, "rnn", BatchNormLstm(), x));
    } else {
      const auto norm =
          arm_ == Arm::kLayer ? RecurrentOptions::Norm::kLayer : RecurrentOptions::Norm::kNone;
      LOCKSTEP_TRY_ASSIGN(x, Apply(graph, "rnn", Lstm(kUnits, {.norm = norm}), x));
      LOCKSTEP_TRY_ASSIGN(x, Apply(graph, "last", LastStep(), x));
    }
    LOCKSTEP_TRY_ASSIGN(const Value y, Apply(graph, "head", Linear(1), x));
    LOCKSTEP_TRY(graph.AddOutput("y", y));
    return AddLoss(graph, "target", MseLoss(), y);
  }

 private:
  Arm arm_;
  int64_t steps_;
};

// ---- The task

// Numbers and marks. One number of the first half is marked, which is to be recalled behind the
// last step. (No zeros stand in front of shorter ones: a layer norm of nothing but zeros has a
// slope of 1 / sqrt(eps), and over ten such steps gradients overflow.)
struct Sequences {
  Sequences(int64_t count, int64_t steps, uint64_t seed, uint64_t draw)
      : count(count),
        steps(steps),
        x(static_cast<size_t>(count * steps * 2)),
        target(static_cast<size_t>(count)) {
    Random random(seed, StreamOf("m3") + draw);
    for (int64_t i = 0; i < count; ++i) {
      const auto marked = static_cast<int64_t>(random.Below(static_cast<uint64_t>(steps / 2)));
      for (int64_t t = 0; t < steps; ++t) {
        float* place = x.data() + (i * steps + t) * 2;
        place[0] = static_cast<float>(2.0 * random.Uniform() - 1.0);
        if (t != marked) continue;
        place[1] = 1.0f;
        target[static_cast<size_t>(i)] = place[0];
      }
    }
  }
  ConstTensor inputs() const { return {x.data(), {count, steps, 2}}; }
  ConstTensor targets() const { return {target.data(), {count, 1}}; }

  int64_t count, steps;
  std::vector<float> x, target;
};

// ---- Trials

struct Trial {
  std::vector<double> evaluated, in_training;  // unexplained share of the variance, by length
  double noise = 0.0;
};

Result<Network> Bound(Context& ctx, Arm arm, int64_t steps, uint64_t seed, int64_t samples) {
  return Network::Bind(ctx, RecallNet(arm, steps), samples, {.seed = seed});
}

// A net for longer sequences with what `from` has learned.
Result<Network> Longer(Context& ctx, Arm arm, int64_t steps, const Network& from) {
  LOCKSTEP_TRY_ASSIGN(Network net, Bound(ctx, arm, steps, 0, kTestSamples));
  ParameterWriter writer = net.Write();
  std::copy(from.parameters().values.begin(), from.parameters().values.end(),
            writer->values.begin());
  for (size_t i = 0; i < from.states().size(); ++i) {
    const ConstTensor state = from.state(i);
    std::memcpy(writer.state(i).data(), state.data(), static_cast<size_t>(state.bytes()));
  }
  return net;
}

double ShareOf(const LossSum& loss) { return loss.sum / loss.weight / kVariance; }

// As NoiseOfOutputs: how much the answer for a sequence varies with those beside it.
Result<double> Noise(Network& net, int64_t batch, uint64_t seed) {
  const Sequences probes(kProbes, kTrained, seed, 5000);
  double within = 0.0;
  std::vector<double> means;
  for (int64_t p = 0; p < kProbes; ++p) {
    std::vector<double> answers;
    for (int64_t draw = 0; draw < kProbes; ++draw) {
      Sequences beside(batch, kTrained, seed, static_cast<uint64_t>(6000 + p * kProbes + draw));
      std::copy_n(probes.x.begin() + p * kTrained * 2, kTrained * 2, beside.x.begin());
      LOCKSTEP_TRY(net.EvaluateInTrainingMode(beside.inputs(), beside.targets()).status());
      answers.push_back(net.output().f32()[0]);
    }
    const Spread spread = SpreadOf(answers);
    within += spread.sd * spread.sd / kProbes;
    means.push_back(spread.mean);
  }
  return std::sqrt(within) / std::max(SpreadOf(means).sd, 1e-30);
}

Status Run(const Recipe& recipe, Arm arm, uint64_t seed, Trial& trial) {
  Context ctx({.threads = 1});
  const int64_t batch = std::min(recipe.train.batch, kTestSamples);
  LOCKSTEP_TRY_ASSIGN(Network net, Bound(ctx, arm, kTrained, seed, batch));
  Adam adam({.lr = recipe.optimizer.learning_rate});
  for (int64_t step = 0; step < recipe.train.epochs * kStepsPerEpoch; ++step) {
    const Sequences samples(batch, kTrained, seed, static_cast<uint64_t>(100000 + step));
    LOCKSTEP_TRY(net.TrainStep(samples.inputs(), samples.targets(), adam).status());
  }
  for (const int64_t length : kLengths) {
    LOCKSTEP_TRY_ASSIGN(Network longer, Longer(ctx, arm, length, net));
    const Sequences samples(kTestSamples, length, seed, static_cast<uint64_t>(length));
    LOCKSTEP_TRY_ASSIGN(const LossSum evaluated,
                        longer.Evaluate(samples.inputs(), samples.targets()));
    LOCKSTEP_TRY_ASSIGN(const LossSum in_training,
                        longer.EvaluateInTrainingMode(samples.inputs(), samples.targets()));
    trial.evaluated.push_back(ShareOf(evaluated));
    trial.in_training.push_back(ShareOf(in_training));
  }
  LOCKSTEP_TRY_ASSIGN(trial.noise, Noise(net, batch, seed));
  return Status::Ok();
}

// trials[arm][seed], side by side, each on one thread.
Result<std::vector<std::vector<Trial>>> RunAll(const Lab& lab) {
  const auto seeds = static_cast<size_t>(lab.seeds());
  std::vector<std::vector<Trial>> trials(kArms.size(), std::vector<Trial>(seeds));
  std::vector<Status> status(kArms.size() * seeds);
  {
    Context ctx({.threads = static_cast<int>(lab.recipe().train.threads)});
    ctx.For(static_cast<int64_t>(status.size()), std::numeric_limits<int64_t>::max(),
            [&](int64_t i) {
              // The longest first: batch norm, made of many small operations.
              const size_t arm = kArms.size() - 1 - static_cast<size_t>(i) / seeds;
              const size_t seed = static_cast<size_t>(i) % seeds;
              status[static_cast<size_t>(i)] =
                  Run(lab.recipe(), kArms[arm].second,
                      static_cast<uint64_t>(lab.recipe().train.seed) + seed, trials[arm][seed]);
            });
  }
  for (const Status& one : status) LOCKSTEP_TRY(one);
  return trials;
}

Status Run(Lab& lab, Findings& findings) {
  LOCKSTEP_TRY_ASSIGN(const auto trials, RunAll(lab));
  const std::string share = "unexplained share, evaluation mode",
                    training = "unexplained share, batch statistics", noise = "noise of outputs";
  for (size_t arm = 0; arm < kArms.size(); ++arm) {
    const auto add = [&](const std::string& metric, double x, const auto& of) {
      std::vector<double> values;
      for (const Trial& trial : trials[arm]) values.push_back(of(trial));
      findings.Add(metric, kArms[arm].first, x, std::move(values));
    };
    for (size_t i = 0; i < kLengths.size(); ++i) {
      const auto length = static_cast<double>(kLengths[i]);
      add(share, length, [&](const Trial& t) { return t.evaluated[i]; });
      if (kArms[arm].second == Arm::kBatch)
        add(training, length, [&](const Trial& t) { return t.in_training[i]; });
    }
    add(noise, double{kTrained}, [&](const Trial& t) { return t.noise; });
  }
  findings.Plot(share, {.title = "A number recalled behind sequences longer than in training",
                        .x_label = "steps of a sequence",
                        .y_label = "unexplained share of the variance",
                        .log_x = true,
                        .log_y = true});

  const std::string none = kArms[0].first, layer = kArms[1].first, batch = kArms[2].first;
  const auto of = [&](const std::string& metric, const std::string& arm,
                      int64_t length) -> const std::vector<double>& {
    return findings.Values(metric, arm, static_cast<double>(length));
  };
  const auto worse = [&](int64_t length) {
    return ClearlyPositive(Difference(of(share, batch, length), of(share, layer, length)));
  };
  const auto both = [&](int64_t length) {
    return Number(of(share, batch, length)) + " of the variance unexplained against " +
           Number(of(share, layer, length));
  };
  const int64_t longest = kLengths.back();
  findings.Expect(
      SpreadOf(of(share, layer, kTrained)).high < 0.2, "with layer norm the net learns to recall",
      Number(of(share, layer, kTrained)) + " of the variance unexplained, with no norm " +
          Number(of(share, none, kTrained)));
  findings.Expect(worse(kTrained),
                  "at the length of training batch norm recalls worse than layer norm",
                  both(kTrained));
  findings.Expect(worse(longest), fmt::format("and at {} steps", longest), both(longest));
  findings.Expect(
      ClearlyPositive(Difference(of(share, batch, kTrained), of(training, batch, kTrained))),
      "running statistics that all steps share fit batch norm's steps worse than those of the "
      "batch do",
      Number(of(share, batch, kTrained)) + " against " + Number(of(training, batch, kTrained)));
  findings.Expect(
      SpreadOf(of(noise, layer, kTrained)).high < 1e-6 &&
          SpreadOf(of(noise, batch, kTrained)).low > 1e-3,
      "with layer norm an answer does not depend on the sequences beside it, with batch "
      "norm in training it does",
      "it changes by at most " + Number(SpreadOf(of(noise, layer, kTrained)).high) +
          " of the deviation of answers, and by " + Number(of(noise, batch, kTrained)));
  findings.Remark(fmt::format("Unexplained at {} steps, with the statistics of batches of {}: {}.",
                              longest, kTestSamples, Number(of(training, batch, longest))));
  return Status::Ok();
}

}  // namespace

Study StudyM3() {
  return {
      .name = "m3",
      .claim =
          "Batch norm does not suit recurrent nets, whose steps are not alike; layer norm "
          "does",
      .method = fmt::format(
          "LSTMs of {} units read {} steps of numbers, one of which, in the first half, is "
          "marked, and recall it at the end: with no norm, with layer norm in the recurrence, "
          "and with batch norm at the same places, step by step, its statistics shared by all "
          "steps. Trained by Adam (train.epochs times {} steps). Then they read sequences up to "
          "half as long again, batch norm by its running statistics and by those of the batch.",
          kUnits, kTrained, kStepsPerEpoch),
      .x_label = "steps of a sequence",
      .fixed = {"data.size=640", "optimizer.learning_rate=0.01", "train.epochs=8",
                "train.batch=64"},
      .varied = {"model.norm"},
      .run = Run};
}

}  // namespace lockstep::tools
