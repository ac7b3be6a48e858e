// The training loop: drives a Network (layers and loss), an Optimizer, a Loader and a Communicator.
//
//   auto trainer = Trainer::Make(net, optimizer, *loader, {.epochs = 20});
//   auto summary = (*trainer)->Run();
//
// One step is one global batch of the Loader: a TrainingStep, then the average of the weights. The
// ranks are those of the network's communicator.
// Steps allocate nothing after the first, take no lock of ours and write no file; whoever wants
// files writes them in a TrainingObserver.
#ifndef LOCKSTEP_ENGINE_TRAIN_TRAINER_H_
#define LOCKSTEP_ENGINE_TRAIN_TRAINER_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine/base/status.h"
#include "engine/checkpoint/training_state.h"
#include "engine/comm/communicator.h"
#include "engine/data/loader.h"
#include "engine/data/table/standardize.h"
#include "engine/optim/ema.h"
#include "engine/optim/optimizer.h"
#include "engine/optim/schedule.h"
#include "engine/train/checkpointing.h"
#include "engine/train/digest.h"
#include "engine/train/evaluate.h"
#include "engine/train/metrics.h"
#include "engine/train/network.h"
#include "engine/train/training_step.h"

namespace lockstep::inline v0_1 {

// Epochs and batches count from 0 as in LoaderPlace; `step` is the number of steps done.
struct StepReport {
  int64_t step = 0;
  int64_t epoch = 0;
  int64_t batch = 0;                      // of the epoch
  int64_t batches = 0;                    // in an epoch
  int64_t samples = 0;                    // in this global batch
  double loss = 0.0;                      // the mean over this global batch; 0 if skipped
  double epoch_loss = 0.0;                // the mean over the epoch so far
  double learning_rate = 0.0;             // of this step
  std::optional<double> gradient_norm{};  // before clipping; only where clip_norm asks for it
  double samples_per_second = 0.0;        // over the epoch so far, without evaluation and observers
  bool skipped = false;                   // see TrainingStepReport: nothing was updated
};

struct EvaluationReport {
  int64_t step = 0;
  int64_t epoch = 0;  // that has ended
  EvaluationResult result{};
  double seconds = 0.0;
  bool improved = false;                 // the best so far, by at least min_delta
  int64_t evaluations_without_gain = 0;  // what patience is compared with
};

// How one rank spent its time.
struct RankTime {
  double seconds = 0.0;  // in steps, with the loading of their batches
  double waited = 0.0;   // of these, for other ranks
};

struct EpochReport {
  int64_t epoch = 0;
  int64_t step = 0;            // at its end
  double train_loss = 0.0;     // mean of the losses in training mode, as the epoch went
  double learning_rate = 0.0;  // of its last step
  int64_t samples = 0;
  int64_t skipped_batches = 0;
  double seconds = 0.0;  // in this process, without evaluation and observers
  std::optional<EvaluationResult> validation{};  // where this epoch was evaluated
  std::vector<RankTime> ranks{};                 // of several: where each spent the epoch
};

// Later ones include earlier ones.
enum class Wish : uint8_t { kGoOn, kSave, kStop };

// Watches a run; called on the thread that trains, on every rank. A wish of any rank to stop
// (Ctrl-C) ends the run after the current step (with several ranks: one step later, so that all
// agree), ready to be saved and resumed; a wish to save has OnSave called then, on every rank.
// Trainer::Save may be called from any of these, on all ranks or none: what one rank alone knows,
// such as the time of day, must become a wish. What one of them throws ends the run as an error,
// after the step or epoch that it was told of, on every rank.
class TrainingObserver {
 public:
  virtual ~TrainingObserver() = default;
  virtual Wish OnSave() { return Wish::kGoOn; }
  virtual Wish OnStep(const StepReport& report) {
    (void)report;
    return Wish::kGoOn;
  }
  virtual Wish OnEvaluation(const EvaluationReport& report) {
    (void)report;
    return Wish::kGoOn;
  }
  virtual Wish OnEpoch(const EpochReport& report) {
    (void)report;
    return Wish::kGoOn;
  }
};

struct EarlyStopping {
  int64_t patience = 10;   // evaluations in a row without a gain
  double min_delta = 0.0;  // smaller gains do not count
};

struct TrainerOptions {
  // The run ends at whichever comes first; 0 sets no limit, but one of them must.
  int64_t epochs = 0;
  int64_t max_steps = 0;

  Schedule schedule = ConstantSchedule{};  // over the run's steps
  double clip_norm = 0.0;                  // global norm of the gradients; 0: not clipped
  // Each batch of the Loader goes through the network in up to this many parts: see
  // TrainingStepOptions::parts. The network needs to be bound for one part only.
  int64_t micro_batches = 1;
  Wire wire = Wire::kF32;           // how gradients travel between ranks
  std::optional<EmaOptions> ema{};  // evaluate, and end with, a moving average of the weights

  Subset validation{};
  int64_t evaluation_batch = 0;    // see EvaluationOptions::batch
  int64_t evaluate_every = 1;      // epochs; and at the end of the run
  Metric monitor = Metric::kLoss;  // of the validation: what is best, and what patience waits for
  bool keep_best = true;           // end with the weights of the best evaluation
  std::optional<EarlyStopping> early_stopping{};

  TrainingObserver* observer = nullptr;  // borrowed

  // A file for the hashes of all weights after each step (digest.h); empty: none.
  std::string digest{};

