// L4: the bias of a convolution in front of a batch norm has no effect, and is reported.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "engine/optim/adam.h"
#include "layers/flatten.h"
#include "layers/linear.h"
#include "layers/loss/cross_entropy.h"
#include "layers/picture/adaptive_pool.h"
#include "layers/picture/pool.h"
#include "models/conv_net.h"
#include "tools/study/study.h"

namespace lockstep::inline v0_1::tools {
namespace {

constexpr double kShifts[] = {0.01, 0.1, 1.0, 10.0};
constexpr int64_t kBatch = 64;

struct Arm {
  std::string name;
  ConvBlockOptions block;
};

Result<Network> Made(Context& ctx, const Lab& lab, const ConvBlockOptions& block, int64_t seed) {
  const DatasetInfo& info = lab.data().train.dataset->info();
  if (info.x_shape.rank() != 3 || std::min(info.x_shape[0], info.x_shape[1]) < 4)
    return Status::Invalid("this study needs pictures of 4 pixels a side and more");
  return Network::Bind(ctx,
                       Sequential(ConvBlock(8, block), MaxPool2d(2), ConvBlock(16, block),
                                  AdaptiveAvgPool2d(1), Flatten(), Linear(lab.classes())),
                       CrossEntropyLoss(),
                       {.input = lab.data().train.dataset->XShape(kBatch),
                        .seed = static_cast<uint64_t>(lab.recipe().train.seed + seed)});
}

double Norm(std::span<const float> values) {
  double squares = 0.0;
  for (const float v : values) squares += double{v} * double{v};
  return std::sqrt(squares);
}

// The bias and the weight of the first convolution.
struct Convolution {
  Tensor bias, weight, bias_gradient, weight_gradient;
};
Convolution FirstOf(const Network& net) {
  Convolution found;
  const ParameterSet parameters = net.store().ParametersToWrite();
  for (size_t i = 0; i < parameters.infos.size(); ++i) {
    const bool bias = parameters.infos[i].name == "0.0.bias";
    if (!bias && parameters.infos[i].name != "0.0.weight") continue;
    (bias ? found.bias : found.weight) = parameters.value(i);
    (bias ? found.bias_gradient : found.weight_gradient) = parameters.gradient(i);
  }
  return found;
}

struct Measured {
  double remarks = 0.0;         // of the report, on biases of convolutions
  double gradient = 0.0;        // of the bias, as a share of that of the weights
  std::vector<double> changes;  // of the outputs, by shift of all the bias
};

Result<Measured> Measure(Context& ctx, const Lab& lab, const ConvBlockOptions& block, int64_t seed,
                         const Samples& batch) {
  LOCKSTEP_TRY_ASSIGN(Network net, Made(ctx, lab, block, seed));
  Measured measured;
  for (const LayerReport& row : net.program().graph().report())
    measured.remarks += row.bias_has_no_effect ? 1.0 : 0.0;
  LOCKSTEP_TRY(net.Gradients(batch.x(), batch.target()).status());
  const Convolution first = FirstOf(net);
  measured.gradient = Norm(ConstTensor(first.bias_gradient).span<float>()) /
                      std::max(Norm(ConstTensor(first.weight_gradient).span<float>()), 1e-30);
  const auto outputs = [&]() -> Result<std::vector<float>> {
    LOCKSTEP_TRY(net.EvaluateInTrainingMode(batch.x(), batch.target()).status());
    const std::span<const float> y = net.output().span<float>();
    return std::vector<float>(y.begin(), y.end());
  };
  LOCKSTEP_TRY_ASSIGN(const std::vector<float> before, outputs());
  const std::vector<float> bias(first.bias.span<float>().begin(), first.bias.span<float>().end());
  for (const double shift : kShifts) {
    // Of alternate signs: what all channels of a group have in common a group norm subtracts, too.
    for (size_t c = 0; c < bias.size(); ++c) {
      first.bias.span<float>()[c] = bias[c] + static_cast<float>(c % 2 == 0 ? shift : -shift);
    }
    net.store().Changed();
    LOCKSTEP_TRY_ASSIGN(std::vector<float> after, outputs());
    for (size_t i = 0; i < after.size(); ++i) after[i] -= before[i];
    measured.changes.push_back(Norm(after) / std::max(Norm(before), 1e-30));
  }
  return measured;
}

// The share of test pictures that the network knows in the end.
Result<double> Trained(Context& ctx, const Lab& lab, bool bias, int64_t seed) {
  LOCKSTEP_TRY_ASSIGN(Network net, Made(ctx, lab, {.bias = bias}, seed));
  const Recipe& recipe = lab.recipe();
  const auto number = static_cast<uint64_t>(recipe.train.seed + seed);
  LOCKSTEP_TRY_ASSIGN(const std::unique_ptr<Loader> loader,
                      Loader::Make(lab.data().train.dataset, lab.data().train.indices,
                                   {.batch = kBatch, .last = LastBatch::kDrop, .seed = number}));
  AdamW optimizer({.lr = recipe.optimizer.learning_rate, .weight_decay = 0.0});
  LOCKSTEP_TRY_ASSIGN(
      const std::unique_ptr<Trainer> trainer,
      Trainer::Make(net, optimizer, *loader, {.epochs = recipe.train.epochs, .seed = number}));
  LOCKSTEP_TRY(trainer->Run().status());
  LOCKSTEP_TRY_ASSIGN(const EvaluationResult result, Evaluate(net, lab.data().test));
  return result.accuracy.value_or(0.0);
}

Status Run(Lab& lab, Findings& findings) {
  const Arm arms[] = {
      {"batch norm", {.bias = true}},
      {"group norm", {.norm = {.kind = ConvNorm::Kind::kGroup, .groups = 4}, .bias = true}},
      {"no norm", {.norm = {.kind = ConvNorm::Kind::kNone}, .bias = true}}};
  Context ctx({.threads = static_cast<int>(lab.recipe().train.threads)});
  const auto seeds = static_cast<size_t>(lab.seeds());
  for (const Arm& arm : arms) {
    std::vector<double> remarks, gradients;
    std::vector<std::vector<double>> changes(std::size(kShifts));
    for (size_t seed = 0; seed < seeds; ++seed) {
      const Subset& train = lab.data().train;
      LOCKSTEP_TRY_ASSIGN(
          const Samples batch,
          Samples::Gather(
              *train.dataset,
              Draw(train.indices, kBatch, static_cast<uint64_t>(lab.recipe().train.seed), seed)));
      LOCKSTEP_TRY_ASSIGN(const Measured measured,
                          Measure(ctx, lab, arm.block, static_cast<int64_t>(seed), batch));
      remarks.push_back(measured.remarks);
      gradients.push_back(measured.gradient);
      for (size_t i = 0; i < changes.size(); ++i) changes[i].push_back(measured.changes[i]);
    }
    for (size_t i = 0; i < changes.size(); ++i)
      findings.Add("change of the outputs", arm.name, kShifts[i], changes[i]);
    findings.Add("gradient of the bias, to that of the weights", arm.name, 0.0, gradients);
    findings.Add("remarks on biases", arm.name, 0.0, remarks);
  }
  std::vector<double> with, without;
  for (size_t seed = 0; seed < seeds; ++seed) {
    for (const bool bias : {true, false}) {
      LOCKSTEP_TRY_ASSIGN(const double accuracy,
                          Trained(ctx, lab, bias, static_cast<int64_t>(seed)));
      (bias ? with : without).push_back(accuracy);
    }
  }
  findings.Add("test accuracy with batch norm", "with a bias", 0.0, with);
  findings.Add("test accuracy with batch norm", "without", 0.0, without);
  findings.Plot("change of the outputs",
                {.title = "Outputs in training mode when a convolution's bias moves",
                 .x_label = "added to every other bias, subtracted from the rest",
                 .y_label = "change of the outputs, relative",
                 .log_x = true,
                 .log_y = true});

  const auto at = [&](const std::string& metric, size_t arm, double x) {
    return SpreadOf(findings.Values(metric, arms[arm].name, x));
  };
  const std::string change = "change of the outputs", remark = "remarks on biases",
                    gradient = "gradient of the bias, to that of the weights";
  findings.Expect(
      at(change, 0, 1.0).high < 1e-3 && at(change, 2, 1.0).low > 0.01,
      "in front of a batch norm, a bias moved by 1 changes the outputs by less than a thousandth; "
      "without a norm by more than a hundredth",
      Number(at(change, 0, 1.0).high) + " at most, against " + Number(at(change, 2, 1.0).low) +
          " at least");
  findings.Expect(at(gradient, 0, 0.0).high < 1e-4 && at(gradient, 2, 0.0).low > 1e-2,
                  "its gradient is rounding alone: less than a ten-thousandth of that of the "
                  "weights, where without a norm it is more than a hundredth",
                  Number(at(gradient, 0, 0.0).high) + " at most, against " +
                      Number(at(gradient, 2, 0.0).low) + " at least");
  findings.Expect(at(change, 1, 1.0).low > 1e-3,
                  "in front of a group norm, which subtracts the mean of several channels, a bias "
                  "has an effect",
                  "1 changes the outputs by " + Number(at(change, 1, 1.0).low) + " at least");
  findings.Expect(at(remark, 0, 0.0).low == 2.0 && at(remark, 0, 0.0).high == 2.0,
                  "the report of the layers remarks on both convolutions in front of a batch norm",
                  Number(at(remark, 0, 0.0).low) + " remarks");
  findings.Expect(at(remark, 1, 0.0).high == 0.0 && at(remark, 2, 0.0).high == 0.0,
                  "and on none in front of a group norm or of no norm",
                  Number(at(remark, 1, 0.0).high + at(remark, 2, 0.0).high) + " remarks");
  findings.Remark("Trained with a bias: " + Percent(with) + "; without: " + Percent(without) +
                  " of the test pictures.");
  return Status::Ok();
}

}  // namespace

Study StudyL4() {
  return {.name = "l4",
          .claim = "A convolution's bias in front of a batch norm has no effect, and is reported",
          .method =
              "Two ConvBlocks (convolution 3x3, norm, ReLU; 8 and 16 channels) with a bias in each "
              "convolution, which a ConvBlock leaves out unless it is asked for, and with batch "
              "norm, group norm (4 groups) and no norm. Something is added to every other bias "
              "of the first convolution and subtracted from the rest: how much do the outputs "
              "change, in training mode? Then those with batch norm are trained by Adam with and "
              "without biases.",
          .x_label = "added to the bias",
          .fixed = {"model.kind=cnn", "data.kind=digits", "data.size=2000", "data.validation=0",
                    "data.picture_size=16", "optimizer.learning_rate=0.005", "train.epochs=8"},
          .varied = {"model.norm"},
          .run = Run};
}

}  // namespace lockstep::tools
