#include "engine/train/trainer.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstring>
#include <limits>
#include <span>
#include <utility>

#include "engine/base/catch.h"
#include "engine/base/integers.h"
#include "engine/comm/agreement.h"
#include "engine/data/objective.h"
#include "engine/io/text.h"
#include "engine/parallel/shards.h"

namespace lockstep::inline v0_1 {
namespace {

using Clock = std::chrono::steady_clock;

double SecondsSince(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

double MeanOf(double sum, double weight) { return weight == 0.0 ? 0.0 : sum / weight; }

Status Bad(const std::string& setting, const std::string& wanted, double value) {
  return Status::Invalid(setting + " must be " + wanted + ", not " + TextOf(value));
}

}  // namespace

Trainer::Trainer(Network& network, Optimizer& optimizer, Loader& loader, TrainerOptions options)
    : network_(network),
      optimizer_(optimizer),
      loader_(loader),
      options_(std::move(options)),
      communicator_(network.communicator() == nullptr ? alone_ : *network.communicator()) {}

Result<std::unique_ptr<Trainer>> Trainer::Make(Network& network, Optimizer& optimizer,
                                               Loader& loader, TrainerOptions options) {
  return StatusOf([&]() -> Result<std::unique_ptr<Trainer>> {
    std::unique_ptr<Trainer> trainer(new Trainer(network, optimizer, loader, std::move(options)));
    LOCKSTEP_TRY(trainer->CheckOptions());
    LOCKSTEP_TRY(CheckFits(network, loader.dataset()));
    LOCKSTEP_TRY(trainer->CheckBatch());
    LOCKSTEP_TRY(trainer->Bind());
    return trainer;
  });
}

Status Trainer::CheckOptions() const {
  const TrainerOptions& o = options_;
  if (o.epochs < 0) return Bad("epochs", "0 or more", static_cast<double>(o.epochs));
  if (o.max_steps < 0) return Bad("max_steps", "0 or more", static_cast<double>(o.max_steps));
  if (o.epochs == 0 && o.max_steps == 0)
    return Status::Invalid("a run needs an end: set epochs or max_steps");
  if (o.epochs > std::numeric_limits<int64_t>::max() / loader_.batches_per_epoch())
    return Bad("epochs", "a number that can be counted", static_cast<double>(o.epochs));
  if (!(o.clip_norm >= 0.0)) return Bad("clip_norm", "0 or more", o.clip_norm);
  if (o.micro_batches < 1)
    return Bad("micro_batches", "1 or more", static_cast<double>(o.micro_batches));
  if (o.evaluate_every < 1)
    return Bad("evaluate_every", "1 or more", static_cast<double>(o.evaluate_every));
  if (o.early_stopping) {
    if (o.validation.empty())
      return Status::Invalid("early stopping needs validation samples to judge by");
    if (o.early_stopping->patience < 1)
      return Bad("patience", "1 or more", static_cast<double>(o.early_stopping->patience));
    if (!(o.early_stopping->min_delta >= 0.0))
      return Bad("min_delta", "0 or more", o.early_stopping->min_delta);
  }
  if (o.evaluation_batch < 0)
    return Bad("evaluation_batch", "0 or more", static_cast<double>(o.evaluation_batch));
  if (o.validation.empty()) return Status::Ok();
  if (o.validation.dataset == nullptr)
    return Status::Invalid("validation has the numbers of samples, but its dataset is null");
  return CheckMonitor();
}

Status Trainer::CheckMonitor() const {
  const DatasetInfo& info = options_.validation.dataset->info();
  if (HasMetric(info, options_.monitor)) return Status::Ok();
  return Status::Invalid(std::string("there is no ") + NameOf(options_.monitor) +
                         " of this task to monitor; choose " + MetricsText(info));
}

Status Trainer::CheckBatch() const {
  const int64_t part = CeilDiv(loader_.largest_count(), options_.micro_batches);
  const int64_t bound = network_.input_shape().batch();
  if (part <= bound) return Status::Ok();
  return Status::Invalid("batches of " + std::to_string(loader_.largest_count()) + " samples in " +
                         std::to_string(options_.micro_batches) +
                         " part(s) need a network bound for " + std::to_string(part) +
                         " samples; it was bound for " + std::to_string(bound));
}

Status Trainer::Bind() {
  const int64_t all_epochs = options_.epochs * loader_.batches_per_epoch();
  total_steps_ = options_.epochs == 0      ? options_.max_steps
                 : options_.max_steps == 0 ? all_epochs
                                           : std::min(all_epochs, options_.max_steps);
  LOCKSTEP_TRY(CheckSchedule(options_.schedule, total_steps_));
  LOCKSTEP_TRY_ASSIGN(training_step_, TrainingStep::Make(network_, {.clip_norm = options_.clip_norm,
                                                                    .parts = options_.micro_batches,
                                                                    .wire = options_.wire}));
  LOCKSTEP_TRY(training_step_->BindOptimizer(optimizer_));
  if (options_.ema) {
    ema_.emplace(*options_.ema);
    LOCKSTEP_TRY(ema_->Bind(network_.context(), network_.store()));
  }
  if (!options_.validation.empty()) {
    LOCKSTEP_TRY_ASSIGN(validation_, Evaluator::Make(network_, options_.validation,
                                                     {.batch = options_.evaluation_batch,
                                                      .communicator = &communicator_}));
    if (options_.keep_best) best_ = ModelCopy(network_);
  }
  return Status::Ok();
}

Result<TrainingSummary> Trainer::Run() {
  return StatusOf([&] { return RunToEnd(); });
}

Result<TrainingSummary> Trainer::RunToEnd() {
  if (result_taken_) return Status::Invalid("this run has ended and the network holds its result");
  const Clock::time_point start = Clock::now();
  TrainingSummary summary;
  wish_ = agreed_ = Wish::kGoOn;
  run_time_ = {};
  if (!options_.digest.empty() && digest_ == nullptr) {
    Result<std::unique_ptr<DigestWriter>> digest =
        DigestWriter::Make(options_.digest, /*append=*/step() > 0, communicator_);
    LOCKSTEP_TRY(Agree(communicator_, digest.status()));
    digest_ = std::move(*digest);
  }
  LOCKSTEP_TRY(Loop(summary));
  // What an observer has thrown since the last step, on any rank.
  LOCKSTEP_TRY(Agree(communicator_, std::exchange(thrown_, Status::Ok())));
  summary.steps = step();
  summary.epochs = loader_.place().epoch;
  summary.skipped_batches = progress_.skipped;
  summary.best_metric = progress_.best_metric;
  summary.best_epoch = progress_.best_epoch;
  LOCKSTEP_TRY(GatherTimes(run_time_, summary.ranks));
  if (summary.reason != StopReason::kRequested) TakeResult();
  summary.seconds = SecondsSince(start);
  return summary;
}

// Errors come on all ranks at the same place.
Status Trainer::Loop(TrainingSummary& summary) {
  for (;;) {
    const LoaderPlace place = loader_.place();
    if (PatienceIsOut()) {
      summary.reason = StopReason::kEarlyStopped;
      return Status::Ok();
    }
    if (step() >= total_steps_ && place.batch < loader_.batches_per_epoch()) {
      // max_steps can end a run within an epoch, which is then reported as far as it went.
      if (place.batch > 0 && progress_.ended_step != step())
        LOCKSTEP_TRY(EndEpoch(place.epoch, /*complete=*/false));
      return Status::Ok();
    }
    if (agreed_ == Wish::kStop) {
      summary.reason = StopReason::kRequested;
      return Status::Ok();
    }
    bool epoch_is_over = false;
    LOCKSTEP_TRY(TakeStep(place, &epoch_is_over));
    if (epoch_is_over) LOCKSTEP_TRY(EndEpoch(place.epoch, /*complete=*/true));
  }
}

Status Trainer::TakeStep(const LoaderPlace& place, bool* epoch_is_over) {
  const Clock::time_point start = Clock::now();
  const double waited = communicator_.waited_seconds();
  Result<const Batch*> batch = StatusOf([&] { return loader_.Next(); });
  *epoch_is_over = batch.ok() && *batch == nullptr;
  if (*epoch_is_over) return Status::Ok();
  if (!thrown_.ok()) batch = std::exchange(thrown_, Status::Ok());
  // Others have their batch: a rank without one takes part, so that they need not wait for it.
  const bool others = communicator_.size() > 1;
  Batch none;
  none.epoch = place.epoch;
  none.number = place.batch;
  const Status status = batch.ok() ? TrainBatch(**batch, {})
                        : others   ? TrainBatch(none, batch.status())
                                   : batch.status();
  if (!status.ok()) {
    // It has changed nothing; the loader stands before its batch again as well, so that
    // what is saved now goes on with it.
    LOCKSTEP_TRY(loader_.Seek(place));
    return status;
  }
  if (digest_ != nullptr) LOCKSTEP_TRY(Agree(communicator_, digest_->Add(step(), network_)));
  const double seconds = SecondsSince(start), waits = communicator_.waited_seconds() - waited;
  epoch_seconds_ += seconds;
  epoch_waited_ += waits;
  run_time_.seconds += seconds;
  run_time_.waited += waits;
  timed_samples_ += report_.samples;
  report_.samples_per_second = MeanOf(static_cast<double>(timed_samples_), epoch_seconds_);
  TrainingObserver* observer = options_.observer;
  if (observer == nullptr) return Status::Ok();
  const bool save = communicator_.size() > 1 && agreed_ == Wish::kSave;
  LOCKSTEP_TRY(Tell("TrainingObserver::OnStep", [&] { return observer->OnStep(report_); }));
  return save ? Tell("TrainingObserver::OnSave", [&] { return observer->OnSave(); }) : Status::Ok();
}

Status Trainer::GatherTimes(RankTime mine, std::vector<RankTime>& all) {
  if (communicator_.size() == 1) return Status::Ok();
  LOCKSTEP_TRY_ASSIGN(all, GatherAll(communicator_, std::span<const RankTime>(&mine, 1)));
  return Status::Ok();
}

double Trainer::LearningRate(int64_t step) const {
  return optimizer_.learning_rate() * ScheduleFactor(options_.schedule, step, total_steps_);
}

bool Trainer::PatienceIsOut() const {
  return options_.early_stopping &&
         progress_.evaluations_without_gain >= options_.early_stopping->patience;
}

// What this rank wishes goes with its next step to the others; a process that is alone knows it.
// What an observer throws goes the same way.
template <class Call>
Status Trainer::Tell(const char* what, const Call& call) {
  const bool alone = communicator_.size() == 1;
  const Result<Wish> wish = StatusOf([&]() -> Result<Wish> {
    const Wish first = call();
    return alone && first == Wish::kSave ? options_.observer->OnSave() : first;
  });
  if (!wish.ok()) {
    const Status thrown = wish.status().At(what);
    if (alone) return thrown;
    if (thrown_.ok()) thrown_ = thrown;
  } else if (!alone) {
    wish_ = std::max(wish_, *wish);
  } else if (*wish == Wish::kStop) {
    agreed_ = *wish;
  }
  return Status::Ok();
}

// After a step that has told the ranks that one of them wishes something.
Status Trainer::AgreeOnWishes() {
  LOCKSTEP_TRY_ASSIGN(const std::vector<Wish> all,
                      GatherAll(communicator_, std::span<const Wish>(&wish_, 1)));
  agreed_ = *std::max_element(all.begin(), all.end());
  wish_ = Wish::kGoOn;
  return Status::Ok();
}

Status Trainer::TrainBatch(const Batch& batch, const Status& failure) {
  const auto where = [&] {
    return "epoch " + std::to_string(batch.epoch) + ", batch " + std::to_string(batch.number);
  };
  report_ = {.step = step() + 1,
             .epoch = batch.epoch,
             .batch = batch.number,
             .batches = loader_.batches_per_epoch(),
             .samples = batch.global_count,
             .learning_rate = LearningRate(step())};
  const BatchInputs inputs(batch, network_);
  const bool wishes = wish_ != Wish::kGoOn;
  const Result<TrainingStepReport> done =
      training_step_->Run({.inputs = inputs.all(),
                           .samples = batch.count,
                           .global_samples = batch.global_count,
                           .failure = failure.ok() ? nullptr : &failure},
                          static_cast<uint64_t>(step()), optimizer_, report_.learning_rate, wishes);
  if (!done.ok()) return done.status().At(where() + ", step " + std::to_string(step()));
  report_.skipped = done->skipped;
  report_.gradient_norm = done->gradient_norm;
  if (!report_.skipped) {
    progress_.epoch_samples += batch.global_count;
    if (ema_) ema_->Update(network_.context(), network_.store());
  }
  if (communicator_.size() > 1) {
    agreed_ = Wish::kGoOn;
    if (done->any_wish) LOCKSTEP_TRY(AgreeOnWishes());
  }
  ++progress_.step;
  progress_.skipped += report_.skipped;
  progress_.epoch_skipped += report_.skipped;
  progress_.epoch_loss_sum += done->loss.sum;
  progress_.epoch_loss_weight += done->loss.weight;
  report_.loss = MeanOf(done->loss.sum, done->loss.weight);
  report_.epoch_loss = MeanOf(progress_.epoch_loss_sum, progress_.epoch_loss_weight);
  return Status::Ok();
}

// Everything is settled before observers hear of it, so that one which saves, saves the boundary.
Status Trainer::EndEpoch(int64_t epoch, bool complete) {
  EpochReport report{.epoch = epoch,
                     .step = step(),
                     .train_loss = MeanOf(progress_.epoch_loss_sum, progress_.epoch_loss_weight),
                     .learning_rate = LearningRate(std::max<int64_t>(step() - 1, 0)),
                     .samples = progress_.epoch_samples,
                     .skipped_batches = progress_.epoch_skipped,
                     .seconds = epoch_seconds_};
  LOCKSTEP_TRY(GatherTimes({.seconds = epoch_seconds_, .waited = epoch_waited_}, report.ranks));
  std::optional<EvaluationReport> evaluation;
  const bool last = step() >= total_steps_;
  if (validation_ != nullptr && (last || (epoch + 1) % options_.evaluate_every == 0)) {
    LOCKSTEP_TRY_ASSIGN(evaluation, EvaluateEpoch(epoch));
    report.validation = evaluation->result;
  }
  if (complete) {
    progress_.epoch_loss_sum = progress_.epoch_loss_weight = 0.0;
    progress_.epoch_samples = progress_.epoch_skipped = 0;
    epoch_seconds_ = epoch_waited_ = 0.0;
    timed_samples_ = 0;
  }
  progress_.ended_step = step();
  history_.push_back(report);
  TrainingObserver* const observer = options_.observer;
  if (observer == nullptr) return Status::Ok();
  if (evaluation)
    LOCKSTEP_TRY(Tell("TrainingObserver::OnEvaluation",
                      [&] { return observer->OnEvaluation(*evaluation); }));
  return Tell("TrainingObserver::OnEpoch", [&] { return observer->OnEpoch(report); });
}

Result<EvaluationReport> Trainer::EvaluateEpoch(int64_t epoch) {
  const Clock::time_point start = Clock::now();
  EvaluationReport report{.step = step(), .epoch = epoch};
  {
    std::optional<Ema::Swap> averaged;
    if (ema_) averaged.emplace(*ema_, network_.context(), network_.store());
    Result<EvaluationResult> result = validation_->Run();
    if (!result.ok()) {
      return result.status().At("epoch " + std::to_string(epoch) + ", evaluation at step " +
                                std::to_string(step()));
    }
    report.result = std::move(*result);
    const std::optional<double> value = ValueOf(report.result, options_.monitor);
    if (!value) {
      return Status::Invalid(std::string("the validation samples have no ") +
                             NameOf(options_.monitor) +
                             ": they are all of one class, or all the same");
    }
    LOCKSTEP_TRY(Judge(report, *value));
  }
  report.seconds = SecondsSince(start);
  return report;
}

Status Trainer::Judge(EvaluationReport& report, double value) {
  const double min_delta = options_.early_stopping ? options_.early_stopping->min_delta : 0.0;
  const double gain = !progress_.best_metric             ? std::numeric_limits<double>::infinity()
                      : LargerIsBetter(options_.monitor) ? value - *progress_.best_metric
                                                         : *progress_.best_metric - value;
  report.improved = gain > min_delta;
  ++progress_.evaluations_without_gain;
  if (report.improved) {
    progress_.best_metric = value;
    progress_.best_epoch = report.epoch;
    progress_.evaluations_without_gain = 0;
    if (keeps_best()) LOCKSTEP_TRY(best_.TakeFrom(network_));
  }
  report.evaluations_without_gain = progress_.evaluations_without_gain;
  return Status::Ok();
}

bool Trainer::TakeResult() {
  if (keeps_best() && progress_.best_metric) {
    if (!best_.ApplyTo(network_).ok()) return false;
  } else if (ema_ && ema_->update_count() > 0) {
    const std::vector<NamedTensor> live = ModelTensors(network_);
    for (size_t i = 0; i < live.size(); ++i) {
      const Tensor average = ema_->states()[i].tensor;
      std::memcpy(live[i].tensor.data(), average.data(), average.bytes());
    }
    network_.store().Changed();
  } else {
    return false;
  }
  result_taken_ = true;
  return true;
}

}  // namespace lockstep
