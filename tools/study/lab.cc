// Where the networks of a study are trained: see Lab in study.h.
#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdio>
#include <exception>
#include <limits>
#include <memory>
#include <mutex>
#include <utility>

#include "engine/base/integers.h"
#include "engine/base/random.h"
#include "tools/command/terminal.h"
#include "tools/study/study.h"

namespace lockstep::inline v0_1::tools {
namespace {

std::string KeyOf(const std::string& setting) { return setting.substr(0, setting.find('=')); }

// Every n-th sample, so that `keep` are left: files are sorted at times.
void CutTo(Subset& subset, int64_t keep) {
  const auto size = static_cast<int64_t>(subset.indices.size());
  if (size <= keep) return;
  for (int64_t i = 0; i < keep; ++i) {
    subset.indices[static_cast<size_t>(i)] = subset.indices[static_cast<size_t>(i * size / keep)];
  }
  subset.indices.resize(static_cast<size_t>(keep));
}

class Recorder final : public TrainingObserver {
 public:
  Recorder(Look look, const Watch& watch) : look_(look), watch_(watch) {}

  Wish OnStep(const StepReport& report) override {
    look_.outcome.step_loss.push_back(report.loss);
    return Wish::kGoOn;
  }
  Wish OnEpoch(const EpochReport& report) override {
    look_.epoch = report.epoch + 1;
    if (watch_) status_ = watch_(look_);
    return status_.ok() ? Wish::kGoOn : Wish::kStop;
  }
  Status AtEnd() {
    look_.end = true;
    return watch_ ? watch_(look_) : Status::Ok();
  }
  const Status& status() const { return status_; }

 private:
  Look look_;
  const Watch& watch_;
  Status status_;
};

// How far the trials are: a live line on a terminal, elsewhere a line for each quarter.
class Progress {
 public:
  Progress(std::string name, int64_t trials)
      : name_(std::move(name)), trials_(trials), live_(TerminalOf(stderr).cursor) {
    Show();
  }
  ~Progress() {
    if (live_) std::fprintf(stderr, "\n");
  }
  void Done() {
    const std::lock_guard lock(mutex_);
    ++done_;
    if (live_ || done_ * 4 / trials_ != (done_ - 1) * 4 / trials_) Show();
  }

 private:
  void Show() const {
    std::fprintf(stderr,
                 live_ ? "\rstudy %s: %lld of %lld trials" : "study %s: %lld of %lld trials\n",
                 name_.c_str(), static_cast<long long>(done_), static_cast<long long>(trials_));
    std::fflush(stderr);
  }

