// Writes what a run leaves behind while it goes on, and shows how it goes: metrics.csv and .jsonl,
// TensorBoard events, checkpoints, and the line on the terminal.
#ifndef LOCKSTEP_TOOLS_COMMAND_RECORDER_H_
#define LOCKSTEP_TOOLS_COMMAND_RECORDER_H_

#include <atomic>
#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine/base/status.h"
#include "engine/checkpoint/checkpoint.h"
#include "engine/io/metrics_log.h"
#include "engine/io/tensorboard.h"
#include "engine/train/trainer.h"
#include "models/recipe.h"
#include "tools/command/live_line.h"
#include "tools/command/run_folder.h"

namespace lockstep::tools {

struct RecorderOptions {
  RunFolder folder{};
  Recipe::Output output{};
  int64_t epochs = 0;
  // A run that goes on: rows and events of later steps are dropped, for they come again. Negative:
  // a new run.
  int64_t resumed_step = -1;
  bool curve = false;                       // draw the losses after each epoch
  const std::atomic<bool>* stop = nullptr;  // set: the run is asked to stop. Borrowed
  Subset sample{};                          // activations are shown for these samples
};

// Changes nothing of the run: the same bits with and without. Trainer and network are borrowed.
class Recorder final : public TrainingObserver {
 public:
  static Result<std::unique_ptr<Recorder>> Make(RecorderOptions options);
  // Before the run.
  void Attach(Trainer* trainer, Network* network);

  Wish OnStep(const StepReport& report) override;
  Wish OnEvaluation(const EvaluationReport& report) override;
  Wish OnEpoch(const EpochReport& report) override;

  // The run is over: clears the line and brings the events to the file.
  Status End();
  // Saves what is needed to go on, and the best weights so far.
  Status SaveAll();
  double seconds() const { return seconds_; }  // spent on files

 private:
  using Clock = std::chrono::steady_clock;

  Recorder(RecorderOptions options, MetricsLog log, EventWriter events);
  Wish wish() const;
  void KeepFirstError(Status status);
  Status Record(const EpochReport& report);
  Status AddHistograms(int64_t step);
  Status DropOldCheckpoints();

  RecorderOptions options_;
  LiveLine line_;
  MetricsLog log_;
  EventWriter events_;
  Trainer* trainer_ = nullptr;
  Network* network_ = nullptr;
  std::unique_ptr<Loader> sample_;
  Status status_;  // the first failure
  bool improved_ = false;
  bool best_is_new_ = false;  // since it was saved
  int64_t saved_step_ = -1;   // what last.safetensors holds; -1: there is none
  double samples_per_second_ = 0.0;
  double seconds_ = 0.0;
  Clock::time_point last_save_ = Clock::now();
};

// The step up to which rows of metrics stand when a run goes on from this checkpoint: an epoch that
// ended with it is reported again unless it had been before.
int64_t ReportedStep(const Checkpoint& checkpoint, const TrainingState& state);

}  // namespace lockstep::tools

#endif  // LOCKSTEP_TOOLS_COMMAND_RECORDER_H_
