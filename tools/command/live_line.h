// What a person sees while a network trains: on a terminal one line that keeps changing, elsewhere
// a line for each epoch; on request the losses as a curve.
#ifndef LOCKSTEP_TOOLS_COMMAND_LIVE_LINE_H_
#define LOCKSTEP_TOOLS_COMMAND_LIVE_LINE_H_

#include <chrono>
#include <string>
#include <vector>

#include "engine/train/trainer.h"

namespace lockstep::tools {

class LiveLine {
 public:
  // `curve`: on a terminal it stays below the lines of the epochs; elsewhere it comes at the end.
  explicit LiveLine(int64_t epochs, bool curve = false);

  void Step(const StepReport& report, int64_t total_steps);  // draws at most ten times a second
  void Epoch(const EpochReport& report, bool improved);
  void End();  // leaves the cursor on a fresh line

 private:
  using Clock = std::chrono::steady_clock;

  void ClearLine();
  void DrawLosses();

  int64_t epochs_;
  bool curve_;
  bool terminal_;
  bool color_;  // on a terminal, unless NO_COLOR is set (no-color.org)
  bool drawn_ = false;
  int curve_lines_ = 0;  // on the terminal, above the live line
  bool ended_ = false;
  std::string metric_{};  // of the last validation
  std::vector<double> train_losses_{}, validation_losses_{};
  int64_t first_step_ = -1;
  Clock::time_point start_ = Clock::now();
  Clock::time_point last_draw_{};
};

// "loss 0.4213  accuracy 80.21 %  AUC 0.8987": what the result has.
std::string Describe(const EvaluationResult& result);

}  // namespace lockstep::tools

#endif  // LOCKSTEP_TOOLS_COMMAND_LIVE_LINE_H_
