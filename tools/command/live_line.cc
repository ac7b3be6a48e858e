#include "tools/command/live_line.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>
#include <utility>

#include "tools/report/curve.h"

namespace lockstep::inline v0_1::tools {
namespace {

// What the curve needs on the terminal to be drawn over: the longer of its lines, the height.
constexpr int kCurveColumns = 56, kCurveRows = 12;

double SystemSeconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
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
  if (result.r2) return "R2 " + LossText(*result.r2);
  return "validation " + LossText(result.loss);
}

// Where lines stay: every ten seconds at first, every minute in a run of hours.
double SecondsBetweenLines(double elapsed) { return std::clamp(elapsed / 60.0, 10.0, 60.0); }

}  // namespace

std::string LossText(double loss) {
  const double size = std::abs(loss);
  if (size == 0.0 || (size >= 0.1 && size < 1e6)) return fmt::format("{:.4f}", loss);
  return fmt::format("{:#.4g}", loss);
}

LiveLine::LiveLine(LiveLineOptions options)
    : options_(std::move(options)), terminal_(TerminalOf(options_.out)) {
  if (!options_.seconds) options_.seconds = SystemSeconds;
}

void LiveLine::Show(const std::string& text) {
  if (!reader_gone_ && !text.empty()) reader_gone_ = !Say(text, options_.out);
}

void LiveLine::Step(const StepReport& report, int64_t total_steps) {
  const double now = options_.seconds();
  if (first_step_ < 0) {
    first_step_ = report.step;
    start_ = now;
    last_draw_ = terminal_.cursor ? now - 1.0 : now;  // a terminal shows the first step
  }
  const double wait = terminal_.cursor ? 0.1 : SecondsBetweenLines(now - start_);
  if (now - last_draw_ < wait) return;
  last_draw_ = now;
  std::string line = ProgressLine(report, total_steps, now);
  if (!terminal_.cursor) {
    Show(line + "\n");
    return;
  }
  // A line that wraps could not be drawn over. The width may have changed.
  const auto room = static_cast<size_t>(std::max(TerminalOf(options_.out).columns - 1, 1));
  if (line.size() > room) line.resize(room);
  Show(fmt::format("\r\033[K{}{}{}", terminal_.color ? "\033[36m" : "", line,
                   terminal_.color ? "\033[0m" : ""));
  drawn_ = true;
}

std::string LiveLine::ProgressLine(const StepReport& report, int64_t total_steps,
                                   double now) const {
  std::string line =
      fmt::format("epoch {}/{}  step {}/{}  loss {}", report.epoch + 1, options_.epochs,
                  report.step, total_steps, LossText(report.epoch_loss));
  if (!metric_.empty()) line += "  " + metric_;
  line +=
      fmt::format("  lr {:.2e}  {:.0f} samples/s", report.learning_rate, report.samples_per_second);
  const auto done = static_cast<double>(report.step - first_step_);
  if (done > 0.0) {
    line += "  " +
            Duration((now - start_) / done * static_cast<double>(total_steps - report.step)) +
            " left";
  }
  return line;
}

void LiveLine::Epoch(const EpochReport& report, bool improved) {
  std::string text = LineBreak();
  if (curve_lines_ > 0) text += fmt::format("\033[{}A\033[J", curve_lines_);
  curve_lines_ = 0;
  text += fmt::format("epoch {:>3}/{}  train loss {}", report.epoch + 1, options_.epochs,
                      LossText(report.train_loss));
  if (report.validation) {
    metric_ = ShortMetric(*report.validation);
    text += "  validation: " + Describe(*report.validation);
    if (improved) text += terminal_.color ? "  \033[32m*\033[0m" : "  *";
  }
  if (report.skipped_batches > 0)
    text += fmt::format("  ({} batches skipped)", report.skipped_batches);
  text += "\n";
  if (options_.curve) {
    train_losses_.push_back(report.train_loss);
    validation_losses_.push_back(report.validation ? report.validation->loss
                                                   : std::numeric_limits<double>::quiet_NaN());
    terminal_ = TerminalOf(options_.out);
    const bool fits = terminal_.columns >= kCurveColumns && terminal_.rows >= kCurveRows;
    if (terminal_.cursor && fits) text += Losses();
  }
  Show(text);
}

std::string LiveLine::Losses() {
  const int width = terminal_.is_one ? std::min(terminal_.columns - 1, 80) : 72;
  const std::vector<std::string> lines = DrawCurve(
      train_losses_, validation_losses_, {.width = width, .height = 8, .color = terminal_.color});
  if (lines.empty()) return {};
  std::string text;
  for (const std::string& line : lines) text += line + "\n";
  const bool validated = std::any_of(validation_losses_.begin(), validation_losses_.end(),
                                     [](double loss) { return std::isfinite(loss); });
  text +=
      fmt::format("{:>10}loss by epoch: training{}\n", "", validated ? ", and validation (•)" : "");
  curve_lines_ = static_cast<int>(lines.size()) + 1;
  return text;
}

// To the start of a line with nothing on it.
std::string LiveLine::LineBreak() { return std::exchange(drawn_, false) ? "\r\033[K" : ""; }

void LiveLine::End() {
  std::string text = LineBreak();
  if (options_.curve && curve_lines_ == 0 && !ended_) text += Losses();
  ended_ = true;
  Show(text);
}

std::string Describe(const EvaluationResult& result) {
  std::string text = "loss " + LossText(result.loss);
  if (result.accuracy) text += fmt::format("  accuracy {:.2f} %", *result.accuracy * 100.0);
  if (result.exact) text += fmt::format("  exact {:.2f} %", *result.exact * 100.0);
  if (result.perplexity) text += fmt::format("  perplexity {:.4g}", *result.perplexity);
  if (result.bits_per_byte) text += "  bits per byte " + LossText(*result.bits_per_byte);
  if (result.auc) text += fmt::format("  AUC {:.4f}", *result.auc);
  if (result.mae) text += fmt::format("  mean absolute error {:.4g}", *result.mae);
  if (result.r2) text += "  R2 " + LossText(*result.r2);
  if (result.coverage)
    text += fmt::format("  {:.1f} % within the interval", *result.coverage * 100.0);
  return text;
}

std::function<void(double share)> SayReading() {
  const bool shows = TerminalOf(stderr).cursor;
  return [shows, last = SystemSeconds()](double share) mutable {
    if (SystemSeconds() - last < (shows ? 1.0 : 10.0)) return;
    last = SystemSeconds();
    const std::string text = fmt::format("reading the table: {:.0f} %", 100.0 * share);
    Say(shows ? "\r" + text + "\r" : text + "\n", stderr);
  };
}

}  // namespace lockstep::tools
