// Recipes of texts, tokens, documents, series and sums: what becomes of [data].
#include "models/recipe_text.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "engine/data/text/character_tokenizer.h"
#include "engine/data/text/token_file.h"
#include "tests/engine/data/data_files.h"
#include "tests/engine/io/temporary_folder.h"

namespace lockstep::inline v0_1 {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

class RecipeText : public ::testing::Test {
 protected:
  Recipe Made(std::vector<std::string> overrides) {
    Result<Recipe> recipe = ParseRecipe("", "r.toml", overrides);
    EXPECT_TRUE(recipe.ok()) << recipe.status().message();
    return std::move(recipe).value();
  }
  Result<RecipeData> Load(std::vector<std::string> overrides) {
    return LoadData(Made(std::move(overrides)));
  }
  std::string ErrorOf(std::vector<std::string> overrides) {
    return Load(std::move(overrides)).status().message();
  }
  std::string Path(const std::string& name) { return "data.path=" + (folder_ / name); }
  void Spill(const std::string& name, const std::string& text) {
    lockstep::Spill(folder_ / name, text);
  }
  static std::vector<int32_t> Gathered(const Subset& subset) {
    std::vector<int32_t> x(static_cast<size_t>(
        subset.dataset->XShape(static_cast<int64_t>(subset.indices.size())).size()));
    EXPECT_TRUE(subset.dataset
                    ->Gather(subset.indices,
                             Tensor(x.data(), subset.dataset->XShape(
                                                  static_cast<int64_t>(subset.indices.size()))),
                             {})
                    .ok());
    return x;
  }

  TemporaryFolder folder_;
};

TEST_F(RecipeText, ATextIsCutByPlace) {
  std::string text;
  for (int i = 0; i < 100; ++i) text += static_cast<char>('!' + i % 90);
  Spill("a.txt", text);
  const auto data = Load({"data.kind=text", Path("a.txt"), "data.context=8"});
  ASSERT_TRUE(data.ok()) << data.status().message();
  const DatasetInfo& info = data->train.dataset->info();
  EXPECT_EQ(info.vocabulary, 90);
  EXPECT_EQ(info.classes, 90);
  EXPECT_EQ(info.tokenizer->kind(), "characters");
  EXPECT_FALSE(data->standardizer);
  // 70 characters to train: 8 windows; 15 each to validate and to test: 14 targets, 2 windows.
  EXPECT_EQ(data->train.indices.size(), 8u);
  EXPECT_EQ(data->train_unchanged.indices.size(), 8u);
  EXPECT_EQ(data->validation.indices.size(), 2u);
  EXPECT_EQ(Gathered(data->validation)[0], 70);
  EXPECT_EQ(Gathered(data->test)[0], 85);
  EXPECT_EQ(Load({"data.kind=text", Path("a.txt"), "data.context=8", "data.windows=77"})
                ->train.indices.size(),
            77u);
  EXPECT_THAT(ErrorOf({"data.kind=text", Path("a.txt"), "data.context=80"}),
              AllOf(HasSubstr("70 of its 100 tokens"), HasSubstr("needs 81")));
}

TEST_F(RecipeText, ATestTextKeepsTheTokenizer) {
  Spill("a.txt", std::string(50, 'a') + std::string(50, 'c'));
  Spill("b.txt", "cacacaca");
  const std::string test = "data.test_path=" + (folder_ / "b.txt");
  const auto data = Load({"data.kind=text", Path("a.txt"), "data.context=3", test});
  ASSERT_TRUE(data.ok()) << data.status().message();
  EXPECT_THAT(Gathered(data->test), ElementsAre(1, 0, 1, 0, 1, 0, 1, -1, -1));
  Spill("b.txt", "cab");
  EXPECT_THAT(ErrorOf({"data.kind=text", Path("a.txt"), "data.context=3", test}),
              AllOf(HasSubstr("data.test_path"), HasSubstr("\"b\"")));
}

// A model that was trained on another text has numbered other characters.
TEST_F(RecipeText, AModelBringsItsTokenizer) {
  Spill("a.txt", std::string(100, 'b'));
  const Recipe recipe = Made({"data.kind=text", Path("a.txt"), "data.context=3"});
  const auto data = LoadData(recipe, {.tokenizer = MakeCharacterTokenizer("abc")});
  ASSERT_TRUE(data.ok()) << data.status().message();
  EXPECT_EQ(data->test.dataset->info().vocabulary, 3);
  EXPECT_EQ(Gathered(data->test)[0], 1);
}

TEST_F(RecipeText, TokenizersAreChosenAndChecked) {
  std::string text;
  for (int i = 0; i < 20; ++i) text += "ab";
  Spill("a.txt", text);
  Spill("tokenizer.json",
        R"({"pre_tokenizer": {"type": "ByteLevel"}, "model": {"type": "BPE",
            "vocab": {"a": 0, "b": 1, "ab": 2}, "merges": ["a b"]}})");
  const std::string path = "data.tokenizer_path=" + folder_.path();
  const std::vector<std::string> base = {"data.kind=text", Path("a.txt"), "data.context=2"};
  const auto with = [&](std::vector<std::string> more) {
    more.insert(more.end(), base.begin(), base.end());
    return more;
  };
  EXPECT_EQ(Load(with({"data.tokenizer=bytes"}))->train.dataset->info().vocabulary, 256);
  for (const char* kind : {"data.tokenizer=auto", "data.tokenizer=bpe"}) {
    const auto data = Load(with({kind, path}));
    ASSERT_TRUE(data.ok()) << data.status().message();
    EXPECT_EQ(data->train.dataset->info().vocabulary, 3);
    EXPECT_EQ(Gathered(data->train)[0], 2);
  }
  EXPECT_THAT(ErrorOf(with({"data.tokenizer=bpe"})), HasSubstr("needs data.tokenizer_path"));
  EXPECT_THAT(ErrorOf(with({"data.tokenizer=bytes", path})), HasSubstr("is for data.tokenizer"));
  EXPECT_THAT(ErrorOf(with({"data.tokenizer_path=/nowhere"})), HasSubstr("data.tokenizer_path"));
}

