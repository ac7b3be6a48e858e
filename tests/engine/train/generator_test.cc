#include "engine/train/generator.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "engine/base/random.h"
#include "layers/linear.h"
#include "layers/loss/cross_entropy.h"
#include "models/gpt.h"
#include "tests/engine/train/count_heap.h"

namespace lockstep::inline v0_1 {
namespace {

using testing::HasSubstr;

constexpr int64_t kVocabulary = 67, kContext = 40;

GptOptions Tiny(GptOptions::Positions positions = GptOptions::Positions::kLearned) {
  return {.vocabulary = kVocabulary,
          .context = kContext,
          .layers = 2,
          .heads = 2,
          .width = 48,
          .positions = positions};
}

// Weights as they begin are so small that every token is as likely as the next: larger ones.
Network Bind(Context& ctx, const GptOptions& options, int64_t length = kContext) {
  Result<Network> net =
      Network::Bind(ctx, Gpt(options), {.input = {1, length}, .input_dtype = DType::kI32});
  EXPECT_TRUE(net.ok()) << net.status().message();
  const ParameterWriter writer = net->Write();
  for (float& v : writer->values) v *= 8.0f;
  return std::move(net).value();
}

std::vector<int32_t> RandomTokens(int64_t count, uint64_t seed) {
  Random random(seed, StreamOf("tokens"));
  std::vector<int32_t> tokens;
  for (int64_t i = 0; i < count; ++i)
    tokens.push_back(static_cast<int32_t>(random.Below(kVocabulary)));
  return tokens;
}

Generator Make(Network& net, const GeneratorOptions& options) {
  Result<Generator> made = Generator::Make(net, options);
  EXPECT_TRUE(made.ok()) << made.status().message();
  return std::move(made).value();
}

std::vector<int32_t> Generate(Generator& generator, const std::vector<int32_t>& prompt,
                              int64_t count) {
  const Status status = generator.Start(prompt);
  EXPECT_TRUE(status.ok()) << status.message();
  std::vector<int32_t> tokens;
  for (int64_t i = 0; i < count; ++i) {
    const Result<std::optional<int32_t>> token = generator.Next();
    EXPECT_TRUE(token.ok()) << token.status().message();
    if (!token.ok() || !*token) break;
    tokens.push_back(**token);
  }
  return tokens;
}

// The scores behind each token of `text`, of one pass over all of it.
std::vector<float> WholePass(Network& net, std::vector<int32_t> text) {
  text.resize(kContext, 0);  // what comes later changes nothing
  std::vector<float> y(static_cast<size_t>(kContext * kVocabulary));
  const Status status = net.Predict(ConstTensor(text.data(), DType::kI32, {1, kContext}),
                                    Tensor(y.data(), {1, kContext, kVocabulary}));
  EXPECT_TRUE(status.ok()) << status.message();
  return y;
}

TEST(GeneratorTest, EveryScoreHasTheBitsOfAPassOverTheWholeText) {
  for (const auto positions : {GptOptions::Positions::kLearned, GptOptions::Positions::kRotary}) {
    for (const int threads : {1, 2, 3}) {
      Context ctx({.threads = threads});
      Network net = Bind(ctx, Tiny(positions));
      for (const int64_t chunk : {1, 3, 16, 64}) {
        for (const int64_t prompt : {1, 2, 15, 17, 33}) {
          SCOPED_TRACE(testing::Message()
                       << threads << " threads, chunk " << chunk << ", prompt " << prompt);
          Generator generator =
              Make(net, {.sampling = {.seed = 5}, .context = kContext, .chunk = chunk});
          std::vector<int32_t> text = RandomTokens(prompt, 3);
          ASSERT_TRUE(generator.Start(text).ok());
          std::vector<std::vector<float>> scores;
          while (text.size() < kContext) {
            scores.emplace_back(generator.scores().begin(), generator.scores().end());
            const Result<std::optional<int32_t>> token = generator.Next();
            ASSERT_TRUE(token.ok() && *token);
            // What the scores are of until the next call.
            scores.back().assign(generator.scores().begin(), generator.scores().end());
            text.push_back(**token);
          }
          const std::vector<float> whole = WholePass(net, text);
          for (size_t i = 0; i < scores.size(); ++i) {
            const float* want = whole.data() + (static_cast<size_t>(prompt) + i - 1) * kVocabulary;
            ASSERT_EQ(std::memcmp(scores[i].data(), want, kVocabulary * sizeof(float)), 0) << i;
          }
        }
      }
    }
  }
}

TEST(GeneratorTest, ATextIsTheSameForAnyChunkAndThreadsAndAfterAnother) {
  std::vector<int32_t> first;
  for (const int threads : {1, 2, 7}) {
    Context ctx({.threads = threads});
    Network net = Bind(ctx, Tiny());
    for (const int64_t chunk : {1, 7, 64}) {
      Generator generator = Make(net, {.sampling = {.temperature = 0.8, .top_k = 20, .seed = 9},
                                       .context = kContext,
                                       .chunk = chunk});
      const std::vector<int32_t> prompt = RandomTokens(9, 1);
      const std::vector<int32_t> text = Generate(generator, prompt, 20);
      ASSERT_EQ(text.size(), 20u);
      if (first.empty()) first = text;
      EXPECT_EQ(text, first) << threads << " " << chunk;
      Generate(generator, RandomTokens(30, 2), 5);
      EXPECT_EQ(Generate(generator, prompt, 20), first);
    }
  }
}

// Where the context is full, the newest half of it is what the model then sees: scores are those of
// a pass over just that.
TEST(GeneratorTest, ATextThatSlidesGoesOnFromItsNewestHalf) {
  Context ctx({.threads = 1});
  Network net = Bind(ctx, Tiny());
  std::vector<int32_t> first;
  for (const int64_t chunk : {1, 7, 64}) {
    Generator generator =
        Make(net, {.sampling = {.seed = 2}, .context = kContext, .slides = true, .chunk = chunk});
    std::vector<int32_t> text = RandomTokens(5, 4);
    ASSERT_TRUE(generator.Start(text).ok());
    size_t begin = 0;
    while (text.size() < 3 * kContext) {
      // What Next lets the model see: the whole text, unless that is more than it can.
      if (text.size() - begin > kContext) begin = text.size() - 1 - kContext / 2;
      const Result<std::optional<int32_t>> token = generator.Next();
      ASSERT_TRUE(token.ok() && *token) << token.status().message();
      const std::vector<int32_t> seen(text.begin() + static_cast<ptrdiff_t>(begin), text.end());
      const std::vector<float> whole = WholePass(net, seen);
      ASSERT_EQ(
          std::memcmp(generator.scores().data(), whole.data() + (seen.size() - 1) * kVocabulary,
                      kVocabulary * sizeof(float)),
          0)
          << text.size();
      text.push_back(**token);
    }
    EXPECT_EQ(generator.ended(), TextEnd::kNot);
    if (first.empty()) first = text;
    EXPECT_EQ(text, first) << chunk;
  }
}

TEST(GeneratorTest, ATextEndsWhereTheModelWouldHaveToSeeMoreThanItCan) {
  Context ctx({.threads = 1});
  Network net = Bind(ctx, Tiny());
  Generator generator = Make(net, {.sampling = {.seed = 1}, .context = 12});
  EXPECT_EQ(Generate(generator, RandomTokens(5, 1), 100).size(), 8u);  // the last is not seen
  EXPECT_EQ(generator.ended(), TextEnd::kContext);
  EXPECT_EQ(generator.tokens(), 13);
  EXPECT_FALSE(generator.Next()->has_value());
  EXPECT_EQ(Generate(generator, RandomTokens(12, 1), 100).size(), 1u);
}

TEST(GeneratorTest, ATextEndsWithItsToken) {
  Context ctx({.threads = 1});
  Network net = Bind(ctx, Tiny());
  Generator free = Make(net, {.sampling = {.seed = 4}, .context = kContext});
  const std::vector<int32_t> prompt = RandomTokens(3, 1);
  const std::vector<int32_t> text = Generate(free, prompt, 30);
  const int32_t end = text[10];
  size_t before = 0;
  while (text[before] != end) ++before;
  Generator ends = Make(net, {.sampling = {.seed = 4}, .context = kContext, .end_of_text = end});
  EXPECT_EQ(Generate(ends, prompt, 30),
            std::vector<int32_t>(text.begin(), text.begin() + static_cast<int64_t>(before)));
  EXPECT_EQ(ends.ended(), TextEnd::kEndOfText);
  EXPECT_FALSE(ends.Next()->has_value());
  // Nothing before a text is what stands between texts.
  const std::vector<int32_t> empty = Generate(ends, {}, 3);
  EXPECT_EQ(empty, Generate(ends, {end}, 3));
}

TEST(GeneratorTest, ATokenAllocatesNothing) {
  if (!toy::kCountsHeap) GTEST_SKIP() << "the sanitizer has an allocator of its own";
  for (const int threads : {1, 2}) {
    Context ctx({.threads = threads});
    Network net = Bind(ctx, Tiny());
    for (const SamplerOptions& sampling :
         {SamplerOptions{.temperature = 0.0},
          SamplerOptions{
              .temperature = 0.7, .top_k = 9, .top_p = 0.9, .repetition_penalty = 1.2}}) {
      Generator generator = Make(net, {.sampling = sampling, .context = kContext});
      ASSERT_TRUE(generator.Start(RandomTokens(4, 1)).ok());
      for (int i = 0; i < 3; ++i) ASSERT_TRUE(generator.Next().ok());
      const int64_t before = toy::HeapCalls();
      for (int i = 0; i < 20; ++i) ASSERT_TRUE(generator.Next().ok());
      EXPECT_EQ(toy::HeapCalls(), before) << threads;
    }
  }
}

TEST(GeneratorTest, SeesParametersThatHaveChanged) {
  Context ctx({.threads = 1});
  Network net = Bind(ctx, Tiny());
  Generator generator = Make(net, {.sampling = {.temperature = 0.0}, .context = kContext});
  const std::vector<int32_t> prompt = RandomTokens(6, 1);
  ASSERT_TRUE(generator.Start(prompt).ok());
  {
    const ParameterWriter writer = net.Write();
    for (float& v : writer->values) v *= 0.5f;
  }
  ASSERT_TRUE(generator.Start(prompt).ok());
  const std::vector<float> whole = WholePass(net, prompt);
  EXPECT_EQ(std::memcmp(generator.scores().data(), whole.data() + 5 * kVocabulary,
                        kVocabulary * sizeof(float)),
            0);
}

TEST(GeneratorTest, GoesOnWithANetworkThatIsBeingTrained) {
  Context ctx({.threads = 2});
  Result<Network> net = Network::Bind(ctx, Gpt(Tiny()), CrossEntropyLoss(),
                                      {.input = {2, kContext}, .input_dtype = DType::kI32});
  ASSERT_TRUE(net.ok()) << net.status().message();
  Generator generator = Make(*net, {.context = kContext});
  EXPECT_EQ(Generate(generator, RandomTokens(6, 1), 10).size(), 10u);
}

TEST(GeneratorTest, WhatDoesNotFitIsNamed) {
  Context ctx({.threads = 1});
  Network net = Bind(ctx, Tiny());
  Generator generator = Make(net, {.context = 10});
  EXPECT_THAT(generator.Start({}).message(), HasSubstr("the prompt is empty"));
  EXPECT_THAT(generator.Start(RandomTokens(11, 1)).message(),
              HasSubstr("the prompt has 11 tokens, the model sees at most 10"));
  const std::vector<int32_t> wrong = {1, 67};
  EXPECT_THAT(generator.Start(wrong).message(),
              HasSubstr("token 1 of the prompt is 67, the model knows 0 to 66"));
  EXPECT_THAT(Generator::Make(net, {.context = 0}).status().message(), HasSubstr("context"));
  EXPECT_THAT(Generator::Make(net, {.context = kContext + 1}).status().message(),
              HasSubstr("longer than the context"));
  EXPECT_THAT(Generator::Make(net, {.sampling = {.top_p = 2.0}, .context = 10}).status().message(),
              HasSubstr("top_p"));
  Result<Network> other = Network::Bind(ctx, Linear(3), {.input = {4, 5}});
  EXPECT_THAT(Generator::Make(*other, {.context = 10}).status().message(),
              HasSubstr("no language model"));
  EXPECT_THAT(Make(net, {.context = 10}).Next().status().message(), HasSubstr("Start"));
  ASSERT_TRUE(generator.Start(RandomTokens(3, 1)).ok());
  Generator moved = std::move(generator);
  EXPECT_TRUE(moved.Next().ok());
  EXPECT_THAT(generator.Next().status().message(), HasSubstr("moved from"));  // NOLINT
  EXPECT_THAT(generator.Start(RandomTokens(3, 1)).message(), HasSubstr("moved from"));
  const Network elsewhere = std::move(net);
  EXPECT_THAT(moved.Next().status().message(), HasSubstr("moved from"));
}

}  // namespace
}  // namespace lockstep
