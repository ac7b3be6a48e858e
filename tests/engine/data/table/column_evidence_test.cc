#include "engine/data/table/column_evidence.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "engine/base/random.h"

namespace lockstep::inline v0_1 {
namespace {

using ::testing::ElementsAre;
using ::testing::Pair;

const MissingTexts& Usual() {
  static const MissingTexts missing;
  return missing;
}

ColumnEvidence Seen(const std::vector<std::string>& cells, NumberForm form = {},
                    size_t most_numbers = ColumnEvidence::kFewNumbers,
                    size_t most_texts = ColumnEvidence::kMostCategories) {
  ColumnEvidence seen(most_numbers, most_texts);
  int64_t line = 0;
  for (const std::string& cell : cells) seen.Add(cell, ++line, Usual(), form);
  return seen;
}

TEST(ColumnEvidence, CountsWhatCellsAre) {
  const ColumnEvidence seen =
      Seen({"3", "NA", "-1.5", "yes", "2020-04-03", "03/04/2020", "word", "inf", "", "1e999", "3"});
  EXPECT_EQ(seen.cells, 11);
  EXPECT_EQ(seen.missing, 2);
  EXPECT_EQ(seen.present(), 9);
  EXPECT_EQ(seen.numbers, 5);
  EXPECT_EQ(seen.unusable, 2);
  EXPECT_EQ(seen.words, 1);
  EXPECT_THAT(seen.dates, ElementsAre(1, 1, 1, 0));  // 03/04/2020 is one of two forms
  EXPECT_FALSE(seen.has_time);
  EXPECT_FALSE(seen.whole);
  EXPECT_EQ(seen.least, -1.5);
  EXPECT_EQ(seen.most, 3);
  EXPECT_THAT(seen.texts, ElementsAre(Pair("3", 2), Pair("-1.5", 1), Pair("yes", 1),
                                      Pair("2020-04-03", 1), Pair("03/04/2020", 1), Pair("word", 1),
                                      Pair("inf", 1), Pair("1e999", 1)));
  EXPECT_EQ(seen.first_missing.line, 2);
  EXPECT_EQ(seen.first_missing.text, "NA");
  EXPECT_EQ(seen.first_text.line, 4);
  EXPECT_EQ(seen.first_unusable.line, 8);
  EXPECT_EQ(seen.first_unusable.text, "inf");
}

TEST(ColumnEvidence, NumbersAreReadAsTheDialectWritesThem) {
  EXPECT_EQ(Seen({"1,5", "2,25"}, {',', '\0'}).most, 2.25);
  EXPECT_EQ(Seen({"1,5", "2,25"}).numbers, 0);
  EXPECT_EQ(Seen({"1.234.567", "2"}, {',', '.'}).most, 1234567);
}

TEST(ColumnEvidence, TheDeviationIsThatOfTheNumbers) {
  EXPECT_EQ(Seen({}).sd(), 0.0);
  EXPECT_EQ(Seen({"7", "NA", "7"}).sd(), 0.0);
  // Of moments in seconds, one second apart: sqrt(2 / 3). Welford's sum loses about n * eps of
  // mean^2 in m2 at worst, and far less; a naive sum of squares would lose all of it.
  const double sd = Seen({"1700000000", "1700000001", "1700000002"}).sd();
  EXPECT_TRUE(std::abs(sd - std::sqrt(2.0 / 3.0)) <= 1e-6) << sd;
}

TEST(ColumnEvidence, CountingColumnsGoUpByOne) {
  EXPECT_TRUE(Seen({"5", "6", "7"}).counts_up());
  EXPECT_TRUE(Seen({"-1", "0", "1"}).counts_up());
  EXPECT_FALSE(Seen({"5"}).counts_up());
  EXPECT_FALSE(Seen({"5", "6", "8"}).counts_up());
  EXPECT_FALSE(Seen({"5", "6", "6"}).counts_up());
  EXPECT_FALSE(Seen({"7", "6", "5"}).counts_up());
  EXPECT_FALSE(Seen({"1", "2", "x"}).counts_up());
}

TEST(ColumnEvidence, TextsAreOrderedAsNumbersIfAllAre) {
  EXPECT_THAT(Seen({"10", "9", "-1", "10"}).OrderedTexts({}), ElementsAre("-1", "9", "10"));
  EXPECT_THAT(Seen({"10", "9", "b"}).OrderedTexts({}), ElementsAre("10", "9", "b"));
  EXPECT_THAT(Seen({"b", "B", "a"}).OrderedTexts({}), ElementsAre("B", "a", "b"));
  EXPECT_THAT(Seen({"10", "9", "inf"}).OrderedTexts({}), ElementsAre("10", "9", "inf"));
  EXPECT_THAT(Seen({"1,5", "10", "9"}, {',', '\0'}).OrderedTexts({',', '\0'}),
              ElementsAre("1,5", "9", "10"));
}

TEST(ColumnEvidence, ForgetsTextsBeyondItsLimits) {
  EXPECT_TRUE(Seen({"1", "2", "3"}, {}, 3, 5).knows_texts());
  const ColumnEvidence numbers = Seen({"1", "2", "3", "4", "4"}, {}, 3, 5);
  EXPECT_FALSE(numbers.knows_texts());
  EXPECT_TRUE(numbers.texts.empty());
  EXPECT_EQ(numbers.numbers, 5);
  EXPECT_TRUE(Seen({"a", "b", "c", "d", "e", "a"}, {}, 3, 5).knows_texts());
  EXPECT_FALSE(Seen({"a", "b", "c", "d", "e", "f"}, {}, 3, 5).knows_texts());
}

// Whatever the cuts, parts that are merged know what one look at all cells does.
TEST(ColumnEvidence, MergedPartsKnowWhatTheWholeDoes) {
  const std::vector<std::string> pool = {"1",   "2",   "3",          "2.5",  "NA",
                                         "",    "yes", "no",         "word", "2020-01-02",
                                         "inf", "x y", "03.04.2020", "0",    "-7"};
  Random random(5, StreamOf("merge"));
  for (int round = 0; round < 300; ++round) {
    const size_t kinds = 1 + random.Below(pool.size());
    const bool counting = random.Below(4) == 0;
    std::vector<std::string> cells(random.Below(40));
    for (size_t i = 0; i < cells.size(); ++i)
      cells[i] = counting ? std::to_string(i) : pool[random.Below(kinds)];
    const ColumnEvidence whole = Seen(cells);
    ColumnEvidence merged;
    size_t begin = 0;
    while (begin < cells.size()) {
      const size_t end = std::min<size_t>(cells.size(), begin + 1 + random.Below(9));
      ColumnEvidence part;
      for (size_t i = begin; i < end; ++i)
        part.Add(cells[i], static_cast<int64_t>(i) + 1, Usual(), {});
      merged.Merge(part);
      if (random.Below(4) == 0) merged.Merge(ColumnEvidence());
      begin = end;
    }
    EXPECT_EQ(merged.cells, whole.cells);
    EXPECT_EQ(merged.missing, whole.missing);
    EXPECT_EQ(merged.numbers, whole.numbers);
    EXPECT_EQ(merged.unusable, whole.unusable);
    EXPECT_EQ(merged.words, whole.words);
    EXPECT_EQ(merged.dates, whole.dates);
    EXPECT_EQ(merged.whole, whole.whole);
    EXPECT_EQ(merged.least, whole.least);
    EXPECT_EQ(merged.most, whole.most);
    EXPECT_EQ(merged.texts, whole.texts);
    EXPECT_EQ(merged.counts_up(), whole.counts_up());
    EXPECT_EQ(merged.first_missing.line, whole.first_missing.line);
    EXPECT_EQ(merged.first_text.line, whole.first_text.line);
    EXPECT_EQ(merged.first_unusable.line, whole.first_unusable.line);
    // Both are sums of at most 40 numbers below 50.
    EXPECT_TRUE(std::abs(merged.sd() - whole.sd()) <= 1e-12 * (1.0 + whole.sd()));
  }
}

TEST(ColumnEvidence, MergedPartsForgetBeyondTheLimits) {
  ColumnEvidence merged(3, 5);
  merged.Merge(Seen({"1", "2"}, {}, 3, 5));
  EXPECT_TRUE(merged.knows_texts());
  merged.Merge(Seen({"3", "4"}, {}, 3, 5));
  EXPECT_FALSE(merged.knows_texts());
  merged.Merge(Seen({"1"}, {}, 3, 5));
  EXPECT_FALSE(merged.knows_texts());
  EXPECT_TRUE(merged.texts.empty());
}

}  // namespace
}  // namespace lockstep
