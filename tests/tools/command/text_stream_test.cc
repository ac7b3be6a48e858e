#include "tools/command/text_stream.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "engine/io/text.h"

namespace lockstep::inline v0_1::tools {
namespace {

// One character of each length, and the ends of each range: the first and last of two, three and
// four bytes, and those around the surrogates.
const std::vector<std::string> kCharacters = {"a",
                                              "\xC2\x80",
                                              "\xDF\xBF",
                                              "\xE0\xA0\x80",
                                              "\xED\x9F\xBF",
                                              "\xEE\x80\x80",
                                              "\xEF\xBF\xBF",
                                              "\xF0\x90\x80\x80",
                                              "\xF4\x8F\xBF\xBF"};

TEST(TextStreamTest, HandsOnWholeCharactersHoweverTheyAreCut) {
  for (const std::string& character : kCharacters) {
    TextStream stream;
    std::string out;
    for (size_t i = 0; i < character.size(); ++i) {
      stream.Add(character.substr(i, 1), out);
      EXPECT_EQ(out, i + 1 == character.size() ? character : "");
    }
  }
  std::string all;
  for (const std::string& character : kCharacters) all += character;
  for (size_t step = 1; step <= 5; ++step) {
    TextStream stream;
    std::string out;
    for (size_t i = 0; i < all.size(); i += step) {
      stream.Add(all.substr(i, step), out);
      EXPECT_TRUE(IsUtf8(out));
    }
    EXPECT_EQ(out, all);
  }
}

TEST(TextStreamTest, BytesThatAreNoCharacterComeOutAsTheyAreAndAtOnce) {
  for (const std::string bytes : {"\xFF", "\x80", "\xC0", "\xC1\xBF", "\xF5\x80", "\xED\xA0",
                                  "\xE0\x80", "\xF4\x90", "\xC3(", "\xE2\x82(", "\xF0\x9F\x98z"}) {
    TextStream stream;
    std::string out;
    stream.Add(bytes, out);
    EXPECT_EQ(out, bytes);
  }
}

TEST(TextStreamTest, WhatIsHalfAtTheEndComesOutAsItIs) {
  TextStream stream;
  std::string out;
  stream.Add("x\xF0\x9F", out);
  stream.Add("\x98", out);
  EXPECT_EQ(out, "x");
  stream.End(out);
  EXPECT_EQ(out, "x\xF0\x9F\x98");
  stream.Add("\x80", out);  // begins anew
  EXPECT_EQ(out, "x\xF0\x9F\x98\x80");
}

}  // namespace
}  // namespace lockstep::tools
