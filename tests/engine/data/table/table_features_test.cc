#include "engine/data/table/table_features.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <ctime>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "engine/base/random.h"

namespace lockstep::inline v0_1 {
namespace {

using ::testing::ElementsAre;
using ::testing::FloatNear;
using Kind = TableColumn::Kind;
using Role = TableColumn::Role;
constexpr double kNone = std::numeric_limits<double>::quiet_NaN();

std::vector<float> Encoded(const TableColumn& column, CellValue value) {
  const TableDescription description{.columns = {column}};
  const FeatureLayout layout = LayoutOf(description);
  std::vector<float> x(static_cast<size_t>(layout.size) + 2, -99.0f);
  EncodeCell(column, layout.columns[0], value, x.data() + 1);
  EXPECT_EQ(x.front(), -99.0f) << "in front of its own numbers";
  EXPECT_EQ(x.back(), -99.0f) << "behind its own numbers";
  return {x.begin() + 1, x.end() - 1};
}
TableColumn Category(int64_t count, bool has_missing, int64_t width) {
  TableColumn column{.kind = Kind::kCategory, .has_missing = has_missing, .width = width};
  for (int64_t i = 0; i < count; ++i) column.categories.push_back("c" + std::to_string(i));
  return column;
}

TEST(TableFeatures, EmbeddedOnesComeLastAndOthersStayInOrder) {
  TableColumn town = Category(40, true, 9);
  town.name = "town";
  TableColumn colour = Category(3, false, 0);
  colour.name = "colour";
  const TableDescription description{
      .columns = {{.name = "id", .role = Role::kLeftOut},
                  town,
                  {.name = "age", .has_missing = true, .indicate = true},
                  colour,
                  {.name = "y", .role = Role::kTarget},
                  {.kind = Kind::kDate, .has_missing = true, .has_time = true, .indicate = true},
                  {.name = "w", .role = Role::kWeight}}};
  const FeatureLayout layout = LayoutOf(description);
  ASSERT_EQ(layout.columns.size(), 4u);
  const int64_t want[][4] = {{2, 0, 2, 0}, {3, 2, 5, 4}, {5, 5, 13, 0}, {1, 13, 14, 42}};
  for (size_t i = 0; i < 4; ++i) {
    EXPECT_EQ(layout.columns[i].column, want[i][0]);
    EXPECT_EQ(layout.columns[i].begin, want[i][1]);
    EXPECT_EQ(layout.columns[i].end, want[i][2]);
    EXPECT_EQ(layout.columns[i].values, want[i][3]);
    EXPECT_EQ(layout.columns[i].embedded, i == 3);
  }
  EXPECT_EQ(layout.size, 14);
  EXPECT_THAT(
      FeatureNames(description),
      ElementsAre("age", "age (missing)", "colour=c0", "colour=c1", "colour=c2", "column 5",
                  "column 5 (sin of year)", "column 5 (cos of year)", "column 5 (sin of week)",
                  "column 5 (cos of week)", "column 5 (sin of day)", "column 5 (cos of day)",
                  "column 5 (missing)", "town"));
  DatasetInfo info;
  DescribeSamples(std::make_shared<const TableDescription>(description), info);
  EXPECT_EQ(info.x_shape, Shape{14});
  EXPECT_EQ(info.columns.size(), 4u);
  EXPECT_EQ(info.columns[3].name, "town");
  ASSERT_EQ(info.embedded.size(), 1u);
  EXPECT_EQ(info.embedded[0].feature, 13);
  EXPECT_EQ(info.embedded[0].values, 42);
  EXPECT_EQ(info.embedded[0].width, 9);
  EXPECT_TRUE(info.weighted);
}

TEST(TableFeatures, NumbersAreScaledInDouble) {
  const TableColumn column{
      .has_missing = true, .subtracted = 1.7e9, .divided = 2.0, .fill = 1.7e9 + 6};
  EXPECT_THAT(Encoded(column, {.number = 1.7e9 + 1}), ElementsAre(0.5f));
  EXPECT_THAT(Encoded(column, {.number = kNone}), ElementsAre(3.0f));
  TableColumn told = column;
  told.indicate = true;
  EXPECT_THAT(Encoded(told, {.number = 1.7e9 + 1}), ElementsAre(0.5f, 0.0f));
  EXPECT_THAT(Encoded(told, {.number = kNone}), ElementsAre(3.0f, 1.0f));
  const TableColumn constant{.subtracted = 7.0, .divided = 0.0};
  EXPECT_THAT(Encoded(constant, {.number = 8.0}), ElementsAre(0.0f));
  EXPECT_THAT(Encoded(constant, {.number = kNone}), ElementsAre(0.0f));
}

TEST(TableFeatures, OneHotOfKnownMissingAndUnseen) {
  const TableColumn lacks = Category(3, true, 0), whole = Category(3, false, 0);
  EXPECT_THAT(Encoded(lacks, {.code = 1}), ElementsAre(0, 1, 0, 0));
  EXPECT_THAT(Encoded(lacks, {.code = kMissingCode}), ElementsAre(0, 0, 0, 1));
  EXPECT_THAT(Encoded(lacks, {.code = kUnseenCode}), ElementsAre(0, 0, 0, 0));
  EXPECT_THAT(Encoded(whole, {.code = 2}), ElementsAre(0, 0, 1));
  // Missing where none was in training is unseen.
  EXPECT_THAT(Encoded(whole, {.code = kMissingCode}), ElementsAre(0, 0, 0));
  // One that none of the training rows has is never learned.
  TableColumn counted = whole;
  counted.counts = {5, 0, 2};
  EXPECT_THAT(Encoded(counted, {.code = 0}), ElementsAre(1, 0, 0));
  EXPECT_THAT(Encoded(counted, {.code = 1}), ElementsAre(0, 0, 0));
}

TEST(TableFeatures, EmbeddedCodesAreBelowTheirNumberOfValues) {
  for (const bool has_missing : {true, false}) {
    const TableColumn column = Category(40, has_missing, 9);
    const int64_t values = LayoutOf({.columns = {column}}).columns[0].values;
    EXPECT_EQ(values, has_missing ? 42 : 41);
    const auto last = static_cast<float>(values - 1);
    EXPECT_THAT(Encoded(column, {.code = 39}), ElementsAre(39));
    EXPECT_THAT(Encoded(column, {.code = kMissingCode}), ElementsAre(has_missing ? 40 : last));
    EXPECT_THAT(Encoded(column, {.code = kUnseenCode}), ElementsAre(last));
    TableColumn counted = column;
    counted.counts.assign(40, 1);
    counted.counts[7] = 0;
    EXPECT_THAT(Encoded(counted, {.code = 7}), ElementsAre(last));
  }
}

// The C library's calendar knows the day of the week, and a day's share of its year up to leap
// days: the mean year's phase and the calendar's differ by at most a day and a half.
TEST(TableFeatures, DatesTurnWithYearWeekAndDay) {
  TableColumn column{.kind = Kind::kDate, .has_missing = true, .has_time = true};
  column.subtracted = 10000.0;
  column.divided = 1000.0;
  column.fill = 11000.0;
  Random random(6, StreamOf("dates"));
  for (int i = 0; i < 2000; ++i) {
    const auto seconds = static_cast<std::time_t>(random.Below(4000000000u)) - 1000000000;
    std::tm parts{};
    gmtime_r(&seconds, &parts);
    const double days = static_cast<double>(seconds) / 86400.0;
    const std::vector<float> x = Encoded(column, {.number = days});
    ASSERT_EQ(x.size(), 7u);
    EXPECT_EQ(x[0], static_cast<float>((days - 10000.0) / 1000.0));
    const auto turn = [&](size_t at) {
      const double angle = std::atan2(x[at], x[at + 1]) / (2.0 * M_PI);
      EXPECT_TRUE(std::abs(std::hypot(x[at], x[at + 1]) - 1.0) <= 1e-6);
      return angle - std::floor(angle);
    };
    const auto near = [](double a, double b, double tolerance) {
      const double apart = std::abs(a - b);
      return std::min(apart, 1.0 - apart) <= tolerance;
    };
    const double day = (parts.tm_hour * 3600 + parts.tm_min * 60 + parts.tm_sec) / 86400.0;
    const int since_monday = (parts.tm_wday + 6) % 7;
    // Sine and cosine rounded to floats leave 1e-7 of a turn.
    EXPECT_TRUE(near(turn(5), day, 1e-6)) << seconds;
    EXPECT_TRUE(near(turn(3), (since_monday + day) / 7.0, 1e-6)) << seconds;
    EXPECT_TRUE(near(turn(1), (parts.tm_yday + day) / 365.2425, 1.6 / 365.0)) << seconds;
  }
  // Zeros say that nothing is known.
  EXPECT_THAT(Encoded(column, {.number = kNone}), ElementsAre(1, 0, 0, 0, 0, 0, 0));
  column.indicate = true;
  column.has_time = false;
  EXPECT_THAT(Encoded(column, {.number = kNone}), ElementsAre(1, 0, 0, 0, 0, 1));
  EXPECT_EQ(Encoded(column, {.number = 3.0}).back(), 0.0f);
}

TEST(TableFeatures, TimesTurnWithTheDayAlone) {
  TableColumn column{.name = "clock",
                     .kind = Kind::kDate,
                     .date = DateForm::kTimeOfDay,
                     .has_time = true,
                     .subtracted = 0.5,
                     .divided = 0.25};
  EXPECT_THAT(FeatureNames({.columns = {column}}),
              ElementsAre("clock", "clock (sin of day)", "clock (cos of day)"));
  EXPECT_THAT(Encoded(column, {.number = 0.0}), ElementsAre(-2, 0, 1));
  EXPECT_THAT(Encoded(column, {.number = 0.25}), ElementsAre(-1, 1, FloatNear(0.0f, 1e-7f)));
  EXPECT_THAT(Encoded(column, {.number = 0.75}), ElementsAre(1, -1, FloatNear(0.0f, 1e-7f)));
  EXPECT_THAT(Encoded(column, {.number = kNone}), ElementsAre(-2, 0, 0));
}

}  // namespace
}  // namespace lockstep
