// Measuring, by a clock of our own: nothing here depends on how fast this machine is.
#include "tools/scale/measure.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <functional>
#include <string>
#include <vector>

#include "engine/comm/thread_ranks.h"
#include "tools/scale/collectives.h"
#include "tools/scale/machine.h"
#include "tools/scale/network_probe.h"
#include "tools/scale/placement.h"
#include "tools/scale/quiet.h"

namespace lockstep::inline v0_1::scale {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

// Points whose steps take as long as they say.
class Points {
 public:
  explicit Points(std::vector<double> seconds) : seconds_(std::move(seconds)) {}

  std::vector<std::function<Status()>> Steps() {
    std::vector<std::function<Status()>> steps;
    for (size_t i = 0; i < seconds_.size(); ++i) {
      steps.push_back([this, i] {
        now_ += seconds_[i];
        if (order_.empty() || order_.back() != static_cast<int>(i))
          order_.push_back(static_cast<int>(i));
        ++runs_;
        return Status::Ok();
      });
    }
    return steps;
  }
  MeasureOptions Options(int repetitions, double seconds) {
    return {.repetitions = repetitions, .seconds = seconds, .now = [this] { return now_; }};
  }

  double now_ = 0.0;
  int runs_ = 0;
  std::vector<int> order_;  // of turns

