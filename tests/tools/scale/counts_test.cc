#include "tools/scale/counts.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/parallel/shards.h"

namespace lockstep::inline v0_1::scale {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

TEST(ParseCounts, RisesAndHoldsEachOnce) {
  EXPECT_THAT(*ParseCounts("--threads", "1,2,4"), ElementsAre(1, 2, 4));
  EXPECT_THAT(*ParseCounts("--threads", "8,2,2"), ElementsAre(2, 8));
  EXPECT_THAT(*ParseCounts("--threads", "7"), ElementsAre(7));
}

TEST(ParseCounts, NamesWhatIsWrongInOneLine) {
  for (const char* text :
       {"0", "", "1,,2", ",", "1,", "-1", "2x", "1;2", " 1", "1.5", "99999999999"}) {
    const auto counts = ParseCounts("--ranks", text);
    ASSERT_FALSE(counts.ok()) << text;
    EXPECT_THAT(counts.status().message(), HasSubstr("--ranks"));
    EXPECT_EQ(counts.status().message().find('\n'), std::string::npos);
  }
  EXPECT_THAT(ParseCounts("--threads", "1,,2").status().message(), HasSubstr("there is none"));
  EXPECT_THAT(ParseCounts("--threads", "0").status().message(), HasSubstr("\"0\""));
}

TEST(ParseCounts, HasALimit) {
  EXPECT_TRUE(ParseCounts("--threads", "4096").ok());
  EXPECT_FALSE(ParseCounts("--threads", "4097").ok());
  EXPECT_THAT(*ParseCounts("--sizes", "4194304", 1 << 30), ElementsAre(4194304));
}

TEST(DoublingUpTo, EndsWithAllThereAre) {
  EXPECT_THAT(DoublingUpTo(1), ElementsAre(1));
  EXPECT_THAT(DoublingUpTo(6), ElementsAre(1, 2, 4, 6));
  EXPECT_THAT(DoublingUpTo(8), ElementsAre(1, 2, 4, 8));
}

TEST(ShardsFor, GivesEachRankAPowerOfTwo) {
  for (int shards = 1; shards <= 16; ++shards) {
    EXPECT_EQ(ShardsFor(shards, 1), shards);
    for (const int ranks : {2, 3, 4, 5, 8, 12}) {
      const int got = ShardsFor(shards, ranks);
      EXPECT_GE(got, shards);
      EXPECT_TRUE(BatchCut::IsRegular(got, ranks)) << shards << " " << ranks;
      if (BatchCut::IsRegular(shards, ranks)) {
        EXPECT_EQ(got, shards);
      }
    }
  }
}

}  // namespace
}  // namespace lockstep::scale
