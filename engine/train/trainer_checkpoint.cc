// A run to and from its checkpoint: what TrainingState has no place for goes into further keys of
// the metadata.
#include <charconv>
#include <string>
#include <utility>

#include "engine/base/catch.h"
#include "engine/checkpoint/checkpoint.h"
#include "engine/comm/agreement.h"
#include "engine/io/file.h"
#include "engine/io/hash.h"
#include "engine/io/text.h"
#include "engine/train/trainer.h"

namespace lockstep::inline v0_1 {
namespace {

constexpr char kDatasetSize[] = "dataset_size";
constexpr char kDatasetContent[] = "dataset_content";

template <class T>
Status Take(const Metadata& meta, const std::string& key, T& number) {
  const auto found = meta.find(key);
  if (found == meta.end()) {
    return Status::NotFound("metadata " + Quoted(key) +
                            " is missing: the file is no checkpoint that a run can go on from");
  }
  const std::string& text = found->second;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error == std::errc() && end == text.data() + text.size()) return Status::Ok();
  return Status::Corrupt("metadata " + Quoted(key) + " is " + Quoted(text) +
                         ", expected a number; use another checkpoint");
}

}  // namespace

TrainingState Trainer::state() const {
  const LoaderPlace place = loader_.place();
  return {.step = step(),
          .epoch = place.epoch,
          .batch_in_epoch = place.batch,
          .seed = options_.seed,
          .shards = network_.shards(),
          .best_metric = progress_.best_metric,
          .recipe = options_.recipe,
          .layer_traits = network_.layer_traits()};
}

CheckpointParts Trainer::Parts(bool with_best) {
  return {.network = &network_,
          .optimizer = &optimizer_,
          .ema = ema_ ? &*ema_ : nullptr,
          .best = with_best && keeps_best() ? &best_ : nullptr,
          .standardizer = options_.standardizer ? &*options_.standardizer : nullptr,
          .samples = &loader_.dataset().info()};
}

Metadata Trainer::Extra() const {
  const Progress& p = progress_;
  return {{"batches_per_epoch", std::to_string(loader_.batches_per_epoch())},
          {"samples_per_epoch", std::to_string(loader_.samples_per_epoch())},
          {kDatasetSize, std::to_string(loader_.dataset().size())},
          {kDatasetContent, HexOf(loader_.dataset().info().content)},
          {"monitor", NameOf(options_.monitor)},
          {"skipped_batches", std::to_string(p.skipped)},
          {"epoch_loss_sum", TextOf(p.epoch_loss_sum)},
          {"epoch_loss_weight", TextOf(p.epoch_loss_weight)},
          {"epoch_samples", std::to_string(p.epoch_samples)},
          {"epoch_skipped", std::to_string(p.epoch_skipped)},
          {"best_epoch", std::to_string(p.best_epoch)},
          {"evaluations_without_gain", std::to_string(p.evaluations_without_gain)},
          {"ended_step", std::to_string(p.ended_step)}};
}

