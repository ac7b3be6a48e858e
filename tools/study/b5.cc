// B5: with batch norm, very deep plain networks (without skip connections) train at all.
#include <fmt/format.h>

#include <algorithm>

#include "tools/study/study.h"

namespace lockstep::inline v0_1::tools {
namespace {

const std::vector<int64_t> kDepths = {2, 5, 10, 20, 40};
const std::vector<double> kRates = {3e-4, 1e-3, 3e-3};

Status Run(Lab& lab, Findings& findings) {
  struct Arm {
    std::string name, norm, init;
  };
  const std::vector<Arm> arms = {{"no norm", "none", "torch"},
                                 {"no norm, weights for ReLU", "none", "kaiming_normal"},
                                 {"batch norm", "batch", "torch"}};
  std::vector<Settings> cases;
  for (const Arm& arm : arms) {
    for (const int64_t depth : kDepths) {
      std::string hidden = "model.hidden=[64";
      for (int64_t i = 1; i < depth; ++i) hidden += ", 64";
      for (const double rate : kRates) {
        cases.push_back({"model.norm=" + arm.norm, "model.init=" + arm.init, hidden + "]",
                         fmt::format("optimizer.learning_rate={}", rate)});
      }
    }
  }
  LOCKSTEP_TRY_ASSIGN(const auto outcomes, lab.Train(cases));
  double best = 0.0;
  for (size_t a = 0; a < arms.size(); ++a) {
    for (size_t d = 0; d < kDepths.size(); ++d) {
      // The learning rate with which this net learns its training samples best.
      const size_t first = (a * kDepths.size() + d) * kRates.size();
      const size_t chosen = LearnedBest(outcomes, first, first + kRates.size());
      const auto depth = static_cast<double>(kDepths[d]);
      findings.Add("test accuracy", arms[a].name, depth, outcomes[chosen],
                   [](const Outcome& o) { return o.test_accuracy; });
      findings.Add("training accuracy", arms[a].name, depth, outcomes[chosen],
                   [](const Outcome& o) { return o.train_accuracy; });
      best = std::max(best, SpreadOf(findings.Values("test accuracy", arms[a].name, depth)).mean);
    }
  }
  for (const std::string metric : {"test accuracy", "training accuracy"}) {
    findings.Plot(metric, {.title = "Plain networks by depth: " + metric,
                           .x_label = "hidden layers",
                           .y_label = metric});
  }
  // A net trains if it comes half way from guessing to the best of all; the deepest that does, for
  // each seed.
  const double threshold = (best + 1.0 / static_cast<double>(lab.classes())) / 2.0;
  std::vector<std::vector<double>> deepest;
  for (const Arm& arm : arms) {
    deepest.emplace_back(static_cast<size_t>(lab.seeds()), 0.0);
    for (const int64_t depth : kDepths) {
      const auto x = static_cast<double>(depth);
      const std::vector<double>& accuracy = findings.Values("test accuracy", arm.name, x);
      for (size_t s = 0; s < accuracy.size(); ++s) {
        if (accuracy[s] >= threshold) deepest.back()[s] = std::max(deepest.back()[s], x);
      }
    }
    findings.Add("deepest that trains", arm.name, 0.0, deepest.back());
  }
  const auto median = [&](size_t arm) { return Number(Median(deepest[arm])); };
  findings.Expect(
      Median(deepest[2]) > Median(deepest[0]),
      "deeper nets train with batch norm than without, from the same initial weights",
      "median over seeds " + median(2) + " hidden layers with it, " + median(0) + " without");
  findings.Expect(Median(deepest[2]) >= static_cast<double>(kDepths.back()),
                  fmt::format("with batch norm even {} hidden layers train", kDepths.back()),
                  "the deepest that does has " + median(2));
  findings.Expect(Median(deepest[2]) > Median(deepest[1]),
                  "batch norm goes deeper than initial weights suited to ReLU do without it",
                  median(2) + " hidden layers against " + median(1));
  const auto deep = static_cast<double>(kDepths.back());
  findings.Remark(fmt::format(
      "A net counts as trained from {:.1f} % test accuracy on. At {} hidden layers: {} without "
      "norm, {} with weights suited to ReLU, {} with batch norm.",
      threshold * 100.0, kDepths.back(),
      Percent(findings.Values("test accuracy", arms[0].name, deep)),
      Percent(findings.Values("test accuracy", arms[1].name, deep)),
      Percent(findings.Values("test accuracy", arms[2].name, deep))));
  return Status::Ok();
}

}  // namespace

Study StudyB5() {
  return {.name = "b5",
          .claim = "With batch norm, very deep plain networks train at all",
          .method =
              "Networks of 2 to 40 hidden layers of 64 units with ReLU and no skip connections: "
              "without norm from PyTorch's initial weights and from Kaiming's, which suit "
              "ReLU, and with batch norm from PyTorch's. Each is trained by Adam with three "
              "learning rates (0.0003, 0.001, 0.003); the one with the least training loss "
              "counts.",
          .x_label = "number of hidden layers",
          .fixed = {"data.kind=digits", "data.size=6000", "data.validation=0.5",
                    "optimizer.kind=adamw", "optimizer.weight_decay=0", "train.epochs=8",
                    "train.batch=64", "train.last_batch=drop"},
          .varied = {"model.norm", "model.init", "model.hidden", "optimizer.learning_rate"},
          .run = Run};
}

}  // namespace lockstep::tools
