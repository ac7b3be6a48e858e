#include "engine/io/metrics_log.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <cmath>
#include <csignal>
#include <string>
#include <vector>

#include "tests/engine/io/temporary_folder.h"

namespace lockstep::inline v0_1 {
namespace {

using ::testing::HasSubstr;

const std::vector<std::string> kColumns = {"train/loss", "accuracy"};

Status Append(MetricsLog& log, int64_t epoch, int64_t step, std::vector<MetricValue> values) {
  return log.Append(epoch, step, values);
}

void LogThreeRows(const TemporaryFolder& folder) {
  Result<MetricsLog> log = MetricsLog::Start(folder.path(), kColumns);
  ASSERT_TRUE(log.ok()) << log.status().message();
  ASSERT_TRUE(Append(*log, 0, 10, {{"train/loss", 0.1}, {"accuracy", 1.0 / 3.0}}).ok());
  ASSERT_TRUE(Append(*log, 1, 20, {{"accuracy", 1}}).ok());
  ASSERT_TRUE(Append(*log, 1, 30, {{"accuracy", INFINITY}, {"train/loss", NAN}}).ok());
}

constexpr char kCsv[] =
    "epoch,step,train/loss,accuracy\n"
    "0,10,0.1,0.3333333333333333\n"
    "1,20,,1\n"
    "1,30,nan,inf\n";
constexpr char kJsonl[] =
    "{\"epoch\":0,\"step\":10,\"train/loss\":0.1,\"accuracy\":0.3333333333333333}\n"
    "{\"epoch\":1,\"step\":20,\"accuracy\":1}\n"
    "{\"epoch\":1,\"step\":30,\"train/loss\":null,\"accuracy\":null}\n";

TEST(MetricsLogTest, WritesEachRowAtOnce) {
  const TemporaryFolder folder;
  Result<MetricsLog> log = MetricsLog::Start(folder.path(), kColumns);
  ASSERT_TRUE(log.ok());
  EXPECT_EQ(Slurp(folder / "metrics.csv"), "epoch,step,train/loss,accuracy\n");
  MetricsLog moved = std::move(*log);
  ASSERT_TRUE(Append(moved, 0, 1, {{"accuracy", 0.5}}).ok());
  EXPECT_EQ(Slurp(folder / "metrics.csv"), "epoch,step,train/loss,accuracy\n0,1,,0.5\n");
  EXPECT_EQ(Slurp(folder / "metrics.jsonl"), "{\"epoch\":0,\"step\":1,\"accuracy\":0.5}\n");
  LogThreeRows(folder);  // a new start forgets the old rows
  EXPECT_EQ(Slurp(folder / "metrics.csv"), kCsv);
  EXPECT_EQ(Slurp(folder / "metrics.jsonl"), kJsonl);
}

TEST(MetricsLogTest, ResumingDropsLaterRowsSoThatNoStepAppearsTwice) {
  for (const int64_t step : {9, 10, 15, 20, 29}) {
    const TemporaryFolder folder;
    LogThreeRows(folder);
    {
      Result<MetricsLog> log = MetricsLog::Resume(folder.path(), kColumns, step);
      ASSERT_TRUE(log.ok()) << log.status().message();
      if (step < 10) {
        ASSERT_TRUE(Append(*log, 0, 10, {{"train/loss", 0.1}, {"accuracy", 1.0 / 3.0}}).ok());
      }
      if (step < 20) {
        ASSERT_TRUE(Append(*log, 1, 20, {{"accuracy", 1}}).ok());
      }
      ASSERT_TRUE(Append(*log, 1, 30, {{"train/loss", NAN}, {"accuracy", INFINITY}}).ok());
    }
    EXPECT_EQ(Slurp(folder / "metrics.csv"), kCsv) << step;
    EXPECT_EQ(Slurp(folder / "metrics.jsonl"), kJsonl) << step;
  }
}

// Killed or powered off at any moment: the last row may be unfinished or garbage.
TEST(MetricsLogTest, ResumingDropsUnfinishedRows) {
  const std::string csv = kCsv, jsonl = kJsonl;
  for (size_t size = 0; size <= csv.size(); ++size) {
    const TemporaryFolder folder;
    Spill(folder / "metrics.csv", csv.substr(0, size));
    Spill(folder / "metrics.jsonl", jsonl.substr(0, size));
    ASSERT_TRUE(MetricsLog::Resume(folder.path(), kColumns, 30).ok()) << size;
    const std::string rows = Slurp(folder / "metrics.csv");
    EXPECT_EQ(csv.substr(0, rows.size()), rows);
    EXPECT_EQ(rows.back(), '\n');
    const std::string objects = Slurp(folder / "metrics.jsonl");
    EXPECT_EQ(jsonl.substr(0, objects.size()), objects);
    EXPECT_TRUE(objects.empty() || objects.back() == '\n');
  }
  const TemporaryFolder folder;
  Spill(folder / "metrics.csv", csv + std::string(100, '\0') + "\n");
  ASSERT_TRUE(MetricsLog::Resume(folder.path(), kColumns, 30).ok());
  EXPECT_EQ(Slurp(folder / "metrics.csv"), csv);
}

TEST(MetricsLogTest, ResumingWithoutFilesStartsThem) {
  const TemporaryFolder folder;
  Result<MetricsLog> log = MetricsLog::Resume(folder.path(), kColumns, 5);
  ASSERT_TRUE(log.ok()) << log.status().message();
  ASSERT_TRUE(Append(*log, 0, 6, {{"accuracy", 0.25}}).ok());
  EXPECT_EQ(Slurp(folder / "metrics.csv"), "epoch,step,train/loss,accuracy\n0,6,,0.25\n");
  EXPECT_EQ(Slurp(folder / "metrics.jsonl"), "{\"epoch\":0,\"step\":6,\"accuracy\":0.25}\n");
}

// As a run of an earlier version has them, before there were other metrics.
TEST(MetricsLogTest, ResumingWithMoreColumnsLeavesThemEmptyInEarlierRows) {
  const TemporaryFolder folder;
  LogThreeRows(folder);
  {
    Result<MetricsLog> log =
        MetricsLog::Resume(folder.path(), {"train/loss", "accuracy", "auc", "coverage"}, 20);
    ASSERT_TRUE(log.ok()) << log.status().message();
    ASSERT_TRUE(Append(*log, 1, 30, {{"coverage", 0.75}}).ok());
  }
  EXPECT_EQ(Slurp(folder / "metrics.csv"),
            "epoch,step,train/loss,accuracy,auc,coverage\n"
            "0,10,0.1,0.3333333333333333,,\n"
            "1,20,,1,,\n"
            "1,30,,,,0.75\n");
  // Not the first of the columns, though its text begins as they do.
  EXPECT_THAT(MetricsLog::Resume(folder.path(), {"train/loss", "accuracy", "auc", "coverages"}, 20)
                  .status()
                  .message(),
              HasSubstr("other columns"));
}

TEST(MetricsLogTest, OtherColumnsAndUnknownNamesAreRefused) {
  const TemporaryFolder folder;
  LogThreeRows(folder);
  EXPECT_THAT(MetricsLog::Resume(folder.path(), {"loss"}, 10).status().message(),
              HasSubstr("other columns"));
  EXPECT_EQ(Slurp(folder / "metrics.csv"), kCsv);
  Result<MetricsLog> log = MetricsLog::Resume(folder.path(), kColumns, 30);
  ASSERT_TRUE(log.ok());
  EXPECT_THAT(Append(*log, 2, 40, {{"auc", 0.5}}).message(), HasSubstr("auc"));
  EXPECT_FALSE(Append(*log, 2, 40, {{"accuracy", 0.5}, {"accuracy", 0.5}}).ok());
  EXPECT_EQ(Slurp(folder / "metrics.csv"), kCsv);
  for (const char* name : {"", "a,b", "a\"b", "a\nb", "step", "epoch", "\xff"}) {
    EXPECT_FALSE(MetricsLog::Start(folder.path(), {name}).ok()) << name;
  }
  EXPECT_FALSE(MetricsLog::Start(folder.path(), {"a", "a"}).ok());
  EXPECT_THAT(MetricsLog::Start(folder / "none", {"a"}).status().message(),
              HasSubstr(folder / "none"));
}

// A row that does not fit is not left half written: the next one begins on a line of its own.
TEST(MetricsLogTest, AFullDiskLeavesWholeRows) {
  const TemporaryFolder folder;
  Result<MetricsLog> log = MetricsLog::Start(folder.path(), kColumns);
  ASSERT_TRUE(log.ok());
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  rlimit saved{};
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &saved), 0);
  const rlimit small{.rlim_cur = 40, .rlim_max = saved.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &small), 0);
  const Status status = Append(*log, 0, 1, {{"accuracy", 1.0 / 3.0}});
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &saved), 0);
  std::signal(SIGXFSZ, handler);
  EXPECT_THAT(status.message(), HasSubstr(folder / "metrics.csv"));
  ASSERT_TRUE(Append(*log, 0, 2, {{"accuracy", 0.5}}).ok());
  EXPECT_EQ(Slurp(folder / "metrics.csv"), "epoch,step,train/loss,accuracy\n0,2,,0.5\n");
}

}  // namespace
}  // namespace lockstep
