// B4: with batch norm, the scale of the initial weights matters less.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "tools/study/study.h"

namespace lockstep::inline v0_1::tools {
namespace {

const std::vector<double> kScales = {0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100};
const std::vector<std::string> kArms = {"no norm", "batch norm"};
constexpr double kWithin = 0.05;  // of the best accuracy: what counts as trained well

Status Run(Lab& lab, Findings& findings) {
  std::vector<Settings> cases;
  for (const std::string norm : {"none", "batch"}) {
    for (const double scale : kScales)
      cases.push_back({"model.norm=" + norm, fmt::format("model.init_scale={}", scale)});
  }
  LOCKSTEP_TRY_ASSIGN(const auto outcomes, lab.Train(cases));
  for (size_t c = 0; c < cases.size(); ++c) {
    findings.Add("test accuracy", kArms[c / kScales.size()], kScales[c % kScales.size()],
                 outcomes[c], [](const Outcome& o) { return o.test_accuracy; });
    findings.Add("training loss", kArms[c / kScales.size()], kScales[c % kScales.size()],
                 outcomes[c], [](const Outcome& o) { return o.train_loss; });
  }
  findings.Plot("test accuracy", {.title = "Test accuracy by the scale of the initial weights",
                                  .x_label = "initial weights, times Kaiming's",
                                  .y_label = "test accuracy",
                                  .log_x = true});
  double best = 0.0;
  for (const std::string& arm : kArms) {
    for (const double scale : kScales)
      best = std::max(best, SpreadOf(findings.Values("test accuracy", arm, scale)).mean);
  }
  const auto seeds = static_cast<size_t>(lab.seeds());
  std::vector<std::vector<double>> good(kArms.size(), std::vector<double>(seeds, 0.0));
  std::vector<std::vector<double>> worst(kArms.size(), std::vector<double>(seeds, 1.0));
  for (size_t arm = 0; arm < kArms.size(); ++arm) {
    for (const double scale : kScales) {
      const std::vector<double>& accuracy = findings.Values("test accuracy", kArms[arm], scale);
      for (size_t s = 0; s < seeds; ++s) {
        good[arm][s] += accuracy[s] >= best - kWithin;
        if (scale >= 0.1 && scale <= 10.0) worst[arm][s] = std::min(worst[arm][s], accuracy[s]);
      }
    }
    findings.Add("scales that train well", kArms[arm], 0.0, good[arm]);
    findings.Add("worst accuracy from 0.1 to 10", kArms[arm], 0.0, worst[arm]);
  }
  const auto last = [&](const std::string& arm) {
    std::string text = "none";
    for (const double scale : kScales) {
      if (SpreadOf(findings.Values("test accuracy", arm, scale)).mean >= best - kWithin)
        text = Number(scale);
    }
    return text;
  };
  findings.Expect(ClearlyPositive(Difference(good[1], good[0])),
                  "with batch norm more scales of the initial weights train well",
                  fmt::format("{} of {} scales with it, {} without", Number(good[1]),
                              kScales.size(), Number(good[0])));
  findings.Expect(ClearlyPositive(Difference(worst[1], worst[0])),
                  "at the worst scale from 0.1 to 10 batch norm is better off",
                  Percent(worst[1]) + " with it, " + Percent(worst[0]) + " without");
  findings.Expect(SpreadOf(worst[1]).mean >= best - kWithin,
                  "with batch norm every scale from 0.1 to 10 trains well",
                  Percent(worst[1]) + " at the worst of them");
  findings.Remark(fmt::format(
      "A scale trains well where the test accuracy is within five points of the best, {:.1f} %. "
      "The largest that does is {} with batch norm and {} without.",
      best * 100.0, last(kArms[1]), last(kArms[0])));
  return Status::Ok();
}

}  // namespace

Study StudyB4() {
  return {.name = "b4",
          .claim = "Batch norm makes training less sensitive to the initial weights",
          .method =
              "A network of four hidden layers is trained by plain gradient descent from "
              "Kaiming's initial weights, those of the last layer included, times 0.01 to "
              "100.",
          .x_label = "factor on the initial weights",
          .fixed = {"data.kind=digits", "data.size=6000", "data.validation=0.5",
                    "model.hidden=[100, 100, 100, 100]", "model.init=kaiming_normal",
                    "optimizer.kind=sgd", "optimizer.learning_rate=0.1", "optimizer.momentum=0",
                    "optimizer.weight_decay=0", "train.epochs=6", "train.batch=64",
                    "train.last_batch=drop"},
          .varied = {"model.norm", "model.init_scale"},
          .run = Run};
}

}  // namespace lockstep::tools
