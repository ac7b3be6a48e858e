// Runs of several ranks that stop, save and go on with another number of them.
#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "engine/comm/thread_ranks.h"
#include "engine/io/file.h"
#include "engine/train/checkpointing.h"
#include "engine/train/trainer.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "layers/dropout.h"
#include "tests/engine/io/temporary_folder.h"
#include "tests/engine/train/toy_data.h"

namespace lockstep::inline v0_1::toy {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

// Stops, or saves, where one rank alone asks for it.
struct Asks final : TrainingObserver {
  Wish OnStep(const StepReport& report) override {
    if (report.step == stop_at) return Wish::kStop;
    return report.step == save_at ? Wish::kSave : Wish::kGoOn;
  }
  Wish OnSave() override {
    saved_at = trainer->step();
    status = trainer->Save(path);
    return Wish::kGoOn;
  }
  int64_t stop_at = -1, save_at = -1, saved_at = -1;
  Trainer* trainer = nullptr;
  std::string path;
  Status status;
};

constexpr int kShards = 8;

// 103 samples in batches of 20: five steps and one of three samples in each of three epochs.
class RanksRun {
 public:
  explicit RanksRun(Communicator& communicator, int asks = 0)
      : rank_(communicator.rank()),
        asks_(rank_ == asks),
        rig_(data_.first, Sequential(Linear(9), BatchNorm(), Relu(), Dropout(0.2), Linear(4)),
             CrossEntropyLoss(),
             {.shards = kShards,
              .loader = {.batch = 20,
                         .seed = 3,
                         .prefetch = 0,
                         .rank = rank_,
                         .ranks = communicator.size()},
              .communicator = &communicator},
             {.epochs = 3,
              .clip_norm = 0.5,
              .ema = EmaOptions{},
              .validation = data_.second,
              .evaluation_batch = 2,
              .observer = &observer}) {
    EXPECT_TRUE(rig_.status.ok()) << rig_.status.message();
    observer.trainer = rig_.trainer.get();
  }
  void StopAt(int64_t step) { observer.stop_at = asks_ ? step : -1; }
  void SaveAt(int64_t step, std::string path) {
    observer.save_at = asks_ ? step : -1;
    observer.path = std::move(path);
  }
  Trainer& trainer() { return *rig_.trainer; }
  uint64_t hash() const { return ModelHash(*rig_.net); }

  Asks observer;

