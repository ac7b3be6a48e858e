#include "models/testing/subject_checks.h"

#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <memory>
#include <vector>

#include "engine/optim/sgd.h"
#include "engine/train/checkpointing.h"
#include "models/testing/gradient_check.h"

namespace lockstep::inline v0_1::checks {
namespace {

// Runs that must give the same bits as the first, each with what is special about it.
struct Variant {
  TraceOptions options;
  std::string what;
};

std::string SameBits(const Subject& subject, const TraceOptions& first,
                     const std::vector<Variant>& others, bool training_only = false) {
  const Result<Trace> want = TraceOf(subject, first);
  if (!want.ok()) return want.status().message();
  for (const Variant& other : others) {
    const Result<Trace> got = TraceOf(subject, other.options);
    const std::string found =
        got.ok() ? Difference(*want, *got, training_only) : got.status().message();
    if (!found.empty()) return other.what + ": " + found;
  }
  return "";
}

std::string CheckThreads(const Subject& subject, uint64_t seed) {
  for (const int shards : {1, 3}) {
    const auto with = [&](int threads) {
      return Variant{{.threads = threads, .shards = shards, .seed = seed},
                     std::to_string(threads) + " threads, " + std::to_string(shards) + " shards"};
    };
    const std::string found = SameBits(subject, with(1).options, {with(2), with(7)});
    if (!found.empty()) return found;
  }
  return "";
}

Result<std::vector<float>> Predicted(Network& net, ConstTensor x) {
  const Shape shape = net.output_shape().WithBatch(x.shape().batch());
  std::vector<float> y(static_cast<size_t>(shape.size()));
  LOCKSTEP_TRY(net.Predict(x, {y.data(), shape}));
  return y;
}

Result<std::string> Evaluates(const Subject& subject, uint64_t seed, bool samples_mix) {
  Context ctx({.threads = 1});
  LOCKSTEP_TRY_ASSIGN(Network net, BindSubject(subject, ctx, {.seed = seed}));
  const int64_t batch = subject.input.batch();
  const Batch data(subject, net, batch, seed + 1);
  Sgd sgd({.lr = 1e-2});
  LOCKSTEP_TRY(net.TrainStep(data.x(), data.target(), sgd).status());
  const uint64_t before = ModelHash(net);
  LOCKSTEP_TRY_ASSIGN(const std::vector<float> first, Predicted(net, data.x()));
  LOCKSTEP_TRY_ASSIGN(const LossSum loss, net.Evaluate(data.x(), data.target()));
  LOCKSTEP_TRY_ASSIGN(const std::vector<float> second, Predicted(net, data.x()));
  if (const std::string found = FirstDifference("output", first, second); !found.empty())
    return "a second prediction of the same samples differs: " + found;
  LOCKSTEP_TRY_ASSIGN(const LossSum again, net.Evaluate(data.x(), data.target()));
  if (!(again.sum == loss.sum))
    return std::string("a second evaluation of the same samples gives another loss");
  if (ModelHash(net) != before) return std::string("an evaluation changes parameters or states");
  if (samples_mix) return std::string();
  for (const int64_t at_once : {int64_t{1}, int64_t{2}, int64_t{5}}) {
    std::vector<float> some;
    for (int64_t s = 0; s < batch; s += at_once) {
      LOCKSTEP_TRY_ASSIGN(const std::vector<float> part,
                          Predicted(net, data.x().Samples(s, std::min(batch, s + at_once))));
      some.insert(some.end(), part.begin(), part.end());
    }
    if (const std::string found = FirstDifference("output", first, some); !found.empty()) {
      return "a sample predicted among " + std::to_string(batch) + " and among " +
             std::to_string(at_once) + " differs: " + found;
    }
  }
  return std::string();
}

std::string CheckEvaluation(const Subject& subject, uint64_t seed, bool samples_mix) {
  if (const std::string found = TextOf(Evaluates(subject, seed, samples_mix)); !found.empty())
    return found;
  return SameBits(subject, {.seed = seed},
                  {{{.evaluate = false, .seed = seed}, "with evaluations in between, and without"}},
                  /*training_only=*/true);
}

Result<std::string> Allocates(const Subject& subject, const CheckOptions& options) {
  constexpr int kSettled = 3, kSteps = 9;  // after which everything has found its place
  for (const int threads : {1, 2}) {
    Context ctx({.threads = threads});
    LOCKSTEP_TRY_ASSIGN(Network net, BindSubject(subject, ctx, {.seed = options.seed}));
    const std::unique_ptr<Optimizer> optimizer =
        subject.optimizer ? subject.optimizer() : std::make_unique<Sgd>(SgdOptions{.lr = 1e-3});
    const Batch data(subject, net, subject.input.batch(), options.seed + 1);
    const Shape out = net.output_shape();
    std::vector<float> y(static_cast<size_t>(out.size()));
    int64_t trained = 0, predicted = 0;
    for (int step = 0; step < kSteps; ++step) {
      const int64_t samples = subject.input.batch() - step % 3;
      const ConstTensor x = data.x().Samples(0, samples);
      const ConstTensor target = data.target().Samples(0, samples);
      const int64_t before = options.heap_calls();
      LOCKSTEP_TRY(net.TrainStep(x, target, *optimizer).status());
      const int64_t between = options.heap_calls();
      LOCKSTEP_TRY(net.Predict(x, {y.data(), out.WithBatch(samples)}));
      const int64_t after = options.heap_calls();
      if (step < kSettled) continue;
      trained += between - before;
      predicted += after - between;
    }
    const std::string of = " of " + std::to_string(kSteps - kSettled) + " on " +
                           std::to_string(threads) + " threads take from the heap ";
    if (trained > 0 && optimizer->never_fails())
      return "training steps" + of + std::to_string(trained) + " times";
    if (predicted > 0) return "predictions" + of + std::to_string(predicted) + " times";
  }
  return std::string();
}

// A file of this process that goes when this does.
class ScratchFile {
 public:
  explicit ScratchFile(const std::string& folder) {
    const std::filesystem::path in =
        folder.empty() ? std::filesystem::temp_directory_path() : std::filesystem::path(folder);
    path_ = (in / ("lockstep_check_" + std::to_string(getpid()) + ".safetensors")).string();
  }
  ~ScratchFile() {
    std::error_code ignored;
    std::filesystem::remove(path_, ignored);
  }
  ScratchFile(const ScratchFile&) = delete;
  ScratchFile& operator=(const ScratchFile&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

Result<std::string> Reads(const Subject& subject, const CheckOptions& options) {
  Context ctx({.threads = 1});
  const ScratchFile file(options.folder);
  LOCKSTEP_TRY_ASSIGN(Network written, BindSubject(subject, ctx, {.seed = options.seed}));
  const Batch data(subject, written, subject.input.batch(), options.seed + 1);
  const auto optimizer = [&] {
    return subject.optimizer ? subject.optimizer()
                             : std::make_unique<Sgd>(SgdOptions{.lr = 1e-2, .momentum = 0.9});
  };
  const std::unique_ptr<Optimizer> first = optimizer(), second = optimizer();
  for (int step = 0; step < 2; ++step)
    LOCKSTEP_TRY(written.TrainStep(data.x(), data.target(), *first).status());
  TrainingState state;
  state.step = 2;
  LOCKSTEP_TRY(
      WriteCheckpoint(file.path(), {.network = &written, .optimizer = first.get()}, state));
  // Of the same seed, which is that of random layers too; its parameters are then others.
  LOCKSTEP_TRY_ASSIGN(Network read, BindSubject(subject, ctx, {.seed = options.seed}));
  {
    const ParameterWriter writer = read.Write();
    for (float& value : writer->values) value = 0.5f * value;
  }
  // Bound first: what is read then goes to where it is.
  LOCKSTEP_TRY(second->Bind(ctx, read.store().ParametersToWrite()));
  LOCKSTEP_TRY_ASSIGN(const Checkpoint checkpoint, LoadCheckpoint(file.path()));
  LOCKSTEP_TRY(ReadInto(checkpoint, {.network = &read, .optimizer = second.get()}).status());
  LOCKSTEP_TRY_ASSIGN(const std::vector<float> want, Predicted(written, data.x()));
  LOCKSTEP_TRY_ASSIGN(const std::vector<float> got, Predicted(read, data.x()));
  if (const std::string found = FirstDifference("output", want, got); !found.empty())
    return "a network that is read from its file predicts otherwise: " + found;
  const auto learn = [&](Network& net, Optimizer& by) -> Status {
    LOCKSTEP_TRY(net.Gradients(data.x(), data.target(), {.index = 2}).status());
    const ParameterWriter writer = net.Write();
    return by.Update(ctx, *writer, by.learning_rate());
  };
  LOCKSTEP_TRY(learn(written, *first));
  LOCKSTEP_TRY(learn(read, *second));
  if (ModelHash(written) != ModelHash(read))
    return std::string(
        "a network that is read from its file learns otherwise than the one written");
  return std::string();
}

}  // namespace

void CheckSubject(const Subject& subject, const std::string& where, const CheckOptions& options,
                  bool samples_mix, CheckLog& log) {
  const uint64_t seed = options.seed;
  log.Make("gradients", where, [&] { return CheckGradients(subject, seed); });
  log.Make("accumulation", where, [&] { return CheckAccumulation(subject, seed); });
  log.Make("repeats", where, [&] {
    return SameBits(subject, {.seed = seed}, {{{.seed = seed}, "two runs of the same seed"}});
  });
  log.Make("threads", where, [&] { return CheckThreads(subject, seed); });
  log.Make("memory", where, [&] {
    return SameBits(subject, {.share = false, .seed = seed},
                    {{{.seed = seed}, "memory not shared, and shared"},
                     {{.poison = true, .seed = seed}, "memory of its own, and poisoned"}});
  });
  log.Make("fusion", where, [&] {
    return SameBits(subject, {.evaluate = false, .seed = seed},
                    {{{.fusion = Fusion::kNone, .share = false, .evaluate = false, .seed = seed},
                      "operations that do their neighbours' work, and operations by themselves"}});
  });
  log.Make("evaluation", where, [&] { return CheckEvaluation(subject, seed, samples_mix); });
  if (options.heap_calls)
    log.Make("allocations", where, [&] { return TextOf(Allocates(subject, options)); });
  log.Make("files", where, [&] { return TextOf(Reads(subject, options)); });
}

}  // namespace lockstep::checks
