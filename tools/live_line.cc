#include "tools/live_line.h"

#include <fmt/format.h>

#include <cstdio>

namespace lockstep::tools {

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
  const double left =
      done > 0.0 ? elapsed / done * static_cast<double>(total_steps - report.step) : 0.0;
  fmt::print(
      "\r\033[Kepoch {}/{}  batch {}/{}  loss {:.4f}  lr {:.2e}  {:.0f} samples/s  {:.0f} s left",
      report.epoch + 1, epochs_, report.batch + 1, report.batches, report.epoch_loss,
      report.learning_rate, report.samples_per_second, left);
  std::fflush(stdout);
  drawn_ = true;
}

void LiveLine::Epoch(const EpochReport& report, bool improved) {
  End();
  std::string line = fmt::format("epoch {:>3}/{}  train loss {:.4f}", report.epoch + 1, epochs_,
                                 report.train_loss);
  if (report.validation)
    line += "  validation: " + Describe(*report.validation) + (improved ? "  *" : "");
  if (report.skipped_batches > 0)
    line += fmt::format("  ({} batches skipped)", report.skipped_batches);
  fmt::print("{}\n", line);
  std::fflush(stdout);
}

void LiveLine::End() {
  if (drawn_) fmt::print("\r\033[K");
  drawn_ = false;
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