 private:
  std::pair<Subset, Subset> data_ = Deal(Blobs(154, 6, 4, 0.7, 51), 3);
  int rank_;
  bool asks_;
  Rig rig_;
};

struct End {
  uint64_t hash = 0;
  std::vector<EpochReport> history;
};

End Undisturbed() {
  SingleProcess alone;
  RanksRun run(alone);
  EXPECT_TRUE(run.trainer().Run().ok());
  return {run.hash(), run.trainer().history()};
}

// In the middle of an epoch each time; what is saved has the same bytes on any number of ranks.
TEST(RanksRestartTest, ARunGoesOnWithAnotherNumberOfRanksToTheSameBits) {
  const TemporaryFolder folder;
  const End undisturbed = Undisturbed();
  struct Leg {
    int ranks;
    int64_t stop_at;  // with several ranks one step later
  };
  const std::vector<Leg> legs = {{4, 2}, {1, 8}, {2, 9}, {8, -1}};
  std::string from;
  int64_t reached = 0;
  for (size_t leg = 0; leg < legs.size(); ++leg) {
    const int ranks = legs[leg].ranks;
    const int64_t stop_at = legs[leg].stop_at;
    const std::string to = folder / std::to_string(leg);
    std::vector<End> ends(static_cast<size_t>(ranks));
    ThreadRanks::Run(ranks, [&](Communicator& communicator) {
      RanksRun run(communicator, /*asks=*/communicator.size() - 1);
      run.StopAt(stop_at);
      if (!from.empty()) {
        const Status resumed = run.trainer().Resume(from);
        ASSERT_TRUE(resumed.ok()) << resumed.message();
        EXPECT_EQ(run.trainer().step(), reached);
      }
      const Result<TrainingSummary> summary = run.trainer().Run();
      ASSERT_TRUE(summary.ok()) << summary.status().message();
      EXPECT_EQ(summary->reason, stop_at < 0 ? StopReason::kCompleted : StopReason::kRequested);
      if (stop_at >= 0) {
        const Status saved = run.trainer().Save(to);
        ASSERT_TRUE(saved.ok()) << saved.message();
      }
      ends[static_cast<size_t>(communicator.rank())] = {run.hash(), run.trainer().history()};
    });
    reached = stop_at + (ranks > 1);
    from = to;
    for (const End& end : ends) EXPECT_EQ(end.hash, ends[0].hash) << ranks << " ranks";
    if (stop_at >= 0) {
      // One process, stopped at the same step, writes the same file.
      SingleProcess alone;
      RanksRun run(alone);
      run.StopAt(reached);
      ASSERT_TRUE(run.trainer().Run().ok());
      ASSERT_TRUE(run.trainer().Save(folder / "alone").ok());
      EXPECT_TRUE(Slurp(to) == Slurp(folder / "alone")) << ranks << " ranks at step " << reached;
      continue;
    }
    for (const End& end : ends) {
      EXPECT_EQ(end.hash, undisturbed.hash);
      EXPECT_EQ(end.history.back().validation->loss, undisturbed.history.back().validation->loss);
      EXPECT_EQ(end.history.back().train_loss, undisturbed.history.back().train_loss);
      EXPECT_EQ(end.history.back().ranks.size(), 8u);
    }
  }
}

TEST(RanksRestartTest, AWishOfOneRankToSaveSavesOnAllAtTheSameStep) {
  const TemporaryFolder folder;
  const End undisturbed = Undisturbed();
  ThreadRanks::Run(4, [&](Communicator& communicator) {
    RanksRun run(communicator, /*asks=*/2);
    run.SaveAt(4, folder / "file");
    ASSERT_TRUE(run.trainer().Run().ok());
    EXPECT_TRUE(run.observer.status.ok()) << run.observer.status.message();
    EXPECT_EQ(run.observer.saved_at, 5);
    EXPECT_EQ(run.hash(), undisturbed.hash);
  });
  SingleProcess alone;
  RanksRun run(alone);
  run.SaveAt(4, folder / "alone");
  ASSERT_TRUE(run.trainer().Run().ok());
  EXPECT_EQ(run.observer.saved_at, 4);
}

// Only one rank cannot read its checkpoint: no rank goes on, and all say which.
TEST(RanksRestartTest, ACheckpointThatOneRankCannotReadIsAnErrorOfAll) {
  const TemporaryFolder folder;
  ThreadRanks::Run(2, [&](Communicator& communicator) {
    RanksRun run(communicator);
    run.StopAt(3);
    ASSERT_TRUE(run.trainer().Run().ok());
    ASSERT_TRUE(run.trainer().Save(folder / "file").ok());
  });
  ThreadRanks::Run(2, [&](Communicator& communicator) {
    RanksRun run(communicator);
    const Status status =
        run.trainer().Resume(folder / (communicator.rank() == 1 ? "other" : "file"));
    EXPECT_EQ(status.code(), Code::kNotFound);
    EXPECT_THAT(status.message(), AllOf(HasSubstr("rank 1: "), HasSubstr("other")));
  });
}

// A dataset that one rank cannot read from in the middle of an epoch, and later can again.
class Unreadable final : public Dataset {
 public:
  explicit Unreadable(DatasetPtr data) : Dataset(data->info()), data_(std::move(data)) {}
  std::atomic<int64_t> broken{-1};  // a sample

