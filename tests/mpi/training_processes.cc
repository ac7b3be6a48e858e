// Whole training runs on ranks that are processes, against the same run of one process: the bits of
// all parameters, running statistics and counts at their end. Started by mpirun:
//
//   training_processes [models=mlp,cnn,gpt,lstm] [threads=1,2] [shards=8] [batch=52] [samples=181]
//                      [epochs=3]
//
// prints a row for each model and number of threads, and ends non-zero where bits differ.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <memory>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "engine/base/random.h"
#include "engine/comm/mpi.h"
#include "engine/data/loader.h"
#include "engine/io/hash.h"
#include "engine/optim/adam.h"
#include "engine/train/checkpointing.h"
#include "engine/train/trainer.h"
#include "layers/loss/cross_entropy.h"
#include "models/conv_net.h"
#include "models/gpt.h"
#include "models/mlp.h"
#include "models/recurrent_net.h"

namespace lockstep::inline v0_1 {
namespace {

using DatasetPtr = std::shared_ptr<const Dataset>;
constexpr int64_t kFeatures = 40, kSide = 8, kClasses = 5, kTokens = 11, kLength = 12;
constexpr int64_t kEvaluated = 4;  // samples at a time

struct Options {
  int shards = 8;
  int64_t batch = 52, samples = 181,
          epochs = 3;  // the last batch is not full, and divides by nothing
};

// Classes in turn, each around a centre of its own.
Result<DatasetPtr> Clouds(const Shape& x_shape, int64_t samples) {
  Random random(31, StreamOf("clouds"));
  const int64_t features = x_shape.size();
  std::vector<double> centres(static_cast<size_t>(kClasses * features));
  for (double& one : centres) one = random.Normal();
  std::vector<float> x;
  std::vector<int32_t> targets;
  for (int64_t i = 0; i < samples; ++i) {
    targets.push_back(static_cast<int32_t>(i % kClasses));
    for (int64_t f = 0; f < features; ++f) {
      const double centre = centres[static_cast<size_t>(i % kClasses * features + f)];
      x.push_back(static_cast<float>(centre + 2.0 * random.Normal()));
    }
  }
  LOCKSTEP_TRY_ASSIGN(auto made, InMemoryDataset::Make({.name = "clouds",
                                                        .size = samples,
                                                        .x_shape = x_shape,
                                                        .task = Task::kClasses,
                                                        .classes = kClasses},
                                                       std::move(x), std::move(targets)));
  return DatasetPtr(std::move(made));
}

// Texts of which each token is the sum of the two before, but for some noise; each is to be
// foretold.
Result<DatasetPtr> Texts(int64_t samples) {
  Random random(32, StreamOf("texts"));
  std::vector<int32_t> x, targets;
  for (int64_t i = 0; i < samples; ++i) {
    std::vector<int32_t> text = {static_cast<int32_t>(i % kTokens),
                                 static_cast<int32_t>(i / kTokens % kTokens)};
    while (text.size() < kLength + 1) {
      const int32_t noise = random.Uniform() < 0.1 ? 1 : 0;
      text.push_back((text[text.size() - 1] + text[text.size() - 2] + noise) %
                     static_cast<int32_t>(kTokens));
    }
    x.insert(x.end(), text.begin(), text.end() - 1);
    targets.insert(targets.end(), text.begin() + 1, text.end());
  }
  LOCKSTEP_TRY_ASSIGN(auto made, InMemoryDataset::Make({.name = "texts",
                                                        .size = samples,
                                                        .x_dtype = DType::kI32,
                                                        .x_shape = {kLength},
                                                        .task = Task::kClasses,
                                                        .target_shape = {kLength},
                                                        .classes = kTokens,
                                                        .vocabulary = kTokens},
                                                       std::move(x), std::move(targets)));
  return DatasetPtr(std::move(made));
}

struct Job {
  DatasetPtr data;
  std::unique_ptr<Layer> layers;
};

Result<Job> MakeJob(const std::string& model, int64_t samples) {
  Job job;
  if (model == "mlp") {
    LOCKSTEP_TRY_ASSIGN(job.data, Clouds({kFeatures}, samples));
    job.layers = std::make_unique<Sequential>(
        Mlp({.hidden = {96, 64}, .outputs = kClasses, .dropout = 0.1}));
  } else if (model == "cnn") {
    LOCKSTEP_TRY_ASSIGN(job.data, Clouds({kSide, kSide, 3}, samples));
    job.layers = std::make_unique<Sequential>(
        ConvNet({.channels = {16, 24}, .blocks = 1, .dropout = 0.1, .classes = kClasses}));
  } else if (model == "gpt") {
    LOCKSTEP_TRY_ASSIGN(job.data, Texts(samples));
    job.layers = std::make_unique<Gpt>(GptOptions{.vocabulary = kTokens,
                                                  .context = kLength,
                                                  .layers = 2,
                                                  .heads = 2,
                                                  .width = 32,
                                                  .dropout = 0.1,
                                                  .attention_dropout = 0.1});
  } else if (model == "lstm") {
    LOCKSTEP_TRY_ASSIGN(job.data, Texts(samples));
    job.layers = std::make_unique<RecurrentNet>(RecurrentNetOptions{.hidden = 48,
                                                                    .layers = 2,
                                                                    .dropout = 0.1,
                                                                    .vocabulary = kTokens,
                                                                    .embedding = 24,
                                                                    .outputs = kTokens});
  } else {
    return Status::Invalid("no model is called " + model);
  }
  return job;
}

// What the run ends in. Every fourth sample validates.
Result<uint64_t> Train(const std::string& model, const Options& options, int threads,
                       Communicator* communicator) {
  LOCKSTEP_TRY_ASSIGN(Job job, MakeJob(model, options.samples));
  Subset train{.dataset = job.data}, validation{.dataset = job.data};
  for (int64_t i = 0; i < job.data->size(); ++i)
    (i % 4 == 3 ? validation : train).indices.push_back(i);
  const int ranks = communicator == nullptr ? 1 : communicator->size();
  LOCKSTEP_TRY_ASSIGN(const auto loader,
                      Loader::Make(train.dataset, train.indices,
                                   {.batch = options.batch,
                                    .seed = 5,
                                    .prefetch = 0,
                                    .rank = communicator == nullptr ? 0 : communicator->rank(),
                                    .ranks = ranks}));
  Context context({.threads = threads});
  LOCKSTEP_TRY_ASSIGN(
      Network network,
      Network::Bind(context, std::move(job.layers), std::make_unique<CrossEntropyLoss>(),
                    {.input = job.data->XShape(std::max(kEvaluated, loader->largest_count())),
                     .input_dtype = job.data->info().x_dtype,
                     .seed = 9,
                     .shards = options.shards,
                     .communicator = communicator}));
  AdamW adam({.lr = 5e-3});
  LOCKSTEP_TRY_ASSIGN(const auto trainer, Trainer::Make(network, adam, *loader,
                                                        {.epochs = options.epochs,
                                                         .schedule = CosineSchedule{},
                                                         .clip_norm = 1.0,
                                                         .ema = EmaOptions{.decay = 0.9},
                                                         .validation = validation,
                                                         .evaluation_batch = kEvaluated,
                                                         .seed = 9}));
  LOCKSTEP_TRY(trainer->Run().status());
  // Figures too: the losses and the accuracy of each epoch.
  uint64_t hash = ModelHash(network);
  for (const EpochReport& epoch : trainer->history()) {
    const double figures[] = {epoch.train_loss, epoch.validation->loss,
                              epoch.validation->accuracy.value_or(0.0)};
    for (const std::byte one : std::as_bytes(std::span(figures)))
      hash = (hash ^ static_cast<uint64_t>(one)) * 1099511628211u;
  }
  return hash;
}

std::vector<std::string> Words(const std::string& list) {
  std::vector<std::string> words;
  std::istringstream in(list);
  for (std::string word; std::getline(in, word, ',');) words.push_back(word);
  return words;
}

Status Run(Communicator& world, std::map<std::string, std::string> arguments) {
  const Options options{.shards = std::atoi(arguments["shards"].c_str()),
                        .batch = std::atoll(arguments["batch"].c_str()),
                        .samples = std::atoll(arguments["samples"].c_str()),
                        .epochs = std::atoll(arguments["epochs"].c_str())};
  std::string differ;
  for (const std::string& model : Words(arguments["models"])) {
    uint64_t alone = 0;
    if (world.rank() == 0) {
      LOCKSTEP_TRY_ASSIGN(alone, Train(model, options, 1, nullptr));
    }
    LOCKSTEP_TRY(world.Broadcast(std::as_writable_bytes(std::span(&alone, 1)), 0));
    for (const std::string& threads : Words(arguments["threads"])) {
      LOCKSTEP_TRY_ASSIGN(const uint64_t mine,
                          Train(model, options, std::atoi(threads.c_str()), &world));
      std::vector<uint64_t> all(static_cast<size_t>(world.size()));
      LOCKSTEP_TRY(world.AllGather(std::as_bytes(std::span(&mine, 1)),
                                   std::as_writable_bytes(std::span(all))));
      for (size_t rank = 0; rank < all.size(); ++rank) {
        if (all[rank] != alone)
          differ += " " + model + " with " + threads + " threads on rank " + std::to_string(rank);
      }
      if (world.rank() != 0) continue;
      std::printf("%-5s %2d shards %4d ranks %s threads  %s  one process %s\n", model.c_str(),
                  options.shards, world.size(), threads.c_str(), HexOf(mine).c_str(),
                  HexOf(alone).c_str());
      std::fflush(stdout);
    }
  }
  return differ.empty() ? Status::Ok() : Status::Invalid("other bits:" + differ);
}

}  // namespace
}  // namespace lockstep

int main(int argc, char** argv) {
  std::map<std::string, std::string> arguments = {{"models", "mlp,cnn,gpt,lstm"},
                                                  {"threads", "1,2"},
                                                  {"shards", "8"},
                                                  {"batch", "52"},
                                                  {"samples", "181"},
                                                  {"epochs", "3"}};
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i];
    const size_t at = argument.find('=');
    if (at == std::string::npos || !arguments.contains(argument.substr(0, at))) {
      std::fprintf(stderr, "%s is no NAME=VALUE that is known\n", argv[i]);
      return 2;
    }
    arguments[argument.substr(0, at)] = argument.substr(at + 1);
  }
  auto session = lockstep::MpiSession::Start();
  if (!session.ok()) {
    std::fprintf(stderr, "%s\n", session.status().message().c_str());
    return 1;
  }
  const lockstep::Status status = lockstep::Run((*session)->communicator(), std::move(arguments));
  if (!status.ok()) (*session)->Abort(status.message(), 1);
}
