// What a person sees while a network trains: on a terminal one line that keeps changing, elsewhere
// a line for each epoch.
#ifndef LOCKSTEP_TOOLS_LIVE_LINE_H_
#define LOCKSTEP_TOOLS_LIVE_LINE_H_

#include <unistd.h>

#include <chrono>
#include <string>

#include "engine/train/trainer.h"

namespace lockstep::tools {

class LiveLine {
 public:
  explicit LiveLine(int64_t epochs) : epochs_(epochs) {}

  void Step(const StepReport& report, int64_t total_steps);  // draws at most ten times a second
  void Epoch(const EpochReport& report, bool improved);
  void End();  // leaves the cursor on a fresh line

 private:
  using Clock = std::chrono::steady_clock;

  int64_t epochs_;
  bool terminal_ = isatty(STDOUT_FILENO) == 1;
  bool drawn_ = false;
  int64_t first_step_ = -1;
  Clock::time_point start_ = Clock::now();
  Clock::time_point last_draw_{};
};

// "loss 0.4213  accuracy 80.21 %  AUC 0.8987": what the result has.
std::string Describe(const EvaluationResult& result);

}  // namespace lockstep::tools

#endif  // LOCKSTEP_TOOLS_LIVE_LINE_H_