 private:
  Status Read(std::span<const int64_t> indices, Tensor x, Tensor target,
              int64_t epoch) const override {
    if (std::find(indices.begin(), indices.end(), broken.load()) != indices.end())
      return Status::Io("sample " + std::to_string(broken.load()) + ": cannot read");
    return data_->Gather(indices, x, target, epoch);
  }
  DatasetPtr data_;
};

TEST(RanksRestartTest, ABatchThatOneRankCannotLoadEndsTheStepOnAllAndCanBeTriedAgain) {
  const auto data = std::make_shared<Unreadable>(Blobs(64, 6, 4, 0.7, 55));
  for (const int ranks : {1, 4}) {
    std::set<std::string> said;
    std::mutex mutex;
    data->broken = 41;
    std::vector<uint64_t> hashes(static_cast<size_t>(ranks));
    ThreadRanks::Run(ranks, [&](Communicator& communicator) {
      Rig rig(All(data), Sequential(Linear(4)), CrossEntropyLoss(),
              {.shards = 4,
               .loader = {.batch = 16,
                          .seed = 3,
                          .prefetch = 0,
                          .rank = communicator.rank(),
                          .ranks = communicator.size()},
               .communicator = &communicator},
              {.epochs = 1});
      ASSERT_TRUE(rig.status.ok());
      const Result<TrainingSummary> failed = rig.trainer->Run();
      ASSERT_FALSE(failed.ok());
      {
        const std::lock_guard lock(mutex);
        said.insert(failed.status().message());
      }
      // Not before all have failed.
      ASSERT_TRUE(communicator.Barrier().ok());
      data->broken = -1;
      ASSERT_TRUE(communicator.Barrier().ok());
      const Result<TrainingSummary> again = rig.trainer->Run();
      ASSERT_TRUE(again.ok()) << again.status().message();
      EXPECT_EQ(again->steps, 4);
      hashes[static_cast<size_t>(communicator.rank())] = ModelHash(*rig.net);
    });
    ASSERT_EQ(said.size(), 1u);
    EXPECT_THAT(*said.begin(), HasSubstr("sample 41: cannot read"));
    EXPECT_EQ(said.begin()->find("rank ") != std::string::npos, ranks > 1) << *said.begin();
    for (const uint64_t hash : hashes) EXPECT_EQ(hash, hashes[0]);
  }
}

// Optimizers that hold stretches of the flat arrays write them where one that holds all would, and
// read them back cut otherwise.
TEST(RanksRestartTest, StatesInPiecesAreWrittenAndReadAsWholes) {
  const TemporaryFolder folder;
  const auto bound = [](Context& ctx) {
    auto net = Network::Bind(ctx, Sequential(Linear(37), BatchNorm(), Linear(5)),
                             CrossEntropyLoss(), {.input = {8, 11}});
    EXPECT_TRUE(net.ok());
    return std::move(*net);
  };
  // Of `parts` in every 100 floats, one after the other.
  const auto ranges = [](int64_t floats, int part, int parts) {
    std::vector<IndexRange> mine;
    for (int64_t begin = 0; begin < floats; begin += 100) {
      const IndexRange range = ShardRange(std::min<int64_t>(100, floats - begin), parts, part);
      if (range.size() > 0) mine.push_back({begin + range.begin, begin + range.end});
    }
    return mine;
  };
  const auto value = [](const OptimizerState& state, int64_t i) {
    return static_cast<float>(state.parameter.size() * 7 + state.name.size()) * 1e5f +
           static_cast<float>(state.begin + i);
  };
  const auto bind = [&](AdamW& adam, Network& net, int part, int parts) {
    const ParameterSet set = net.store().ParametersToWrite();
    return adam.Bind(net.context(), set,
                     ranges(static_cast<int64_t>(set.values.size()), part, parts));
  };
  const auto save = [&](int ranks, const std::string& path) {
    ThreadRanks::Run(ranks, [&](Communicator& communicator) {
      Context ctx({.threads = 1});
      Network net = bound(ctx);
      AdamW adam;
      ASSERT_TRUE(bind(adam, net, communicator.rank(), communicator.size()).ok());
      for (const OptimizerState& state : adam.states()) {
        for (int64_t i = 0; i < state.tensor.size(); ++i) state.tensor.f32()[i] = value(state, i);
      }
      const Status status =
          WriteCheckpoint(path, {.network = &net, .optimizer = &adam}, {}, {}, &communicator);
      EXPECT_TRUE(status.ok()) << status.message();
    });
  };
  save(1, folder / "1");
  for (const int ranks : {2, 3, 8}) {
    save(ranks, folder / "more");
    EXPECT_TRUE(Slurp(folder / "more") == Slurp(folder / "1")) << ranks << " ranks";
  }
  const Result<Checkpoint> read = LoadCheckpoint(folder / "more");
  ASSERT_TRUE(read.ok());
  for (int part = 0; part < 5; ++part) {
    Context ctx({.threads = 1});
    Network net = bound(ctx);
    AdamW adam;
    ASSERT_TRUE(bind(adam, net, part, 5).ok());
    const auto into = ReadInto(*read, {.network = &net, .optimizer = &adam});
    ASSERT_TRUE(into.ok()) << into.status().message();
    for (const OptimizerState& state : adam.states()) {
      for (int64_t i = 0; i < state.tensor.size(); ++i)
        ASSERT_EQ(state.tensor.f32()[i], value(state, i)) << state.parameter << " " << state.name;
    }
  }
}

}  // namespace
}  // namespace lockstep::toy