  // For checkpoints only. A run is resumed with the same seed.
  uint64_t seed = 0;
  std::string recipe{};
  std::optional<Standardizer> standardizer{};
};

enum class StopReason {
  kCompleted,     // all epochs or steps are done
  kEarlyStopped,  // patience ran out
  kRequested,     // an observer asked: Run() goes on
};

struct TrainingSummary {
  StopReason reason = StopReason::kCompleted;
  int64_t steps = 0;                    // since the beginning of the run, over all resumes
  int64_t epochs = 0;                   // ended
  int64_t skipped_batches = 0;          // likewise
  std::optional<double> best_metric{};  // of `monitor`
  int64_t best_epoch = -1;              // -1: none
  double seconds = 0.0;                 // of this call, in all
  std::vector<RankTime> ranks{};        // of several: where each spent this call's steps
};

// Ownership: borrows network, optimizer, loader (and what the options point to), which outlive it.
// One thread at a time; collective where there are several ranks.
class Trainer {
 public:
  // Binds the optimizer (unless it is bound to this network) and books all memory. The loader's
  // `rank` and `ranks` are the communicator's. Errors: options that make no sense, data that do not
  // fit the network or the loss.
  static Result<std::unique_ptr<Trainer>> Make(Network& network, Optimizer& optimizer,
                                               Loader& loader, TrainerOptions options);

  // Trains to the end. Unless an observer asked to stop, the network then holds what `keep_best`
  // and `ema` say. Errors leave the run at the boundary before the step that failed, ready to be
  // saved, or tried again: a loss or gradient that is not finite (the message names the step, and
  // the layer or parameter), unreadable data, what a dataset throws. SaveBest() still has what was
  // best until then. With several ranks an error of one is the error of all, and names it.
  Result<TrainingSummary> Run();

  // At any step boundary, thus from an observer: all that is needed to go on. Resume() is called
  // before Run(), on a Trainer made with the same options: the run then ends in the same bits, and
  // reports the same numbers, as one that was never stopped. (history() begins at the resume;
  // seconds are those of this process.) With several ranks collective; a run may go on with another
  // number of them. Where Resume() fails on any rank, no rank goes on.
  Status Save(const std::string& path);
  Status Resume(const std::string& path);
  // The weights of the best evaluation so far, for use, as SaveModel writes them; from an observer,
  // too. An error where there are none.
  Status SaveBest(const std::string& path);

  // The network takes the weights of the best evaluation, or the averaged ones. Run() does it at
  // its end; after a requested stop it is for those who do not mean to go on: Run() and Save() then
  // refuse. False if there is nothing to take: the last weights are the result.
  bool TakeResult();

  // The epochs that ended since this Trainer was made.
  const std::vector<EpochReport>& history() const { return history_; }
  const TrainingStep& training_step() const { return *training_step_; }
  int64_t step() const { return progress_.step; }
  int64_t total_steps() const { return total_steps_; }
  // What a checkpoint written now would say.
  TrainingState state() const;

 private:
  // How far the run has come, beside what TrainingState has; in checkpoints, so that a resumed run
  // reports the same.
  struct Progress {
    int64_t step = 0;
    int64_t skipped = 0;
    double epoch_loss_sum = 0.0;  // of the current epoch, over all ranks
    double epoch_loss_weight = 0.0;
    int64_t epoch_samples = 0;
    int64_t epoch_skipped = 0;
    std::optional<double> best_metric{};
    int64_t best_epoch = -1;
    int64_t evaluations_without_gain = 0;
    int64_t ended_step = -1;  // when an epoch was last reported
  };

  Trainer(Network& network, Optimizer& optimizer, Loader& loader, TrainerOptions options);
  Status CheckOptions() const;
  Status CheckMonitor() const;
  Status CheckBatch() const;
  Status Bind();

  bool keeps_best() const { return options_.keep_best && validation_ != nullptr; }
  double LearningRate(int64_t step) const;
  bool PatienceIsOut() const;
  Status Loop(TrainingSummary& summary);
  Status TakeStep(const LoaderPlace& place, bool* epoch_is_over);
  Status TrainBatch(const Batch& batch, const Status& failure);
  Status GatherTimes(RankTime mine, std::vector<RankTime>& all);
  Status ReadCheckpoint(const std::string& path);
  Status EndEpoch(int64_t epoch, bool complete);
  Result<EvaluationReport> EvaluateEpoch(int64_t epoch);
  Status Judge(EvaluationReport& report, double value);
  template <class Call>
  Status Tell(const char* what, const Call& call);
  Result<TrainingSummary> RunToEnd();
  Status SaveRun(const std::string& path);
  Status AgreeOnWishes();
  CheckpointParts Parts(bool with_best);
  Metadata Extra() const;
  Status ReadExtra(const Metadata& meta, const TrainingState& state, Progress& progress) const;

  Network& network_;
  Optimizer& optimizer_;
  Loader& loader_;
  TrainerOptions options_;
  SingleProcess alone_;
  Communicator& communicator_;
  std::unique_ptr<Evaluator> validation_;
  std::unique_ptr<TrainingStep> training_step_;
  std::optional<Ema> ema_;
  ModelCopy best_;
  std::unique_ptr<DigestWriter> digest_;
  int64_t total_steps_ = 0;

  Progress progress_;
  bool result_taken_ = false;
  Wish wish_ = Wish::kGoOn;     // of this rank, which the others do not know of yet
  Status thrown_;               // by an observer, likewise
  Wish agreed_ = Wish::kGoOn;   // of all, for this step
  StepReport report_;           // of the last step
  double epoch_seconds_ = 0.0;  // of steps, in this process
  double epoch_waited_ = 0.0;   // of these
  RankTime run_time_;           // of this call of Run
  int64_t timed_samples_ = 0;   // in those seconds
  std::vector<EpochReport> history_;
};

}  // namespace lockstep

#endif  // LOCKSTEP_ENGINE_TRAIN_TRAINER_H_
