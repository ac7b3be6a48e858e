#include "engine/data/image/class_numbers.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <numeric>

namespace lockstep::inline v0_1 {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

using Numbers = std::vector<int32_t>;
using Names = std::vector<std::string>;

TEST(ClassNumbers, AreTheLabelsThatOccur) {
  EXPECT_THAT(ClassNumbers(Numbers{7, 3, 7, 0, 3}, "y").value(), ElementsAre(0, 3, 7));
  EXPECT_TRUE(ClassNumbers(Numbers{}, "y").value().empty());
  EXPECT_THAT(ClassNumbers(Numbers{4, -2}, "y").status().message(), HasSubstr("y: label 1 is -2"));
  Numbers many(65537);
  std::iota(many.begin(), many.end(), 11);
  EXPECT_THAT(ClassNumbers(many, "y").status().message(), HasSubstr("65537 different labels"));
  many.pop_back();
  EXPECT_EQ(ClassNumbers(many, "y").value(), many);
}

TEST(ClassNumbers, LabelsBecomeTheirPlaces) {
  Numbers labels{9, 2, 5, 9};
  ASSERT_TRUE(ToPlaces(Numbers{2, 5, 9}, "y", labels).ok());
  EXPECT_THAT(labels, ElementsAre(2, 0, 1, 2));
  Numbers unknown{2, 6};
  EXPECT_EQ(ToPlaces(Numbers{2, 5, 9}, "y", unknown).message(),
            "y: holds the label 6, and the classes are 2, 5, 9");
}

TEST(ClassNumbers, NamesSayThemAgain) {
  EXPECT_EQ(ClassNamesOf(Numbers{0, 12}), (Names{"0", "12"}));
  EXPECT_EQ(ClassNumbersOf(Names{"0", "12"}, 2), (Numbers{0, 12}));
  // Names that are no numbers, or no rising ones, or fewer than classes: counted from 0.
  for (const Names& names : {Names{"cat", "dog"}, Names{"2", "1"}, Names{"1", "1.5"}, Names{},
                             Names{"-1", "1"}, Names{"3", ""}}) {
    EXPECT_EQ(ClassNumbersOf(names, 2), (Numbers{0, 1}));
  }
}

TEST(ClassNumbers, ARemarkIsMadeWhereTheyDoNotCountFromZero) {
  EXPECT_EQ(ClassNumbersRemark(Names{"0", "1", "2"}, "y"), "");
  EXPECT_EQ(ClassNumbersRemark(Names{"cat", "dog"}, "y"), "");
  EXPECT_EQ(ClassNumbersRemark(Names{"0", "5"}, "y"),
            "y: labels 0, 5, which are 2 classes of these names");
  EXPECT_EQ(ClassNumbersRemark(Names{"1", "2", "3"}, "y"),
            "y: labels from 1 to 3, which are 3 classes of these names");
  Numbers odd;
  for (int32_t i = 1; i < 40; i += 2) odd.push_back(i);
  EXPECT_EQ(ClassNumbersRemark(ClassNamesOf(odd), "y"),
            "y: labels from 1 to 39, with gaps, which are 20 classes of these names");
}

}  // namespace
}  // namespace lockstep
