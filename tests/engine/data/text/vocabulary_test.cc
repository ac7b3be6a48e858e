#include "engine/data/text/vocabulary.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>
#include <string>
#include <vector>

#include "tests/engine/data/data_files.h"
#include "tests/engine/io/temporary_folder.h"

namespace lockstep {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST(VocabularyTest, NumbersDistinctCharactersInAscendingOrder) {
  const Vocabulary vocabulary("banana\n\xFF");
  EXPECT_EQ(vocabulary.characters(), "\nabn\xFF");
  EXPECT_EQ(vocabulary.size(), 5);
  EXPECT_THAT(vocabulary.Encode("nab\xFF").value(), ElementsAre(3, 1, 2, 4));
  EXPECT_EQ(Vocabulary("").size(), 0);
}

TEST(VocabularyTest, DecodingUndoesEncoding) {
  std::string text;
  for (int i = 0; i < 1000; ++i) text += static_cast<char>(i * 37 % 256);
  const Vocabulary vocabulary(text);
  EXPECT_EQ(vocabulary.size(), 256);
  EXPECT_EQ(vocabulary.Decode(vocabulary.Encode(text).value()), text);
}

TEST(VocabularyTest, UnknownCharactersAndTokensAreRefused) {
  const Vocabulary vocabulary("abc");
  const auto encoded = vocabulary.Encode("abx");
  ASSERT_FALSE(encoded.ok());
  EXPECT_THAT(encoded.status().message(), HasSubstr("character 2 of \"abx\""));
  const std::vector<int32_t> beyond = {3}, negative = {-1};
  EXPECT_THROW(vocabulary.Decode(beyond), CheckFailure);
  EXPECT_THROW(vocabulary.Decode(negative), CheckFailure);
}

// The facts that shared/data/tinyshakespeare/README.md states.
TEST(VocabularyTest, ShakespeareHasSixtyFiveCharacters) {
  LOCKSTEP_NEEDS_REAL_FILE("tinyshakespeare/input.txt");
  const std::string text = Slurp(RealFile("tinyshakespeare/input.txt"));
  EXPECT_EQ(text.size(), 1115394u);
  EXPECT_EQ(Vocabulary(text).characters(),
            "\n !$&',-.3:;?ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz");
}

}  // namespace
}  // namespace lockstep
