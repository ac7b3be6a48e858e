#include "engine/io/nearest_name.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace lockstep::inline v0_1 {
namespace {

TEST(NearestNameTest, FindsTheNameThatWasMeant) {
  const std::vector<std::string> known = {"learning_rate", "momentum", "epochs", "batch"};
  EXPECT_EQ(NearestName("learnig_rate", known), "learning_rate");
  EXPECT_EQ(NearestName("learning-rates", known), "learning_rate");
  EXPECT_EQ(NearestName("momentun", known), "momentum");
  EXPECT_EQ(NearestName("epoch", known), "epochs");
  EXPECT_EQ(NearestName("batch", known), "batch");
}

TEST(NearestNameTest, TheFirstAmongEqualsAndNothingFromNothing) {
  EXPECT_EQ(NearestName("c", std::vector<std::string>{"a", "b"}), "a");
  EXPECT_EQ(NearestName("", std::vector<std::string>{"ab", "b"}), "b");
  EXPECT_EQ(NearestName("c", std::vector<std::string>{}), "");
}

TEST(NearestNameTest, LongNamesCostLittle) {
  const std::string wanted(1'000'000, 'a');
  EXPECT_EQ(NearestName(wanted, std::vector<std::string>{"b", wanted + "x"}), wanted + "x");
}

}  // namespace
}  // namespace lockstep
