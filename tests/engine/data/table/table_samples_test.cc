// SetScales, TableSamples and GroupsOf.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "tests/engine/data/table/parsed_tables.h"

namespace lockstep::inline v0_1 {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using Missing = TableOptions::Missing;
using Role = TableColumn::Role;

TableOptions Typed(const std::string& column, const std::string& type) {
  return {.types = {{column, type}}};
}

TEST(TableSamples, ScalesAreThoseOfTheTrainingRowsAlone) {
  const Table table = Parsed("u,y\n1,p\n3,q\n100,p\n-7,q\n");
  const TableDescription description = Scaled(table, {0, 1});
  EXPECT_EQ(description.columns[0].subtracted, 2.0);
  EXPECT_EQ(description.columns[0].divided, 1.0);
  EXPECT_EQ(description.columns[0].fill, 2.0);
  EXPECT_THAT(SamplesOf(table, description).x, ElementsAre(-1, 1, 98, -9));
  // The table's own description is left as it was.
  EXPECT_EQ(table.description.columns[0].subtracted, 0.0);
  TableDescription none = table.description;
  EXPECT_THAT(SetScales(table, {}, true, none).message(), HasSubstr("at least one row"));
}

// Seconds since 1970, of which a float holds every 128th alone.
TEST(TableSamples, TimestampsKeepTheirSeconds) {
  std::string text = "t,y\n";
  for (const int second : {30, 10, 20, 10}) {
    text += std::to_string(1700000000 + second) + (second == 10 ? ",p\n" : ",q\n");
  }
  const Table table = Parsed(text);
  const Samples samples = SamplesOf(table, Scaled(table, AllRows(table)));
  const double sd = std::sqrt((12.5 * 12.5 + 7.5 * 7.5 + 2.5 * 2.5 + 7.5 * 7.5) / 4.0);
  const double want[] = {12.5 / sd, -7.5 / sd, 2.5 / sd, -7.5 / sd};
  for (size_t i = 0; i < 4; ++i) {
    // The mean of numbers of 2^31 is right to 2^-22, a share of 1e-7 of a deviation of 8.
    EXPECT_TRUE(std::abs(samples.x[i] - want[i]) <= 2e-6) << samples.x[i];
  }
}

TEST(TableSamples, ConstantColumnsGiveZeros) {
  const Table table = Parsed("c,u,y\n0.1,1,p\n0.1,2,q\n0.1,3,p\n", Typed("c", "number"));
  const TableDescription description = Scaled(table, AllRows(table));
  EXPECT_EQ(description.columns[0].divided, 0.0);
  const Samples samples = SamplesOf(table, description);
  for (int64_t i = 0; i < 3; ++i) EXPECT_EQ(samples.row(i)[0], 0.0f);
  // Constant in the training rows, not elsewhere.
  const Table later = Parsed("c,u,y\n5,1,p\n5,2,q\n9,3,p\n");
  EXPECT_EQ(SamplesOf(later, Scaled(later, {0, 1})).row(2)[0], 0.0f);
  // Missing in all training rows.
  const Table lacks = Parsed("c,u,y\n,1,p\n,2,q\n9,3,p\n", {.on_missing = Missing::kMean});
  const Samples filled = SamplesOf(lacks, Scaled(lacks, {0, 1}));
  for (int64_t i = 0; i < 3; ++i) EXPECT_TRUE(std::isfinite(filled.row(i)[0]));
}

TEST(TableSamples, WithoutStandardisingNumbersStayAsTheyAre) {
  const Table table = Parsed("u,y\n1,p\n3,q\n,p\n", {.on_missing = Missing::kMean});
  EXPECT_THAT(SamplesOf(table, Scaled(table, AllRows(table), false)).x, ElementsAre(1, 3, 2));
}

TEST(TableSamples, ACategoryOfNoTrainingRowIsUnseen) {
  const Table table = Parsed("town,y\na,p\nb,q\nc,p\nb,q\na,p\n");
  const TableDescription description = Scaled(table, {0, 1, 4});
  EXPECT_THAT(description.columns[0].counts, ElementsAre(2, 1, 0));
  const Samples samples = SamplesOf(table, description);
  EXPECT_THAT(samples.row(0), ElementsAre(1, 0, 0));
  EXPECT_THAT(samples.row(2), ElementsAre(0, 0, 0));
}

// The place of a missing one is learned from training rows alone, too.
TEST(TableSamples, AMissingCategoryOfNoTrainingRowIsUnseen) {
  const Table table = Parsed("town,y\na,p\nb,q\nNA,p\nb,q\n");
  EXPECT_THAT(SamplesOf(table, Scaled(table, {0, 1, 2})).row(2), ElementsAre(0, 0, 1));
  EXPECT_THAT(SamplesOf(table, Scaled(table, {0, 1})).row(2), ElementsAre(0, 0));
}

TEST(TableSamples, AClassOfNoTrainingRowIsAnError) {
  const Table table = Parsed("u,y\n1,p\n2,q\n5,r\n", {.task = Task::kClasses});
  TableDescription description = table.description;
  const std::vector<int64_t> train = {0, 1};
  EXPECT_THAT(SetScales(table, train, true, description).message(), HasSubstr("class r"));
}

TEST(TableSamples, TargetsOfRegressionsAreStandardisedAndToldInTheirUnit) {
  const Table table = Parsed("u,y\n1,20000\n2,30000\n5,70000\n", {.task = Task::kRegression});
  const Samples samples = SamplesOf(table, Scaled(table, {0, 1}, /*standardize=*/false));
  EXPECT_EQ(samples.info.target_offset, 25000.0);
  EXPECT_EQ(samples.info.target_scale, 5000.0);
  EXPECT_THAT(samples.targets, ElementsAre(-1, 1, 9));
  const Table constant = Parsed("u,y\n1,5\n2,5\n7,5\n", {.task = Task::kRegression});
  const Samples same = SamplesOf(constant, Scaled(constant, AllRows(constant)));
  EXPECT_EQ(same.info.target_scale, 1.0);
  EXPECT_THAT(same.targets, ElementsAre(0, 0, 0));
}

TEST(TableSamples, WeightsComeWithTheSamples) {
  const Table table = Parsed("u,w,y\n1,2,p\n2,0,q\n5,0.5,p\n", {.weight = "w"});
  const auto dataset =
      TableSamples(table, std::make_shared<const TableDescription>(Scaled(table, AllRows(table))))
          .value();
  EXPECT_TRUE(dataset->info().weighted);
  EXPECT_THAT(dataset->info().feature_names, ElementsAre("u"));
  std::vector<float> weights(3);
  ASSERT_TRUE(dataset->GatherWeights(AllIndices(3), weights).ok());
  EXPECT_THAT(weights, ElementsAre(2, 0, 0.5f));
}

TEST(TableSamples, GroupsAreRowsThatAreAlike) {
  const Table table = Parsed("who,sex,t,u,y\nb,yes,1,1,p\na,no,1,2,q\n,yes,,3,p\nb,yes,2,4,q\n",
                             {.group = "who", .on_missing = Missing::kMean});
  const RowGroups who = GroupsOf(table, 0).value();
  EXPECT_THAT(who.names, ElementsAre("a", "b", "(missing)"));
  EXPECT_THAT(who.of_row, ElementsAre(1, 0, 2, 1));
  const RowGroups sex = GroupsOf(table, 1).value();
  EXPECT_THAT(sex.names, ElementsAre("no", "yes"));
  EXPECT_THAT(sex.of_row, ElementsAre(1, 0, 1, 1));
  const RowGroups time = GroupsOf(table, 2).value();
  EXPECT_THAT(time.names, ElementsAre("1", "2", "(missing)"));
  EXPECT_THAT(time.of_row, ElementsAre(0, 0, 2, 1));
  const Table left = Parsed("who,u,y\nb,1,p\na,2,q\n", {.ignored = {"who"}});
  EXPECT_THAT(GroupsOf(left, 0).status().message(), HasSubstr("left out"));
}

}  // namespace
}  // namespace lockstep
