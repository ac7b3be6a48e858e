// B1: batch norm converges faster, and bears higher learning rates.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "tools/study/study.h"

namespace lockstep::inline v0_1::tools {
namespace {

const std::vector<double> kRates = {0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100};
const std::vector<std::string> kNorms = {"none", "batch"};
const std::vector<std::string> kArms = {"no norm", "batch norm"};
constexpr size_t kWindows = 25;  // points of a loss curve

// The loss curve as means over windows of steps; steps that a diverged run did not do count as
// guessing.
std::vector<double> Curve(const Outcome& outcome, size_t steps, double guess) {
  const size_t windows = std::min(kWindows, steps);
  std::vector<double> curve;
  for (size_t w = 0; w < windows; ++w) {
    const size_t begin = steps * w / windows, end = steps * (w + 1) / windows;
    double sum = 0.0;
    for (size_t i = begin; i < end; ++i)
      sum += i < outcome.step_loss.size() ? outcome.step_loss[i] : guess;
    curve.push_back(sum / static_cast<double>(end - begin));
  }
  return curve;
}

// How much of the run it took to come down to `target` for the first time; 1 if it never did.
double ShareUntil(const std::vector<double>& curve, double target) {
  const auto there =
      std::find_if(curve.begin(), curve.end(), [&](double v) { return v <= target; });
  if (there == curve.end()) return 1.0;
  return static_cast<double>(there - curve.begin() + 1) / static_cast<double>(curve.size());
}

Status Run(Lab& lab, Findings& findings) {
  std::vector<Settings> cases;
  for (const std::string& norm : kNorms) {
    for (const double rate : kRates)
      cases.push_back({"model.norm=" + norm, fmt::format("optimizer.learning_rate={}", rate)});
  }
  LOCKSTEP_TRY_ASSIGN(const auto outcomes, lab.Train(cases));
  const auto of = [&](size_t arm, size_t rate) -> const std::vector<Outcome>& {
    return outcomes[arm * kRates.size() + rate];
  };
  const double guess = std::log(static_cast<double>(lab.classes()));

  double best = 0.0;
  std::vector<size_t> best_rate(kArms.size(), 0);
  size_t steps = 0;
  for (size_t arm = 0; arm < kArms.size(); ++arm) {
    double least = HUGE_VAL;
    for (size_t r = 0; r < kRates.size(); ++r) {
      findings.Add("test accuracy", kArms[arm], kRates[r], of(arm, r),
                   [](const Outcome& o) { return o.test_accuracy; });
      findings.Add("training loss", kArms[arm], kRates[r], of(arm, r),
                   [](const Outcome& o) { return o.train_loss; });
      best = std::max(best, SpreadOf(findings.Values("test accuracy", kArms[arm], kRates[r])).mean);
      const double loss = SpreadOf(findings.Values("training loss", kArms[arm], kRates[r])).mean;
      if (loss < least) {
        least = loss;
        best_rate[arm] = r;
      }
      for (const Outcome& o : of(arm, r)) steps = std::max(steps, o.step_loss.size());
    }
  }
  findings.Plot("test accuracy", {.title = "Test accuracy by learning rate",
                                  .x_label = "learning rate",
                                  .y_label = "test accuracy",
                                  .log_x = true});

  // The highest learning rate that still trains.
  const double threshold = (best + 1.0 / static_cast<double>(lab.classes())) / 2.0;
  const auto seeds = static_cast<size_t>(lab.seeds());
  std::vector<std::vector<double>> highest(kArms.size(), std::vector<double>(seeds, 0.0));
  for (size_t arm = 0; arm < kArms.size(); ++arm) {
    for (size_t s = 0; s < seeds; ++s) {
      for (size_t r = 0; r < kRates.size(); ++r) {
        if (of(arm, r)[s].test_accuracy >= threshold) highest[arm][s] = kRates[r];
      }
    }
    findings.Add("highest rate that trains", kArms[arm], 0.0, highest[arm]);
  }
  findings.Expect(Median(highest[1]) >= 2.0 * Median(highest[0]) && Median(highest[1]) > 0.0,
                  "with batch norm at least twice the learning rate still trains",
                  fmt::format("median over seeds {} with it, {} without",
                              Number(Median(highest[1])), Number(Median(highest[0]))));

  // Loss curves: at the rate that suits the net without norm, and for each at its own.
  struct Line {
    std::string arm;
    size_t net, rate;
  };
  const std::string same = Number(kRates[best_rate[0]]), own = Number(kRates[best_rate[1]]);
  const std::vector<Line> lines = {{"no norm, rate " + same, 0, best_rate[0]},
                                   {"batch norm, rate " + same, 1, best_rate[0]},
                                   {"batch norm, its best rate " + own, 1, best_rate[1]}};
  std::vector<std::vector<double>> share(lines.size());
  for (size_t l = 0; l < lines.size(); ++l) {
    if (l == 2 && best_rate[0] == best_rate[1]) {
      share[2] = share[1];
      continue;
    }
    std::vector<std::vector<double>> curves;
    for (size_t s = 0; s < seeds; ++s) {
      curves.push_back(Curve(of(lines[l].net, lines[l].rate)[s], steps, guess));
      const double end = Curve(of(0, best_rate[0])[s], steps, guess).back();
      share[l].push_back(ShareUntil(curves.back(), end));
    }
    for (size_t w = 0; w < curves.front().size(); ++w) {
      std::vector<double> values;
      for (const auto& curve : curves) values.push_back(curve[w]);
      const double at = static_cast<double>(steps) * (static_cast<double>(w) + 0.5) /
                        static_cast<double>(curves.front().size());
      findings.Add("loss curve", lines[l].arm, at, values);
    }
  }
  findings.LeaveOutOfTable("loss curve");
  findings.Plot("loss curve", {.title = "Training loss as it goes",
                               .x_label = "step",
                               .y_label = "training loss",
                               .log_y = true});
  const auto faster = [&](const std::vector<double>& shares) {
    std::vector<double> saved;
    for (const double v : shares) saved.push_back(1.0 - v);
    return ClearlyPositive(saved);
  };
  findings.Expect(faster(share[1]),
                  "at the best learning rate of the net without norm, batch norm reaches the loss "
                  "that net ends with in fewer steps",
                  Percent(share[1]) + " of the steps");
  findings.Expect(faster(share[2]), "at its own best learning rate it does, too",
                  Percent(share[2]) + " of the steps");
  findings.Remark(fmt::format(
      "A run counts as trained from {:.1f} % test accuracy on, half way between guessing and the "
      "best of all runs. Of the best test accuracies by learning rate, {:.1f} % are without norm "
      "and {:.1f} % with.",
      threshold * 100.0,
      100.0 * SpreadOf(findings.Values("test accuracy", kArms[0], kRates[best_rate[0]])).mean,
      100.0 * SpreadOf(findings.Values("test accuracy", kArms[1], kRates[best_rate[1]])).mean));
  return Status::Ok();
}

}  // namespace

Study StudyB1() {
  return {.name = "b1",
          .claim = "Batch norm converges faster and allows higher learning rates",
          .method =
              "The same network with and without batch norm is trained by plain gradient "
              "descent (no momentum) at learning rates from 0.003 to 100.",
          .x_label = "learning rate",
          .fixed = {"data.kind=digits", "data.size=6000", "data.validation=0.5",
                    "model.hidden=[100, 100, 100]", "optimizer.kind=sgd", "optimizer.momentum=0",
                    "optimizer.weight_decay=0", "train.epochs=6", "train.batch=64",
                    "train.last_batch=drop"},
          .varied = {"model.norm", "optimizer.learning_rate"},
          .run = Run};
}

}  // namespace lockstep::tools
