// What a report shows of texts: what was given, what is true and what was foretold, the worst and
// the best by loss.
#include "tools/report/text_samples.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "engine/data/text/tokenizer.h"
#include "layers/sequence/embedding.h"

namespace lockstep::inline v0_1::tools {
namespace {

constexpr int64_t kTokens = 4, kVocabulary = 5;

// "a" to "e".
class Letters final : public Tokenizer {
 public:
  std::string kind() const override { return "letters"; }
  int64_t size() const override { return kVocabulary; }
  Status Encode(std::string_view text, std::vector<int32_t>& tokens) const override {
    for (const char c : text) tokens.push_back(c - 'a');
    return Status::Ok();
  }
  std::string_view Bytes(int32_t token) const override {
    return std::string_view("abcde").substr(static_cast<size_t>(token), 1);
  }
  std::string Description() const override { return "{}"; }
};

// Foretells the next letter with a score of 3, all others with 0.
class NextLetter final : public Model {
 public:
  Status Build(Graph& graph) const override {
    LOCKSTEP_TRY_ASSIGN(const Value x, graph.AddInput("x", {graph.batch(), kTokens}, DType::kI32));
    LOCKSTEP_TRY_ASSIGN(const Value y,
                        Apply(graph, "scores", Embedding(kVocabulary, kVocabulary), x));
    return graph.AddOutput("y", y);
  }
};

Subset Texts(std::vector<std::pair<std::string, std::string>> texts) {
  std::vector<int32_t> x, targets;
  for (const auto& [given, truth] : texts) {
    for (const char c : given) x.push_back(c == '_' ? -1 : c - 'a');
    for (const char c : truth) targets.push_back(c == '.' ? kIgnoredTarget : c - 'a');
  }
  DatasetInfo info{.name = "letters",
                   .size = static_cast<int64_t>(texts.size()),
                   .x_dtype = DType::kI32,
                   .x_shape = {kTokens},
                   .target_shape = {kTokens},
                   .classes = kVocabulary,
                   .vocabulary = kVocabulary,
                   .padded = true,
                   .tokenizer = std::make_shared<Letters>()};
  auto dataset = InMemoryDataset::Make(std::move(info), std::move(x), std::move(targets));
  EXPECT_TRUE(dataset.ok()) << dataset.status().message();
  return {*dataset, AllIndices(static_cast<int64_t>(texts.size()))};
}

TEST(TextSamples, AreTheWorstAndTheBestByLoss) {
  Context ctx({.threads = 1});
  Network net = Network::Bind(ctx, NextLetter(), 2, {.training = false}).value();
  {
    const ParameterWriter write = net.Write();
    for (int64_t i = 0; i < kVocabulary * kVocabulary; ++i)
      write->values[static_cast<size_t>(i)] =
          i % kVocabulary == (i / kVocabulary + 1) % kVocabulary ? 3.0f : 0.0f;
  }
  const Subset subset = Texts({{"abcd", "..de"},  // all right
                               {"abcd", "..dd"},  // half
                               {
                                   "abc_",
                                   "....",
                               },                   // nothing counts
                               {"abc_", ".bb."}});  // all wrong
  ASSERT_TRUE(IsText(subset.dataset->info()));
  const auto seen = LookAtTexts(net, subset, {.shown = 2});
  ASSERT_TRUE(seen.ok()) << seen.status().message();
  EXPECT_EQ(seen->looked_at, 4);
  ASSERT_EQ(seen->best.size(), 2u);
  ASSERT_EQ(seen->worst.size(), 2u);
  const double right = std::log(std::exp(3.0) + 4.0) - 3.0;
  EXPECT_EQ(seen->best[0].given, "abc");
  EXPECT_EQ(seen->best[0].truth, "de");
  EXPECT_EQ(seen->best[0].said, "de");
  EXPECT_NEAR(seen->best[0].loss, right, 1e-12);
  EXPECT_EQ(seen->best[0].index, 0);
  EXPECT_EQ(seen->worst[0].given, "ab");
  EXPECT_EQ(seen->worst[0].truth, "bb");
  EXPECT_EQ(seen->worst[0].said, "cd");
  EXPECT_NEAR(seen->worst[0].loss, right + 3.0, 1e-12);
  EXPECT_EQ(seen->worst[1].said, "de");
  const auto few = LookAtTexts(net, subset, {.tokens = 2 * kTokens});
  ASSERT_TRUE(few.ok());
  EXPECT_EQ(few->looked_at, 2);
}

TEST(TextSamples, StandInATableAsWhatCanBeSeen) {
  EXPECT_EQ(Shown("12+35=47\n", 100), "12+35=47↵");
  EXPECT_EQ(Shown("a\tb\x01\x7F", 100), "a⇥b··");
  EXPECT_EQ(Shown("abcdef", 3), "… def");
  EXPECT_EQ(Shown("aüb", 2), "… b");  // not within a character
}

TEST(TextSamples, OtherSamplesAreNone) {
  DatasetInfo info = Texts({{"abcd", "bcde"}}).dataset->info();
  EXPECT_TRUE(IsText(info));
  info.target_shape = {};
  EXPECT_FALSE(IsText(info));
  info = {.x_dtype = DType::kF32, .x_shape = {4}, .target_shape = {4}};
  EXPECT_FALSE(IsText(info));
}

}  // namespace
}  // namespace lockstep::tools
