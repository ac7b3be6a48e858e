#include "tools/command/recorder.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <span>
#include <utility>

#include "engine/io/file.h"
#include "tools/command/rank_times.h"
#include "tools/command/terminal.h"

namespace lockstep::inline v0_1::tools {
namespace {

namespace fs = std::filesystem;

std::vector<std::string> Columns() {
  std::vector<std::string> columns = {"train_loss", "learning_rate", "seconds",
                                      "samples_per_second"};
  for (const Metric metric : kMetrics) columns.emplace_back(NameOf(metric));
  return columns;
}

// Every layer's output as a histogram.
class ActivationEvents final : public StepObserver {
 public:
  ActivationEvents(EventWriter& events, int64_t step) : events_(events), step_(step) {}
  void Before(const std::string&, bool) override {}
  void After(const std::string& layer, bool, ConstTensor y) override {
    if (status_.ok() && y.dtype() == DType::kF32) {
      status_ = events_.AddHistogram("activations/" + layer, step_, MakeHistogram(y.span<float>()));
    }
  }
  const Status& status() const { return status_; }

 private:
  EventWriter& events_;
  int64_t step_;
  Status status_;
};

}  // namespace

Recorder::Recorder(RecorderOptions options)
    : options_(std::move(options)), line_({.epochs = options_.epochs, .curve = options_.curve}) {}

Result<std::unique_ptr<Recorder>> Recorder::Make(RecorderOptions options) {
  std::unique_ptr<Loader> sample;
  if (options.output.histograms && !options.sample.empty()) {
    const auto batch = static_cast<int64_t>(options.sample.indices.size());
    LOCKSTEP_TRY_ASSIGN(sample, Loader::Make(options.sample.dataset, options.sample.indices,
                                             {.batch = batch, .shuffle = false}));
  }
  std::unique_ptr<Recorder> recorder(new Recorder(std::move(options)));
  recorder->sample_ = std::move(sample);
  return recorder;
}

Status Recorder::OpenFiles() {
  const std::string& folder = folder_.path;
  const bool resume = options_.resumed_step >= 0;
  Result<MetricsLog> log = resume ? MetricsLog::Resume(folder, Columns(), options_.resumed_step)
                                  : MetricsLog::Start(folder, Columns());
  LOCKSTEP_TRY(log.status());
  log_.emplace(std::move(*log));
  Result<EventWriter> events =
      EventWriter::Open(folder, {.purge_step = resume ? options_.resumed_step + 1 : -1});
  LOCKSTEP_TRY(events.status());
  events_.emplace(std::move(*events));
  if (resume && options_.say) {
    LOCKSTEP_TRY_ASSIGN(texts_, ReadTextSamples(folder_.samples(), options_.resumed_step));
  }
  return Status::Ok();
}

Status Recorder::Attach(RunFolder run_folder, Trainer* trainer, Network* network) {
  folder_ = std::move(run_folder);
  trainer_ = trainer;
  network_ = network;
  LOCKSTEP_TRY(options_.ranks->Agree(writes() ? OpenFiles() : Status::Ok()));
  // As rank 0 sees the folder.
  const auto exists = [](const std::string& path) {
    std::error_code ignored;
    return fs::exists(path, ignored);
  };
  const bool saved = options_.resumed_step >= 0 && exists(folder_.last());
  LOCKSTEP_TRY_ASSIGN(
      const std::string seen,
      options_.ranks->TextFromFirst({saved ? 'y' : 'n', exists(folder_.model()) ? 'y' : 'n'}));
  if (seen[0] == 'y') saved_step_ = trainer->step();
  best_is_new_ = options_.keeps_best && trainer->state().best_metric.has_value() && seen[1] == 'n';
  last_save_ = Clock::now();
  return Status::Ok();
}

Wish Recorder::wish() const {
  const bool asked = options_.stop != nullptr && *options_.stop;
  return asked || !status_.ok() || line_.reader_gone() ? Wish::kStop : Wish::kGoOn;
}

void Recorder::KeepFirstError(Status status) {
  if (status_.ok()) status_ = std::move(status);
}

// What is done between two checkpoints may be lost to a power cut, no more: an epoch can take
// hours.
bool Recorder::Due() const {
  return writes() && status_.ok() &&
         std::chrono::duration<double>(Clock::now() - last_save_).count() >=
             options_.output.checkpoint_seconds;
}

Wish Recorder::OnStep(const StepReport& report) {
  samples_per_second_ = report.samples_per_second;
  if (writes()) line_.Step(report, trainer_->total_steps());
  return std::max(wish(), Due() ? Wish::kSave : Wish::kGoOn);
}

Wish Recorder::OnSave() {
  KeepFirstError(SaveAll());
  return wish();
}

Wish Recorder::OnEvaluation(const EvaluationReport& report) {
  improved_ = report.improved;
  best_is_new_ = best_is_new_ || (report.improved && options_.keeps_best);
  ends_ = options_.patience > 0 && report.evaluations_without_gain >= options_.patience;
  return Wish::kGoOn;
}

Wish Recorder::OnEpoch(const EpochReport& report) {
  if (writes()) {
    line_.Epoch(report, improved_);
    if (const std::string slow = SlowRank(report.ranks); !slow.empty()) Say("note: " + slow + "\n");
    const Clock::time_point start = Clock::now();
    KeepFirstError(Record(report));
    seconds_ += std::chrono::duration<double>(Clock::now() - start).count();
  }
  improved_ = false;
  // The best so far reaches the disk at once, and with it the run as it then was: should the loss
  // leave the finite numbers later, this is where it can go on. Also after the last epoch, so that
  // a run can be given more of them. All ranks know of both.
  const bool last = ends_ || report.epoch + 1 == options_.epochs;
  if (best_is_new_ || last) KeepFirstError(SaveAll());
  return std::max(wish(), Due() ? Wish::kSave : Wish::kGoOn);
}

// Rows and events reach their files before a checkpoint of the same step does: a run that goes on
// from it finds them there.
Status Recorder::Record(const EpochReport& report) {
  std::vector<MetricValue> values = {{"train_loss", report.train_loss},
                                     {"learning_rate", report.learning_rate},
                                     {"seconds", report.seconds},
                                     {"samples_per_second", samples_per_second_}};
  LOCKSTEP_TRY(events_->Scalar("loss/train", report.step, report.train_loss));
  LOCKSTEP_TRY(events_->Scalar("learning_rate", report.step, report.learning_rate));
  LOCKSTEP_TRY(events_->Scalar("samples_per_second", report.step, samples_per_second_));
  for (const Metric metric : kMetrics) {
    const auto value = report.validation ? ValueOf(*report.validation, metric) : std::nullopt;
    if (!value) continue;
    values.push_back({NameOf(metric), *value});
    LOCKSTEP_TRY(events_->Scalar(std::string(NameOf(metric)) + "/validation", report.step, *value));
  }
  LOCKSTEP_TRY(log_->Append(report.epoch, report.step, values));
  rows_are_new_ = true;
  if (options_.output.histograms) LOCKSTEP_TRY(AddHistograms(report.step));
  if (options_.say && report.validation) LOCKSTEP_TRY(AddTexts(report));
  return events_->Flush();
}

Status Recorder::AddHistograms(int64_t step) {
  const ConstParameterSet parameters = network_->parameters();
  for (size_t i = 0; i < parameters.infos.size(); ++i) {
    LOCKSTEP_TRY(events_->AddHistogram("weights/" + parameters.infos[i].name, step,
                                       MakeHistogram(parameters.value(i).span<float>())));
  }
  if (sample_ == nullptr) return Status::Ok();
  LOCKSTEP_TRY(sample_->Seek({}));
  LOCKSTEP_TRY_ASSIGN(const Batch* batch, sample_->Next());
  ActivationEvents activations(*events_, step);
  LOCKSTEP_TRY(network_->Evaluate(BatchInputs(*batch, *network_).all(), &activations).status());
  return activations.status();
}

// All of them once more: they are few, and the file is whole at any time.
Status Recorder::AddTexts(const EpochReport& report) {
  LOCKSTEP_TRY_ASSIGN(std::vector<TextSample> said, options_.say(*network_));
  for (TextSample& text : said) {
    text.epoch = report.epoch;
    text.step = report.step;
    texts_.push_back(std::move(text));
  }
  return WriteTextSamples(folder_.samples(), texts_);
}

// A second name for the checkpoint that is about to be replaced. Where the file system has no such
// names, a copy.
Status Recorder::KeepOlder() {
  std::error_code error;
  if (options_.output.keep_checkpoints <= 1 || saved_step_ < 0 || saved_step_ == trainer_->step() ||
      !fs::exists(folder_.last(), error)) {
    return Status::Ok();
  }
  const std::string older = folder_.checkpoint(saved_step_);
  fs::remove(older, error);
  fs::create_hard_link(folder_.last(), older, error);
  if (!error) return Status::Ok();
  fs::copy_file(folder_.last(), older + ".tmp", fs::copy_options::overwrite_existing, error);
  if (!error) fs::rename(older + ".tmp", older, error);
  return error ? FileError(older, "write", error.value()) : Status::Ok();
}

Status Recorder::SaveAll() {
  const Clock::time_point start = Clock::now();
  // What failed on one rank before keeps all from saving.
  Status before = status_;
  if (before.ok() && writes()) before = KeepOlder();
  if (before.ok() && writes()) before = SyncRows();
  LOCKSTEP_TRY(options_.ranks->Agree(before));
  // The model first: a run that goes on from the checkpoint would not write it again.
  if (best_is_new_) LOCKSTEP_TRY(trainer_->SaveBest(folder_.model()));
  best_is_new_ = false;
  LOCKSTEP_TRY(trainer_->Save(folder_.last()));
  saved_step_ = trainer_->step();
  const Status dropped = writes() ? DropOldCheckpoints() : Status::Ok();
  last_save_ = Clock::now();
  seconds_ += std::chrono::duration<double>(last_save_ - start).count();
  return options_.ranks->Agree(dropped);
}

// A checkpoint is on the disk when it is there; the rows of epochs before it must be so as well,
// or a power cut would leave a gap in them.
Status Recorder::SyncRows() {
  if (!rows_are_new_) return Status::Ok();
  for (const std::string& path : {folder_.metrics(), folder_.metrics_jsonl(), events_->path()}) {
    const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (fd < 0) return FileError(path, "open", errno);
    const int error = fsync(fd) == 0 || errno == EINTR || errno == EINVAL ? 0 : errno;
    close(fd);
    if (error != 0) return FileError(path, "write", error);
  }
  rows_are_new_ = false;
  return Status::Ok();
}

Status Recorder::DropOldCheckpoints() {
  LOCKSTEP_TRY_ASSIGN(std::vector<int64_t> steps, folder_.OlderCheckpoints());
  const auto keep = static_cast<size_t>(options_.output.keep_checkpoints - 1);
  std::error_code error;
  for (size_t i = 0; i + keep < steps.size(); ++i) {
    const std::string path = folder_.checkpoint(steps[i]);
    if (!fs::remove(path, error) && error) return FileError(path, "remove", error.value());
  }
  return Status::Ok();
}

Status Recorder::End() {
  if (writes()) line_.End();
  if (events_) KeepFirstError(events_->Flush());
  return status_;
}

int64_t ReportedStep(const Checkpoint& checkpoint, const TrainingState& state) {
  const auto ended = checkpoint.meta.find("ended_step");
  const bool reported =
      ended != checkpoint.meta.end() && ended->second == std::to_string(state.step);
  return reported ? state.step : std::max<int64_t>(state.step - 1, 0);
}

}  // namespace lockstep::tools
