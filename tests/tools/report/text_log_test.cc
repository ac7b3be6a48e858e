#include "tools/report/text_log.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <limits>

#include "engine/io/file.h"

namespace lockstep::inline v0_1::tools {
namespace {

constexpr int64_t kAll = std::numeric_limits<int64_t>::max();

std::string PathOf(const std::string& name) { return ::testing::TempDir() + name; }

TEST(TextLog, WhatWasWrittenIsReadAgainUpToAStep) {
  const std::string path = PathOf("text_log_again.jsonl");
  const std::vector<TextSample> samples = {
      {0, 10, "12+35=", "47\n"}, {0, 10, "", "\"quoted\" \\ and ü"}, {1, 20, "a\tb", "<script>"}};
  ASSERT_TRUE(WriteTextSamples(path, samples).ok());
  for (const int64_t last : {int64_t{9}, int64_t{10}, int64_t{19}, kAll}) {
    const auto read = ReadTextSamples(path, last);
    ASSERT_TRUE(read.ok()) << read.status().message();
    ASSERT_EQ(read->size(), last < 10 ? 0u : last < 20 ? 2u : 3u);
    for (size_t i = 0; i < read->size(); ++i) {
      EXPECT_EQ((*read)[i].epoch, samples[i].epoch);
      EXPECT_EQ((*read)[i].step, samples[i].step);
      EXPECT_EQ((*read)[i].prompt, samples[i].prompt);
      EXPECT_EQ((*read)[i].text, samples[i].text);
    }
  }
}

// A token may end within a character.
TEST(TextLog, BytesThatAreNoTextAreReplaced) {
  const std::string path = PathOf("text_log_bytes.jsonl");
  ASSERT_TRUE(WriteTextSamples(path, {{0, 1, "\xFF", "a\xC3"}}).ok());
  const auto read = ReadTextSamples(path, kAll);
  ASSERT_TRUE(read.ok()) << read.status().message();
  EXPECT_EQ((*read)[0].prompt, "\uFFFD");
  EXPECT_EQ((*read)[0].text, "a\uFFFD");
}

TEST(TextLog, NoFileHoldsNothingAndAnUnfinishedLineIsLeftOut) {
  EXPECT_TRUE(ReadTextSamples(PathOf("text_log_none.jsonl"), kAll)->empty());
  const std::string path = PathOf("text_log_unfinished.jsonl");
  ASSERT_TRUE(WriteTextSamples(path, {{0, 1, "a", "b"}}).ok());
  std::ofstream(path, std::ios::app) << "{\"epoch\":1,\"st";
  EXPECT_EQ(ReadTextSamples(path, kAll)->size(), 1u);
}

TEST(TextLog, AnotherLineIsAnErrorThatSaysWhere) {
  for (const char* line :
       {"[]", "{}", "12", "{\"epoch\":0,\"step\":1.5,\"prompt\":\"\",\"text\":\"\"}",
        "{\"epoch\":0,\"step\":1,\"prompt\":[],\"text\":\"\"}", "no JSON", ""}) {
    const std::string path = PathOf("text_log_wrong.jsonl");
    ASSERT_TRUE(WriteTextSamples(path, {{0, 1, "a", "b"}}).ok());
    std::ofstream(path, std::ios::app) << line << "\n";
    const auto read = ReadTextSamples(path, kAll);
    ASSERT_FALSE(read.ok()) << line;
    EXPECT_THAT(read.status().message(), ::testing::HasSubstr("line 2 is no sample")) << line;
  }
}

}  // namespace
}  // namespace lockstep::tools