  std::string name_;
  int64_t trials_;
  bool live_;
  int64_t done_ = 0;
  std::mutex mutex_;
};

}  // namespace

Result<Samples> Samples::Gather(const Dataset& dataset, std::span<const int64_t> indices) {
  const auto count = static_cast<int64_t>(indices.size());
  const DatasetInfo& info = dataset.info();
  if (info.x_dtype != DType::kF32 && info.x_dtype != DType::kI32)
    return Status::Invalid("a study needs samples of numbers, pixels or tokens");
  Samples samples;
  samples.x_dtype_ = info.x_dtype;
  samples.x_shape_ = dataset.XShape(count);
  samples.target_shape_ = dataset.TargetShape(count);
  samples.target_dtype_ = info.target_dtype;
  samples.x_.resize(static_cast<size_t>(samples.x_shape_.size()) * SizeOf(info.x_dtype));
  samples.target_.resize(static_cast<size_t>(samples.target_shape_.size()) *
                         SizeOf(info.target_dtype));
  LOCKSTEP_TRY(
      dataset.Gather(indices, {samples.x_.data(), info.x_dtype, samples.x_shape_},
                     {samples.target_.data(), samples.target_dtype_, samples.target_shape_}));
  return samples;
}

std::vector<int64_t> Draw(std::span<const int64_t> from, int64_t count, uint64_t seed,
                          uint64_t draw) {
  std::vector<int64_t> all(from.begin(), from.end());
  Random random(seed, StreamOf("study") + draw);
  const auto n = std::min(count, static_cast<int64_t>(all.size()));
  for (int64_t i = 0; i < n; ++i) {
    const uint64_t rest = all.size() - static_cast<uint64_t>(i);
    std::swap(all[static_cast<size_t>(i)],
              all[static_cast<size_t>(i) + static_cast<size_t>(random.Below(rest))]);
  }
  all.resize(static_cast<size_t>(n));
  return all;
}

std::vector<int64_t> BesideOthers(int64_t sample, std::span<const int64_t> from, int64_t batch,
                                  uint64_t seed, uint64_t draw) {
  std::vector<int64_t> indices = Draw(from, batch, seed, draw);
  const auto drawn = std::find(indices.begin(), indices.end(), sample);
  if (drawn != indices.end()) *drawn = indices[0];
  indices[0] = sample;
  return indices;
}

Status NoiseOfOutputs(const Look& at, const Subset& data, int64_t batch, int64_t count,
                      double& noise) {
  const auto seed = static_cast<uint64_t>(at.recipe.train.seed);
  const std::vector<int64_t> probes = Draw(data.indices, count, seed, 1000);
  double within = 0.0;
  std::vector<double> means;  // of each output of each probe, over the draws
  for (size_t p = 0; p < probes.size(); ++p) {
    std::vector<std::vector<double>> seen;  // by draw
    for (int64_t draw = 0; draw < count; ++draw) {
      const std::vector<int64_t> indices =
          BesideOthers(probes[p], data.indices, batch, seed,
                       2000 + p * static_cast<uint64_t>(count) + static_cast<uint64_t>(draw));
      LOCKSTEP_TRY_ASSIGN(const Samples samples, Samples::Gather(*data.dataset, indices));
      LOCKSTEP_TRY(at.net.EvaluateInTrainingMode(samples.x(), samples.target()).status());
      const auto y = at.net.output().Samples(0, 1).span<float>();
      seen.emplace_back(y.begin(), y.end());
    }
    for (size_t i = 0; i < seen[0].size(); ++i) {
      std::vector<double> values;
      for (const std::vector<double>& y : seen) values.push_back(y[i]);
      const Spread spread = SpreadOf(values);
      within += spread.sd * spread.sd;
      means.push_back(spread.mean);
    }
  }
  noise =
      std::sqrt(within / static_cast<double>(means.size())) / std::max(SpreadOf(means).sd, 1e-30);
  return Status::Ok();
}

Result<Lab> Lab::Make(const Study& study, const Settings& overrides, int64_t seeds) {
  const std::string name = study.FileName();
  const Settings &fixed = study.fixed, &varied = study.varied;
  if (seeds < 1 || seeds > 1000)
    return Status::Invalid("--seeds must be between 1 and 1000, not " + std::to_string(seeds));
  Lab lab;
  lab.name_ = name;
  lab.seeds_ = seeds;
  lab.settings_ = fixed;
  bool has_path = false, has_kind = false;
  for (const std::string& override_text : overrides) {
    const std::string key = KeyOf(override_text);
    if (std::find(varied.begin(), varied.end(), key) != varied.end()) {
      return Status::Invalid("study " + name + " varies " + key +
                             " itself; leave it out, or use lockstep train");
    }
    if (key == "model.kind")
      return Status::Invalid("study " + name + " is about one kind of network: leave out " + key);
    if (key.starts_with("output."))
      return Status::Invalid("a study is written where --output says; leave out " + key);
    has_path = has_path || key == "data.path";
    has_kind = has_kind || key == "data.kind";
  }
  // A path alone is a folder with MNIST, or for a study with --cnn CIFAR-10: the built-in sets have
  // no files.
  if (has_path && !has_kind) {
    const bool cnn = std::find(fixed.begin(), fixed.end(), "model.kind=cnn") != fixed.end();
    lab.settings_.push_back(cnn ? "data.kind=cifar10" : "data.kind=mnist");
  }
  lab.settings_.insert(lab.settings_.end(), overrides.begin(), overrides.end());
  LOCKSTEP_TRY_ASSIGN(lab.recipe_, ParseRecipe("", "study " + name, lab.settings_));
  if (lab.recipe_.loss.balanced)
    return Status::Invalid("a study weighs all classes alike; leave out loss.balanced");
  LOCKSTEP_TRY_ASSIGN(lab.data_, LoadData(lab.recipe_));
  const Recipe::Data& data = lab.recipe_.data;
  if (lab.data_.test.empty() || lab.classes() == 0)
    return Status::Invalid("a study needs data with classes, and samples to test");
  if (data.size > 0 && (data.kind == "sums" || ReadsFiles(data))) {
    CutTo(lab.data_.train, data.size);
    CutTo(lab.data_.train_unchanged, data.size);
    CutTo(lab.data_.test, std::max<int64_t>(1, data.size / 5));
  }
  return lab;
}

int64_t Lab::classes() const { return ClassCount(data_.train.dataset->info()); }

Result<Recipe> Lab::RecipeOf(const Settings& settings, int64_t seed) const {
  Settings all = settings_;
  all.insert(all.end(), settings.begin(), settings.end());
  all.push_back("train.seed=" + std::to_string(recipe_.train.seed + seed));
  return ParseRecipe("", "study " + name_, all);
}

Result<std::vector<std::vector<Outcome>>> Lab::Train(std::span<const Settings> cases,
                                                     const Watch& watch) const {
  return Run(cases, /*train=*/true, watch);
}

Result<std::vector<std::vector<Outcome>>> Lab::Inspect(std::span<const Settings> cases,
                                                       const Watch& look) const {
  return Run(cases, /*train=*/false, look);
}

Result<std::vector<std::vector<Outcome>>> Lab::Run(std::span<const Settings> cases, bool train,
                                                   const Watch& watch) const {
  std::vector<std::vector<Outcome>> outcomes(cases.size(),
                                             std::vector<Outcome>(static_cast<size_t>(seeds_)));
  std::vector<Recipe> recipes;
  for (const Settings& settings : cases) {
    for (int64_t seed = 0; seed < seeds_; ++seed) {
      LOCKSTEP_TRY_ASSIGN(Recipe recipe, RecipeOf(settings, seed));
      recipes.push_back(std::move(recipe));
    }
  }
  const auto trials = static_cast<int64_t>(recipes.size());
  std::vector<Status> status(recipes.size());
  std::atomic<bool> failed{false};
  {
    Context ctx({.threads = static_cast<int>(recipe_.train.threads)});
    Progress progress(name_, trials);
    ctx.For(trials, std::numeric_limits<int64_t>::max(), [&](int64_t trial) {
      if (failed) return;
      const auto t = static_cast<size_t>(trial);
      const auto seeds = static_cast<size_t>(seeds_);
      try {
        status[t] = Trial(recipes[t], t / seeds, train, watch, outcomes[t / seeds][t % seeds]);
      } catch (const std::exception& error) {  // out of memory
        status[t] = Status::Invalid(std::string("a trial failed: ") + error.what());
      }
      if (!status[t].ok()) failed = true;
      progress.Done();
    });
  }
  for (const Status& one : status) LOCKSTEP_TRY(one);
  return outcomes;
}

Status Lab::Trial(const Recipe& recipe, size_t which, bool train, const Watch& watch,
                  Outcome& outcome) const {
  Context ctx({.threads = 1});
  LOCKSTEP_TRY_ASSIGN(const LoaderOptions loader_options, BuildLoaderOptions(recipe));
  LOCKSTEP_TRY_ASSIGN(const std::unique_ptr<Loader> loader,
                      Loader::Make(data_.train.dataset, data_.train.indices, loader_options));
  const int64_t parts = recipe.train.micro_batches;
  const int64_t part = CeilDiv(loader->largest_count(), parts);
  const int64_t samples = std::max(room_, part);
  LOCKSTEP_TRY_ASSIGN(Network net,
                      build_ ? build_(ctx, recipe, which, samples)
                             : BuildNetwork(ctx, recipe, data_.train.dataset->info(), samples));
  Recorder recorder({.ctx = ctx, .net = net, .recipe = recipe, .outcome = outcome}, watch);
  if (!train) return recorder.AtEnd();

  LOCKSTEP_TRY_ASSIGN(const std::unique_ptr<Optimizer> optimizer, BuildOptimizer(recipe));
  LOCKSTEP_TRY_ASSIGN(TrainerOptions options,
                      BuildTrainerOptions(recipe, loader->batches_per_epoch()));
  options.keep_best = false;
  options.early_stopping.reset();
  options.observer = &recorder;
  LOCKSTEP_TRY_ASSIGN(const std::unique_ptr<Trainer> trainer,
                      Trainer::Make(net, *optimizer, *loader, std::move(options)));
  Status status = trainer->Run().status();
  LOCKSTEP_TRY(recorder.status());
  if (status.ok()) {
    const Result<EvaluationResult> on_train = Evaluate(net, data_.train_unchanged);
    const Result<EvaluationResult> on_test = Evaluate(net, data_.test);
    status = on_train.ok() ? on_test.status() : on_train.status();
    if (status.ok()) {
      outcome.train_loss = on_train->loss;
      outcome.train_accuracy = on_train->accuracy.value_or(0.0);
      outcome.test_loss = on_test->loss;
      outcome.test_accuracy = on_test->accuracy.value_or(0.0);
    }
  }
  if (status.code() == Code::kNonFinite) {
    outcome.diverged = true;
    outcome.train_accuracy = outcome.test_accuracy = 1.0 / static_cast<double>(classes());
    outcome.train_loss = outcome.test_loss = std::log(static_cast<double>(classes()));
    return Status::Ok();
  }
  LOCKSTEP_TRY(status);
  return recorder.AtEnd();
}

}  // namespace lockstep::tools
