#include "engine/train/sample_description.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "engine/data/text/bpe_files.h"
#include "engine/data/text/byte_tokenizer.h"
#include "engine/data/text/character_tokenizer.h"

namespace lockstep::inline v0_1 {
namespace {

using ::testing::HasSubstr;

DatasetInfo Tokens() {
  return {.x_dtype = DType::kI32,
          .x_shape = {16},
          .target_shape = {16},
          .classes = 5,
          .vocabulary = 5,
          .padded = true,
          .tokenizer = MakeCharacterTokenizer("a\nb\xFFé")};
}

std::string ErrorOf(const Metadata& metadata) {
  return DatasetInfoFrom(metadata).status().message();
}

TEST(SampleDescriptionTest, TokensReadBackWithTheirTokenizer) {
  const auto bpe = ParseBpe(R"({"a": 0, "b": 1, "ab": 2, "<|endoftext|>": 3})", "a b\n").value();
  for (const auto& tokenizer : {Tokens().tokenizer, MakeByteTokenizer(), bpe}) {
    for (const bool padded : {false, true}) {
      DatasetInfo info = Tokens();
      info.tokenizer = tokenizer;
      info.padded = padded;
      info.vocabulary = tokenizer->size() + 3;  // as where a table was rounded up
      const auto back = DatasetInfoFrom(MetadataOf(info));
      ASSERT_TRUE(back.ok()) << back.status().message();
      EXPECT_EQ(back->x_dtype, DType::kI32);
      EXPECT_EQ(back->x_shape, info.x_shape);
      EXPECT_EQ(back->target_shape, info.target_shape);
      EXPECT_EQ(back->classes, 5);
      EXPECT_EQ(back->vocabulary, info.vocabulary);
      EXPECT_EQ(back->padded, padded);
      EXPECT_EQ(back->tokenizer->kind(), tokenizer->kind());
      EXPECT_EQ(back->tokenizer->Description(), tokenizer->Description());
      EXPECT_EQ(MetadataOf(*back), MetadataOf(info));
    }
  }
}

TEST(SampleDescriptionTest, NumbersNeedNoTokenizer) {
  DatasetInfo info = Tokens();
  info.tokenizer = nullptr;
  const auto back = DatasetInfoFrom(MetadataOf(info));
  ASSERT_TRUE(back.ok()) << back.status().message();
  EXPECT_EQ(back->tokenizer, nullptr);
  EXPECT_EQ(back->vocabulary, 5);
}

TEST(SampleDescriptionTest, DocumentsWithLabelsReadBack) {
  DatasetInfo info = Tokens();
  info.class_names = {"bad", "good"};
  SetTargets(Task::kClasses, 2, info);
  const auto back = DatasetInfoFrom(MetadataOf(info));
  ASSERT_TRUE(back.ok()) << back.status().message();
  EXPECT_EQ(back->target_shape, Shape{});
  EXPECT_EQ(back->class_names, info.class_names);
}

TEST(SampleDescriptionTest, WindowsOfSeriesReadBack) {
  DatasetInfo info{.x_shape = {8, 2}, .feature_names = {"load", "wind"}};
  SetTargets(Task::kRegression, 1, info);
  const auto back = DatasetInfoFrom(MetadataOf(info));
  ASSERT_TRUE(back.ok()) << back.status().message();
  EXPECT_EQ(back->x_dtype, DType::kF32);
  EXPECT_EQ(back->x_shape, info.x_shape);
  EXPECT_EQ(back->feature_names, info.feature_names);
}

TEST(SampleDescriptionTest, DamagedMetadataIsRefused) {
  const Metadata right = MetadataOf(Tokens());
  const auto with = [&](const std::string& key, const std::string& value) {
    Metadata metadata = right;
    metadata[key] = value;
    return ErrorOf(metadata);
  };
  EXPECT_THAT(with("data.vocabulary", "0"), HasSubstr("whole number"));
  EXPECT_THAT(with("data.vocabulary", "99999999999"), HasSubstr("whole number"));
  EXPECT_THAT(with("data.vocabulary", "4"), HasSubstr("at least the tokens of the tokenizer"));
  EXPECT_THAT(with("data.padded", "yes"), HasSubstr("data.padded"));
  EXPECT_THAT(with("data.tokenizer", "{}"), HasSubstr("data.tokenizer"));
  EXPECT_THAT(with("data.tokenizer", R"({"model": {"type": "WordPiece"}})"),
              HasSubstr("another kind than BPE"));
  Metadata without = right;
  without.erase("data.input");
  EXPECT_THAT(ErrorOf(without), HasSubstr("data.input"));
}

}  // namespace
}  // namespace lockstep