 private:
  std::vector<double> seconds_;
};

TEST(MeasureTogether, TellsWhatAStepTakes) {
  Points points({0.25, 0.125});
  const auto timings = MeasureTogether(points.Steps(), points.Options(9, 9.0));
  ASSERT_TRUE(timings.ok()) << timings.status().message();
  ASSERT_EQ(timings->size(), 2u);
  const MedianInterval slow = (*timings)[0].step(), fast = (*timings)[1].step();
  EXPECT_EQ(slow.median, 0.25);
  EXPECT_EQ(fast.median, 0.125);
  EXPECT_EQ(slow.width(), 0.0);
  EXPECT_FALSE(slow.unstable(0.05));
  // A second for each turn.
  EXPECT_EQ((*timings)[0].steps_per_round, 4);
  EXPECT_EQ((*timings)[1].steps_per_round, 8);
  EXPECT_EQ((*timings)[0].seconds.size(), 9u);
  // Three steps to warm up; in each turn one that nobody times.
  EXPECT_EQ(points.runs_, 2 * 3 + 9 * (1 + 4) + 9 * (1 + 8));
}

TEST(MeasureTogether, PointsTakeTurnsAndNoneIsAlwaysFirst) {
  Points points({1.0, 1.0, 1.0});
  ASSERT_TRUE(MeasureTogether(points.Steps(), points.Options(3, 0.0)).ok());
  // Warming up, then rounds that begin with 0, 1 and 2. (A point that ends a round and begins the
  // next one would show as one turn; none does.)
  EXPECT_THAT(points.order_, ElementsAre(0, 1, 2, 0, 1, 2, 1, 2, 0, 2, 0, 1));
}

TEST(MeasureTogether, ALongStepIsRunOnceATurn) {
  Points points({100.0});
  const auto timings = MeasureTogether(points.Steps(), points.Options(2, 1.0));
  ASSERT_TRUE(timings.ok());
  EXPECT_EQ((*timings)[0].steps_per_round, 1);
}

TEST(MeasureTogether, AnErrorEndsItAsItIs) {
  const std::vector<std::function<Status()>> steps = {
      [] { return Status::NonFinite("the loss of layer 3 is not finite"); }};
  const auto timings = MeasureTogether(steps, {.repetitions = 2});
  EXPECT_EQ(timings.status().message(), "the loss of layer 3 is not finite");
}

// Each rank has a clock of its own; all of them report the slowest.
TEST(MeasureTogether, RanksAgreeOnTheSlowest) {
  for (const int ranks : {1, 2, 3}) {
    ThreadRanks::Run(ranks, [&](Communicator& communicator) {
      Points points({0.5 * (communicator.rank() + 1)});
      const auto timings =
          MeasureTogether(points.Steps(), points.Options(3, 6.0 * ranks), &communicator);
      ASSERT_TRUE(timings.ok()) << timings.status().message();
      EXPECT_EQ((*timings)[0].step().median, 0.5 * ranks);
      EXPECT_EQ((*timings)[0].steps_per_round, 4);
    });
  }
}

TEST(MeasureTogether, CountsWhatRanksSend) {
  ThreadRanks::Run(2, [&](Communicator& communicator) {
    std::vector<std::byte> mine(1000), all(2000);
    const std::vector<std::function<Status()>> steps = {
        [&] { return communicator.AllGather(mine, all); }};
    double now = 0.0;
    const auto timings = MeasureTogether(
        steps, {.repetitions = 3, .seconds = 0.0, .now = [&] { return now += 1.0; }},
        &communicator);
    ASSERT_TRUE(timings.ok());
    EXPECT_EQ((*timings)[0].sent_bytes, 1000.0);
    EXPECT_GE((*timings)[0].waited_seconds, 0.0);
  });
}

TEST(OnFirstRankAlone, OthersWaitForItsEnd) {
  ThreadRanks::Run(3, [](Communicator& communicator) {
    static std::atomic<bool> ended{false};
    ended = false;
    ASSERT_TRUE(communicator.Barrier().ok());
    const Status status = OnFirstRankAlone(communicator, [&] {
      EXPECT_EQ(communicator.rank(), 0);
      ended = true;
      return Status::Ok();
    });
    EXPECT_TRUE(status.ok()) << status.message();
    EXPECT_TRUE(ended);
    ASSERT_TRUE(communicator.Barrier().ok());
  });
}

TEST(OnFirstRankAlone, AFailureReachesAll) {
  ThreadRanks::Run(3, [](Communicator& communicator) {
    const Status status =
        OnFirstRankAlone(communicator, [] { return Status::Invalid("no such layer"); });
    EXPECT_FALSE(status.ok());
    EXPECT_THAT(status.message(), HasSubstr(communicator.rank() == 0 ? "no such layer" : "rank 0"));
  });
}

TEST(TimeCollective, HasOnePositiveAnswerOnAllRanks) {
  for (const int ranks : {2, 3, 5}) {
    ThreadRanks::Run(ranks, [&](Communicator& communicator) {
      for (const Collective collective : kCollectives) {
        for (const int64_t bytes : {1, 7, 4096}) {
          const auto time =
              TimeCollective(communicator, collective, bytes, {.warm_up = 1, .iterations = 3});
          ASSERT_TRUE(time.ok()) << NameOf(collective) << ": " << time.status().message();
          double first = time->seconds;
          ASSERT_TRUE(communicator.Broadcast(std::as_writable_bytes(std::span(&first, 1)), 0).ok());
          EXPECT_EQ(time->seconds, first);
          EXPECT_GT(time->seconds, 0.0);
          EXPECT_EQ(time->bytes, bytes);
        }
      }
    });
  }
}

TEST(TimeCollective, CountsWhatARankReceives) {
  ThreadRanks::Run(4, [](Communicator& communicator) {
    const auto moved = [&](Collective collective) {
      const auto time =
          TimeCollective(communicator, collective, 1000, {.warm_up = 0, .iterations = 1});
      return time.ok() ? time->moved : -1.0;
    };
    EXPECT_EQ(moved(Collective::kPointToPoint), 1000.0);
    EXPECT_EQ(moved(Collective::kBroadcast), 1000.0);
    EXPECT_EQ(moved(Collective::kAllGather), 3000.0);
    EXPECT_EQ(moved(Collective::kGradients), 2.0 * 750.0);
  });
}

TEST(TimeCollective, NeedsTwoRanks) {
  ThreadRanks::Run(1, [](Communicator& communicator) {
    EXPECT_FALSE(TimeCollective(communicator, Collective::kAllGather, 64, {}).ok());
    EXPECT_FALSE(MeasureNetwork(communicator).ok());
  });
}

TEST(Placement, EachRankSaysWhereItIs) {
  ThreadRanks::Run(3, [](Communicator& communicator) {
    const auto places = GatherPlacement(communicator);
    ASSERT_TRUE(places.ok());
    ASSERT_EQ(places->size(), 3u);
    EXPECT_THAT((*places)[2], HasSubstr(": " + AffinityMask()));
  });
  EXPECT_EQ(PlacementText({"a: 0-1", "a: 0-1", "b: 0", "a: 0-1"}), "3 on a: 0-1; 1 on b: 0");
}

TEST(OsuText, HasTheColumnsOfOsu) {
  const CollectiveTime time{.bytes = 1000, .seconds = 1e-5, .moved = 2000.0};
  EXPECT_THAT(OsuText("all-gather", std::span(&time, 1)),
              testing::MatchesRegex("# all-gather\n# Size +Latency\\(us\\) +Bandwidth\\(MB/s\\)\n"
                                    "1000 +10.00 +200.00\n"));
}

}  // namespace
}  // namespace lockstep::scale
