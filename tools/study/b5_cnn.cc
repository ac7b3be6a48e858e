// B5 on pictures: plain convolutional networks with and without batch norm, by depth, beside
// residual ones. The nets are those of He et al., "Deep residual learning for image recognition",
// 2015, section 4.2: plain ones of 20 to 56 layers are its CIFAR ResNets without skip connections.
#include <fmt/format.h>

#include <algorithm>

#include "tools/study/study.h"

namespace lockstep::inline v0_1::tools {
namespace {

const std::vector<int64_t> kDepths = {20, 32, 56};
const std::vector<double> kRates = {1e-3, 3e-3};

Status Run(Lab& lab, Findings& findings) {
  struct Arm {
    std::string name, norm, skip;
  };
  const std::vector<Arm> arms = {{"plain, no norm", "none", "false"},
                                 {"plain, batch norm", "batch", "false"},
                                 {"ResNet, batch norm", "batch", "true"}};
  std::vector<Settings> cases;
  for (const Arm& arm : arms) {
    for (const int64_t depth : kDepths) {
      for (const double rate : kRates) {
        cases.push_back({"model.norm=" + arm.norm, "model.skip=" + arm.skip,
                         fmt::format("model.depth={}", depth),
                         fmt::format("optimizer.learning_rate={}", rate)});
      }
    }
  }
  LOCKSTEP_TRY_ASSIGN(const auto outcomes, lab.Train(cases));
  for (size_t a = 0; a < arms.size(); ++a) {
    for (size_t d = 0; d < kDepths.size(); ++d) {
      // The learning rate with which this net learns its training samples best.
      const size_t first = (a * kDepths.size() + d) * kRates.size();
      const size_t chosen = LearnedBest(outcomes, first, first + kRates.size());
      const auto depth = static_cast<double>(kDepths[d]);
      findings.Add("test accuracy", arms[a].name, depth, outcomes[chosen],
                   [](const Outcome& o) { return o.test_accuracy; });
      findings.Add("training loss", arms[a].name, depth, outcomes[chosen],
                   [](const Outcome& o) { return o.train_loss; });
      findings.Add(
          "learning rate", arms[a].name, depth,
          std::vector<double>(static_cast<size_t>(lab.seeds()), kRates[chosen % kRates.size()]));
    }
  }
  for (const std::string metric : {"test accuracy", "training loss"}) {
    findings.Plot(metric, {.title = "Plain and residual networks by depth: " + metric,
                           .x_label = "layers",
                           .y_label = metric});
  }

  const auto accuracy = [&](size_t arm, int64_t depth) -> const std::vector<double>& {
    return findings.Values("test accuracy", arms[arm].name, static_cast<double>(depth));
  };
  const auto loss = [&](size_t arm, int64_t depth) -> const std::vector<double>& {
    return findings.Values("training loss", arms[arm].name, static_cast<double>(depth));
  };
  const double chance = 1.0 / static_cast<double>(lab.classes());
  const int64_t shallow = kDepths.front(), deep = kDepths.back();
  findings.Expect(
      ClearlyPositive(Difference(accuracy(1, deep), accuracy(0, deep))),
      fmt::format("of {} layers, a plain net with batch norm is more accurate than without", deep),
      Percent(accuracy(1, deep)) + " against " + Percent(accuracy(0, deep)));
  findings.Expect(SpreadOf(accuracy(1, deep)).low > 2.0 * chance,
                  fmt::format("with batch norm a plain net of {} layers learns with every seed, "
                              "to twice what guessing gives and more",
                              deep),
                  fmt::format("at least {:.1f} %", SpreadOf(accuracy(1, deep)).low * 100.0));
  const double half_way = (SpreadOf(accuracy(1, shallow)).mean + chance) / 2.0;
  findings.Expect(
      SpreadOf(accuracy(1, deep)).mean >= half_way,
      fmt::format("with batch norm a plain net of {} layers comes half way from guessing "
                  "to what {} layers reach, and further",
                  deep, shallow),
      Percent(accuracy(1, deep)) + " against " + Percent(accuracy(1, shallow)));
  findings.Expect(
      ClearlyPositive(Difference(loss(0, deep), loss(0, shallow))),
      fmt::format("without norm, {} layers learn their training samples worse than {}", deep,
                  shallow),
      "training loss " + Number(loss(0, deep)) + " against " + Number(loss(0, shallow)));
  findings.Expect(
      ClearlyPositive(Difference(loss(1, deep), loss(2, deep))),
      fmt::format("batch norm is not all that depth needs: of {} layers, the ResNet learns its "
                  "training samples better than the plain net with batch norm",
                  deep),
      "training loss " + Number(loss(2, deep)) + " against " + Number(loss(1, deep)));
  for (const int64_t depth : kDepths) {
    findings.Remark(
        fmt::format("At {} layers: {} plain without norm, {} plain with batch norm, "
                    "{} as a ResNet.",
                    depth, Percent(accuracy(0, depth)), Percent(accuracy(1, depth)),
                    Percent(accuracy(2, depth))));
  }
  findings.Remark(fmt::format("Guessing gives {:.1f} %.", chance * 100.0));
  return Status::Ok();
}

}  // namespace

Study StudyB5Cnn() {
  return {.name = "b5",
          .cnn = true,
          .claim = "With batch norm, very deep plain convolutional networks train at all",
          .method =
              "CIFAR ResNets of 20, 32 and 56 layers, 8 to 32 channels wide, and the plain "
              "networks of the same depth, which are the same without skip connections; those "
              "without norm have biases instead. All begin Kaiming normal, which suits ReLU. Each "
              "is trained by Adam with two learning rates (0.001, 0.003); the one with the least "
              "training loss counts.",
          .x_label = "number of layers",
          .fixed = {"model.kind=cnn", "model.architecture=cifar_resnet", "model.width=0.5",
                    "data.kind=digits", "data.size=1000", "data.validation=0",
                    "data.picture_size=12", "optimizer.kind=adamw", "optimizer.weight_decay=0",
                    "train.epochs=12", "train.batch=32", "train.last_batch=drop"},
          .varied = {"model.norm", "model.skip", "model.depth", "optimizer.learning_rate"},
          .run = Run};
}

}  // namespace lockstep::tools