Status Trainer::ReadExtra(const Metadata& meta, const TrainingState& state, Progress& p) const {
  p.step = state.step;
  p.best_metric = state.best_metric;
  LOCKSTEP_TRY(Take(meta, "skipped_batches", p.skipped));
  LOCKSTEP_TRY(Take(meta, "epoch_loss_sum", p.epoch_loss_sum));
  LOCKSTEP_TRY(Take(meta, "epoch_loss_weight", p.epoch_loss_weight));
  LOCKSTEP_TRY(Take(meta, "epoch_samples", p.epoch_samples));
  LOCKSTEP_TRY(Take(meta, "epoch_skipped", p.epoch_skipped));
  LOCKSTEP_TRY(Take(meta, "best_epoch", p.best_epoch));
  LOCKSTEP_TRY(Take(meta, "evaluations_without_gain", p.evaluations_without_gain));
  LOCKSTEP_TRY(Take(meta, "ended_step", p.ended_step));

  const auto same = [](const char* what, auto saved, auto now) {
    if (saved == now) return Status::Ok();
    return Status::Invalid("the run was saved with " + std::string(what) + " " +
                           std::to_string(saved) + ", now it is " + std::to_string(now) +
                           ": it would not go on as it began");
  };
  LOCKSTEP_TRY(same("seed", state.seed, options_.seed));
  LOCKSTEP_TRY(same("shards", state.shards, static_cast<int64_t>(network_.shards())));
  int64_t batches = 0, samples = 0;
  LOCKSTEP_TRY(Take(meta, "batches_per_epoch", batches));
  LOCKSTEP_TRY(Take(meta, "samples_per_epoch", samples));
  LOCKSTEP_TRY(same("batches per epoch", batches, loader_.batches_per_epoch()));
  LOCKSTEP_TRY(same("samples per epoch", samples, loader_.samples_per_epoch()));
  // Of a split, the parts can be as large as they were and hold other samples: those to test with
  // would be trained on. Older files do not say it.
  if (meta.contains(kDatasetSize)) {
    int64_t size = 0;
    LOCKSTEP_TRY(Take(meta, kDatasetSize, size));
    LOCKSTEP_TRY(same("samples in all", size, loader_.dataset().size()));
  }
  const DatasetInfo& info = loader_.dataset().info();
  const auto content = meta.find(kDatasetContent);
  const std::string unknown = HexOf(0);  // of datasets that do not say
  if (content != meta.end() && content->second != unknown && info.content != 0 &&
      content->second != HexOf(info.content)) {
    return Status::Invalid("the data are not those the run began with: the content of " +
                           info.name + " has changed; put that back, or start a new run");
  }
  const auto monitor = meta.find("monitor");
  if (p.best_metric && (monitor == meta.end() || monitor->second != NameOf(options_.monitor))) {
    return Status::Invalid("the best weights were chosen by " +
                           (monitor == meta.end() ? "?" : Quoted(monitor->second)) +
                           ", now it is by " + NameOf(options_.monitor));
  }
  return Status::Ok();
}

Status Trainer::Save(const std::string& path) {
  return StatusOf([&] { return SaveRun(path); });
}

Status Trainer::SaveRun(const std::string& path) {
  if (result_taken_) {
    return Status::Invalid(path +
                           ": the run has ended and the network holds its result, from which no "
                           "run can go on; SaveModel saves it");
  }
  return WriteCheckpoint(path, Parts(progress_.best_metric.has_value()), state(), Extra(),
                         &communicator_);
}

Status Trainer::SaveBest(const std::string& path) {
  if (!keeps_best() || !progress_.best_metric)
    return Status::Invalid(path + ": this run has no best weights to save");
  const CheckpointParts all = Parts(/*with_best=*/false);
  return StatusOf([&] {
    return WriteCheckpoint(path,
                           {.network = all.network,
                            .standardizer = all.standardizer,
                            .samples = all.samples,
                            .weights = &best_},
                           state(), {}, &communicator_);
  });
}

Status Trainer::Resume(const std::string& path) {
  if (step() > 0 || result_taken_)
    return Status::Invalid(path + ": Resume comes before Run, of a Trainer made anew");
  return StatusOf(
      [&] { return Agree(communicator_, StatusOf([&] { return ReadCheckpoint(path); })); });
}

Status Trainer::ReadCheckpoint(const std::string& path) {
  LOCKSTEP_TRY_ASSIGN(const Checkpoint checkpoint, LoadCheckpoint(path));
  Result<TrainingState> state = TrainingStateFrom(checkpoint.meta);
  if (!state.ok()) return state.status().At(path);
  Progress progress;
  LOCKSTEP_TRY(ReadExtra(checkpoint.meta, *state, progress).At(path));
  LOCKSTEP_TRY(loader_.Seek({.epoch = state->epoch, .batch = state->batch_in_epoch}).At(path));
  const Status read =
      ReadInto(checkpoint, Parts(progress.best_metric.has_value())).status().At(path);
  if (!read.ok()) {
    LOCKSTEP_TRY(loader_.Seek({}));
    return read;
  }
  progress_ = progress;
  return Status::Ok();
}

}  // namespace lockstep
