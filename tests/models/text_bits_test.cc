// Networks of texts, trained: the same bits on any number of threads and on every SIMD target that
// fuses, and heads of many classes with and without their loss in chunks.
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "engine/base/random.h"
#include "engine/optim/adam.h"
#include "engine/train/network.h"
#include "gtest/gtest.h"
#include "layers/container/sequential.h"
#include "layers/loss/cross_entropy.h"
#include "models/gpt.h"
#include "models/recurrent_net.h"
#include "tests/engine/kernels/arrays.h"

namespace lockstep::inline v0_1 {
namespace {

// Lengths that fill no tile and no vector; more classes than a head keeps whole.
constexpr int64_t kBatch = 5, kLength = 37, kVocabulary = 2053;

std::unique_ptr<Layer> SmallGpt(bool tied) {
  return std::make_unique<Gpt>(GptOptions{.vocabulary = kVocabulary,
                                          .context = kLength,
                                          .layers = 2,
                                          .heads = 3,
                                          .width = 39,
                                          .dropout = 0.1,
                                          .attention_dropout = 0.1,
                                          .tie_head = tied,
                                          .places = {.padded = true}});
}
std::unique_ptr<Layer> Recurrent(ops::RecurrentCell cell) {
  return std::make_unique<RecurrentNet>(RecurrentNetOptions{.cell = cell,
                                                            .hidden = 35,
                                                            .layers = 2,
                                                            .bidirectional = true,
                                                            .dropout = 0.1,
                                                            .vocabulary = kVocabulary,
                                                            .padded = true,
                                                            .outputs = kVocabulary});
}

// Parameters after a few steps, and the last loss; rows end in padding, the last batch is not full.
std::vector<float> Train(std::unique_ptr<Layer> layers, int threads, Fusion fusion = Fusion::kAll) {
  Context ctx({.threads = threads});
  Result<Network> net = Network::Bind(
      ctx, std::move(layers), std::make_unique<CrossEntropyLoss>(),
      {.input = {kBatch, kLength}, .input_dtype = DType::kI32, .shards = 2, .fusion = fusion});
  EXPECT_TRUE(net.ok()) << net.status().message();
  AdamW adam({.lr = 1e-2});
  Random random(3, StreamOf("texts"));
  std::vector<float> result;
  for (const int64_t samples : {kBatch, kBatch, kBatch - 2}) {
    std::vector<int32_t> tokens, targets;
    for (int64_t b = 0; b < samples; ++b) {
      for (int64_t t = 0; t < kLength; ++t) {
        const bool text = t < kLength - 4 * b;
        tokens.push_back(text ? static_cast<int32_t>(random.Below(kVocabulary)) : -1);
        targets.push_back(text ? static_cast<int32_t>(random.Below(kVocabulary)) : -100);
      }
    }
    const Result<double> loss =
        net->TrainStep({tokens.data(), DType::kI32, {samples, kLength}},
                       {targets.data(), DType::kI32, {samples, kLength}}, adam);
    EXPECT_TRUE(loss.ok()) << loss.status().message();
    if (loss.ok()) result.push_back(static_cast<float>(*loss));
  }
  const auto values = net->parameters().values;
  result.insert(result.end(), values.begin(), values.end());
  return result;
}

struct Case {
  const char* name;
  std::function<std::unique_ptr<Layer>()> make;
};
const Case kCases[] = {
    {"gpt", [] { return SmallGpt(/*tied=*/true); }},
    {"gpt with a head of its own", [] { return SmallGpt(/*tied=*/false); }},
    {"lstm", [] { return Recurrent(ops::RecurrentCell::kLstm); }},
    {"gru", [] { return Recurrent(ops::RecurrentCell::kGru); }},
};

TEST(TextBitsTest, AreTheSameOnAnyNumberOfThreads) {
  for (const Case& one : kCases) {
    SCOPED_TRACE(one.name);
    const auto alone = testing_arrays::Bits(Train(one.make(), 1));
    for (const int threads : {2, 3, 8})
      EXPECT_EQ(testing_arrays::Bits(Train(one.make(), threads)), alone) << threads;
  }
}

TEST(TextBitsTest, AreTheSameOnEverySimdTargetThatFuses) {
  for (const Case& one : kCases) {
    SCOPED_TRACE(one.name);
    testing_arrays::ExpectSameBitsOnFmaTargets([&] { return Train(one.make(), 2); });
  }
}

TEST(TextBitsTest, AreTheSameWhateverIsFused) {
  for (const Case& one : kCases) {
    SCOPED_TRACE(one.name);
    EXPECT_EQ(testing_arrays::Bits(Train(one.make(), 2, Fusion::kNone)),
              testing_arrays::Bits(Train(one.make(), 2, Fusion::kAll)));
  }
}

}  // namespace
}  // namespace lockstep
