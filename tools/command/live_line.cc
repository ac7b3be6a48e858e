#include "tools/command/live_line.h"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <limits>

#include "tools/report/curve.h"

namespace lockstep::tools {
namespace {

int TerminalWidth() {
  winsize size{};
  return ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

bool WantsColor() {
  const char* const no_color = std::getenv("NO_COLOR");
  const char* const kind = std::getenv("TERM");
  return (no_color == nullptr || *no_color == '\0') && kind != nullptr &&
         std::string_view(kind) != "dumb";
}

std::string Duration(double seconds) {
  const auto whole = static_cast<int64_t>(std::min(std::ceil(seconds), 1e9));
  if (whole < 60) return fmt::format("{} s", whole);
  if (whole < 3600) return fmt::format("{} min {:02} s", whole / 60, whole % 60);
  return fmt::format("{} h {:02} min", whole / 3600, whole / 60 % 60);
}

// The number people look at beside the loss.
std::string ShortMetric(const EvaluationResult& result) {
  if (result.auc) return fmt::format("AUC {:.4f}", *result.auc);
  if (result.accuracy) return fmt::format("accuracy {:.2f} %", *result.accuracy * 100.0);
  if (result.r2) return fmt::format("R2 {:.4f}", *result.r2);
  return fmt::format("validation {:.4f}", result.loss);
}

}  // namespace

LiveLine::LiveLine(int64_t epochs, bool curve)
    : epochs_(epochs),
      curve_(curve),
      terminal_(isatty(STDOUT_FILENO) == 1),
      color_(terminal_ && WantsColor()) {}

void LiveLine::Step(const StepReport& report, int64_t total_steps) {
  if (first_step_ < 0) {
    first_step_ = report.step;
    start_ = Clock::now();
  }
  if (!terminal_) return;
  const Clock::time_point now = Clock::now();
  if (now - last_draw_ < std::chrono::milliseconds(100)) return;
  last_draw_ = now;
  const double elapsed = std::chrono::duration<double>(now - start_).count();
  const auto done = static_cast<double>(report.step - first_step_);
  std::string line = fmt::format("epoch {}/{}  step {}/{}  loss {:.4f}", report.epoch + 1, epochs_,
                                 report.step, total_steps, report.epoch_loss);
  if (!metric_.empty()) line += "  " + metric_;
  line +=
      fmt::format("  lr {:.2e}  {:.0f} samples/s", report.learning_rate, report.samples_per_second);
  if (done > 0.0) {
    line +=
        "  " + Duration(elapsed / done * static_cast<double>(total_steps - report.step)) + " left";
  }
  // A line that wraps could not be drawn over.
  const auto room = static_cast<size_t>(std::max(TerminalWidth() - 1, 1));
  if (line.size() > room) line.resize(room);
  fmt::print("\r\033[K{}{}{}", color_ ? "\033[36m" : "", line, color_ ? "\033[0m" : "");
  std::fflush(stdout);
  drawn_ = true;
}

void LiveLine::Epoch(const EpochReport& report, bool improved) {
  ClearLine();
  if (curve_lines_ > 0) fmt::print("\033[{}A\033[J", curve_lines_);
  curve_lines_ = 0;
  std::string line = fmt::format("epoch {:>3}/{}  train loss {:.4f}", report.epoch + 1, epochs_,
                                 report.train_loss);
  if (report.validation) {
    metric_ = ShortMetric(*report.validation);
    line += "  validation: " + Describe(*report.validation);
    if (improved) line += color_ ? "  \033[32m*\033[0m" : "  *";
  }
  if (report.skipped_batches > 0)
    line += fmt::format("  ({} batches skipped)", report.skipped_batches);
  fmt::print("{}\n", line);
  if (curve_) {
    train_losses_.push_back(report.train_loss);
    validation_losses_.push_back(report.validation ? report.validation->loss
                                                   : std::numeric_limits<double>::quiet_NaN());
    if (terminal_) DrawLosses();
  }
  std::fflush(stdout);
}

void LiveLine::DrawLosses() {
  const int width = terminal_ ? std::min(TerminalWidth() - 1, 80) : 72;
  const std::vector<std::string> lines =
      DrawCurve(train_losses_, validation_losses_, {.width = width, .height = 8, .color = color_});
  if (lines.empty()) return;
  for (const std::string& line : lines) fmt::print("{}\n", line);
  const bool validated = std::any_of(validation_losses_.begin(), validation_losses_.end(),
                                     [](double loss) { return std::isfinite(loss); });
  fmt::print("{:>10}loss by epoch: training{}\n", "", validated ? ", and validation (•)" : "");
  curve_lines_ = static_cast<int>(lines.size()) + 1;
}

void LiveLine::ClearLine() {
  if (drawn_) fmt::print("\r\033[K");
  drawn_ = false;
}

void LiveLine::End() {
  ClearLine();
  if (curve_ && !terminal_ && !ended_) DrawLosses();
  ended_ = true;
  std::fflush(stdout);
}

std::string Describe(const EvaluationResult& result) {
  std::string text = fmt::format("loss {:.4f}", result.loss);
  if (result.accuracy) text += fmt::format("  accuracy {:.2f} %", *result.accuracy * 100.0);
  if (result.auc) text += fmt::format("  AUC {:.4f}", *result.auc);
  if (result.mae) text += fmt::format("  mean absolute error {:.4g}", *result.mae);
  if (result.r2) text += fmt::format("  R2 {:.4f}", *result.r2);
  return text;
}

}  // namespace lockstep::tools
