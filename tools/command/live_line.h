// What a person sees while a network trains: on a terminal one line that keeps changing, elsewhere
// a line every ten seconds or so and one for each epoch; on request the losses as a curve.
#ifndef LOCKSTEP_TOOLS_COMMAND_LIVE_LINE_H_
#define LOCKSTEP_TOOLS_COMMAND_LIVE_LINE_H_

#include <cstdint>
#include <cstdio>
#include <functional>
#include <string>
#include <vector>

#include "engine/train/trainer.h"
#include "tools/command/terminal.h"

namespace lockstep::inline v0_1::tools {

struct LiveLineOptions {
  int64_t epochs = 0;
  // On a terminal the curve stays below the lines of the epochs; elsewhere, and on one that is too
  // small for it, it comes at the end.
  bool curve = false;
  std::FILE* out = stdout;            // borrowed
  std::function<double()> seconds{};  // a clock that only rises; none: the system's
};

// What the terminal can do: terminal.h.
class LiveLine {
 public:
  explicit LiveLine(LiveLineOptions options);

  // Draws at most ten times a second.
  void Step(const StepReport& report, int64_t total_steps);
  void Epoch(const EpochReport& report, bool improved);
  void End();  // leaves the cursor on a fresh line

  // Nobody reads any more: the pipe is closed.
  bool reader_gone() const { return reader_gone_; }

 private:
  void Show(const std::string& text);
  std::string ProgressLine(const StepReport& report, int64_t total_steps, double now) const;
  std::string LineBreak();
  std::string Losses();

  LiveLineOptions options_;
  Terminal terminal_;
  bool reader_gone_ = false;
  bool drawn_ = false;
  int curve_lines_ = 0;  // on the terminal, above the live line
  bool ended_ = false;
  std::string metric_{};  // of the last validation
  std::vector<double> train_losses_{}, validation_losses_{};
  int64_t first_step_ = -1;
  double start_ = 0.0, last_draw_ = 0.0;  // seconds
};

// "loss 0.4213  accuracy 80.21 %  AUC 0.8987": what the result has.
std::string Describe(const EvaluationResult& result);

// At least four significant digits, whatever the size: "12.3456", "0.5882", "0.0003412".
std::string LossText(double loss);

// Tells on standard error, now and then, what share of a large table has been read: one that is
// read at once says nothing. On a terminal the line goes away again.
std::function<void(double share)> SayReading();

}  // namespace lockstep::tools

#endif  // LOCKSTEP_TOOLS_COMMAND_LIVE_LINE_H_