TEST_F(RecipeText, TokensNeedAVocabulary) {
  std::vector<int32_t> tokens;
  for (int32_t i = 0; i < 100; ++i) tokens.push_back(i % 10);
  ASSERT_TRUE(WriteTokenFile(folder_ / "t.bin", tokens, 10).ok());
  const auto data =
      Load({"data.kind=tokens", Path("t.bin"), "data.context=4", "data.vocabulary=12"});
  ASSERT_TRUE(data.ok()) << data.status().message();
  EXPECT_EQ(data->train.dataset->info().vocabulary, 12);
  EXPECT_EQ(data->train.dataset->info().tokenizer, nullptr);
  EXPECT_EQ(Gathered(data->validation)[0], 0);
  EXPECT_THAT(ErrorOf({"data.kind=tokens", Path("t.bin")}), HasSubstr("needs data.vocabulary"));
  EXPECT_THAT(ErrorOf({"data.kind=tokens", Path("t.bin"), "data.vocabulary=9"}),
              AllOf(HasSubstr("data.path"), HasSubstr("token 9 is 9")));
  EXPECT_THAT(
      ErrorOf({"data.kind=tokens", Path("t.bin"), "data.vocabulary=9", "data.tokenizer=bytes"}),
      HasSubstr("the tokenizer has 256"));
  EXPECT_THAT(ErrorOf({"data.kind=tokens", Path("t.bin"), "data.tokenizer=characters"}),
              HasSubstr("of a text"));
  Spill("plain.bin", std::string(200, '\0'));
  EXPECT_TRUE(Load({"data.kind=tokens", Path("plain.bin"), "data.context=4", "data.vocabulary=12",
                    "data.header=no"})
                  .ok());
}

TEST_F(RecipeText, DocumentsAreSplitByClassWithRemarks) {
  std::string table = "text,mood\n,good\n";
  for (int i = 0; i < 40; ++i)
    table += std::string(i % 7 + 1, 'x') + "," + (i % 2 == 0 ? "good" : "bad") + "\n";
  Spill("t.csv", table);
  const auto data = Load({"data.kind=text_table", Path("t.csv"), "data.text=text",
                          "data.label=mood", "data.context=5", "data.tokenizer=bytes"});
  ASSERT_TRUE(data.ok()) << data.status().message();
  const DatasetInfo& info = data->train.dataset->info();
  EXPECT_THAT(info.class_names, ElementsAre("bad", "good"));
  EXPECT_TRUE(info.padded);
  EXPECT_EQ(data->train.indices.size(), 28u);
  EXPECT_EQ(data->validation.indices.size(), 6u);
  ASSERT_EQ(data->remarks.size(), 2u);
  EXPECT_THAT(data->remarks[0],
              AllOf(HasSubstr("1 of 41 documents are empty"), HasSubstr("line 2")));
  EXPECT_THAT(data->remarks[1], HasSubstr("10 of 40 documents have more than data.context = 5"));
  EXPECT_THAT(ErrorOf({"data.kind=text_table", Path("t.csv"), "data.task=regression"}),
              HasSubstr("not regression"));
}

TEST_F(RecipeText, SeriesAreStandardisedByWhatIsTrainedOn) {
  std::string table;
  for (int i = 0; i < 100; ++i) table += (i < 70 ? "1\n3\n" : "9\n9\n");
  Spill("s.csv", table);
  const auto data = Load({"data.kind=series", Path("s.csv"), "data.context=4"});
  ASSERT_TRUE(data.ok()) << data.status().message();
  EXPECT_EQ(data->train.dataset->info().x_shape, (Shape{4, 1}));
  ASSERT_TRUE(data->standardizer);
  EXPECT_FLOAT_EQ(data->standardizer->mean()[0], 2.0f);
  EXPECT_FLOAT_EQ(data->standardizer->sd()[0], 1.0f);
  EXPECT_LT(data->train.indices.back(), data->validation.indices.front());
  EXPECT_LT(data->validation.indices.back(), data->test.indices.front());
  EXPECT_THAT(ErrorOf({"data.kind=series", Path("s.csv"), "data.missing=drop"}),
              HasSubstr("would tear a series"));
  EXPECT_THAT(ErrorOf({"data.kind=series", Path("s.csv"), "data.context=40"}),
              HasSubstr("to validate"));
}

TEST_F(RecipeText, SumsHaveATestSetOfTheirOwn) {
  const auto data = Load({"data.kind=sums", "data.digits=1"});
  ASSERT_TRUE(data.ok()) << data.status().message();
  const DatasetInfo& info = data->train.dataset->info();
  EXPECT_EQ(info.tokenizer->size(), 13);
  EXPECT_EQ(info.x_shape, Shape{6});
  EXPECT_EQ(
      data->train.indices.size() + data->validation.indices.size() + data->test.indices.size(),
      100u);
  EXPECT_NE(data->test.dataset, data->train.dataset);
  // A family without an embedding would take the numbers of tokens for measurements.
  Context ctx({.threads = 1});
  EXPECT_THAT(
      BuildNetwork(ctx, Made({"data.kind=sums", "model.kind=mlp"}), info, 4).status().message(),
      HasSubstr("the samples are tokens"));
}

}  // namespace
}  // namespace lockstep
