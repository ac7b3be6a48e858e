#include "tools/report/assessment_text.h"

#include <fmt/format.h>

#include <array>
#include <cmath>
#include <string_view>

namespace lockstep::inline v0_1::tools {
namespace {

enum class Form { kShare, kNumber };
struct Words {
  std::string_view name, title;
  Form form;
};
constexpr std::array kWords = {
    Words{"auc", "AUC (area under the ROC curve)", Form::kNumber},
    Words{"average_precision", "average precision", Form::kNumber},
    Words{"accuracy", "accuracy", Form::kShare},
    Words{"recall", "recall (sensitivity)", Form::kShare},
    Words{"specificity", "specificity", Form::kShare},
    Words{"precision", "precision (positive predictive value)", Form::kShare},
    Words{"negative_precision", "negative predictive value", Form::kShare},
    Words{"f1", "F1", Form::kNumber},
    Words{"brier", "Brier score", Form::kNumber},
    Words{"calibration_error", "expected calibration error", Form::kNumber},
    Words{"log_loss", "log loss of the probabilities", Form::kNumber},
    Words{"macro_auc", "AUC, mean over the classes", Form::kNumber},
    Words{"macro_recall", "recall, mean over the classes", Form::kShare},
    Words{"macro_precision", "precision, mean over the classes", Form::kShare},
    Words{"macro_f1", "F1, mean over the classes", Form::kNumber},
    Words{"r2", "R2 (coefficient of determination)", Form::kNumber},
    Words{"mae", "mean absolute error", Form::kNumber},
    Words{"rmse", "root mean square error", Form::kNumber},
    Words{"bias", "mean error (predicted less true)", Form::kNumber}};

const Words* Find(const std::string& score) {
  for (const Words& words : kWords) {
    if (words.name == score) return &words;
  }
  return nullptr;
}

}  // namespace

std::string TitleOf(const std::string& score) {
  const Words* const words = Find(score);
  return words == nullptr ? score : std::string(words->title);
}

std::string ValueText(const std::string& score, double value) {
  if (std::isnan(value)) return "-";
  const Words* const words = Find(score);
  if (words != nullptr && words->form == Form::kShare)
    return fmt::format("{:.2f} %", 100.0 * value);
  // Errors of a regression have any size.
  if (std::abs(value) >= 1e4 && std::abs(value) < 1e9) return fmt::format("{:.0f}", value);
  return std::abs(value) < 1.0 && std::abs(value) >= 1e-3 ? fmt::format("{:.4f}", value)
                                                          : fmt::format("{:.4g}", value);
}

std::string IntervalText(const std::string& score, const std::optional<Interval>& interval) {
  if (!interval) return "-";
  return ValueText(score, interval->low) + " to " + ValueText(score, interval->high);
}

std::string ScoreText(const Score& score) {
  std::string text = ValueText(score.name, score.value);
  if (score.interval) text += " (" + IntervalText(score.name, score.interval) + ")";
  return text;
}

std::string AboutIntervals(const Assessment& all) {
  std::string text;
  if (all.samples < all.of) {
    text =
        fmt::format("Of {} samples {} are looked at, drawn by a fixed seed. ", all.of, all.samples);
  }
  text += fmt::format(
      "Intervals hold the true value in 95 of 100 cases: 1000 bootstrap draws of {} "
      "samples.",
      all.interval_samples);
  if (all.interval_samples < all.samples) text += " Those of all samples are narrower.";
  return text;
}

std::string AboutDecision(const Decision& decision) {
  std::string text;
  if (decision.threshold != 0.5f) {
    text += fmt::format(
        "A positive is said above a probability of {:.4g}, chosen on the validation "
        "samples.",
        decision.threshold);
  }
  if (decision.temperature != 1.0f) {
    text += fmt::format(
        "{}Probabilities are calibrated with a temperature of {:.4g}, found on the "
        "validation samples.",
        text.empty() ? "" : " ", decision.temperature);
  }
  return text;
}

std::string Describe(const Assessment& all) {
  std::string text = fmt::format("{:<40} {:>10}   {}\n", "", "", "95 % interval");
  const auto add = [&](const std::vector<Score>& scores) {
    for (const Score& score : scores) {
      text +=
          fmt::format("{:<40} {:>10}   {}\n", TitleOf(score.name),
                      ValueText(score.name, score.value), IntervalText(score.name, score.interval));
    }
  };
  add(all.scores);
  if (all.reading != Reading::kValues) {
    text += fmt::format("{:<40} {:>10.4f}\n", "expected calibration error", all.calibration_error);
    text += fmt::format("{:<40} {:>10.4f}\n", "log loss of the probabilities", all.log_loss);
  }
  if (!all.weighted.empty()) text += "by the samples' weights:\n";
  add(all.weighted);
  for (const SubgroupScores& by : all.subgroups) {
    for (const GroupScores& group : by.groups) {
      text += fmt::format("{} = {}: {} samples", by.column, group.name, group.samples);
      for (const Score& score : group.scores) {
        const bool told = score.name == "auc" || score.name == "accuracy" || score.name == "r2" ||
                          score.name == "mae";
        if (told) text += fmt::format(", {} {}", score.name, ScoreText(score));
      }
      text += "\n";
    }
  }
  const std::string decision = AboutDecision(all.decision);
  if (!decision.empty()) text += decision + "\n";
  return text + AboutIntervals(all) + "\n";
}

}  // namespace lockstep::tools
