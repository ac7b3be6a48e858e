// A transformer from one text to another learns to write strings backwards.
#include "models/seq2seq.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "engine/base/random.h"
#include "engine/optim/adam.h"
#include "engine/train/network.h"

namespace lockstep::inline v0_1 {
namespace {

constexpr int64_t kBatch = 64, kLength = 5;
constexpr int32_t kLetters = 6, kBegin = 6, kEnd = 7;

struct Batch {
  std::vector<int32_t> source, written, target;
};

// Strings of 2 to kLength letters, and the same backwards: begin, letters; letters, end.
Batch MakeBatch(uint64_t seed) {
  Random random(seed, StreamOf("reverse"));
  Batch batch;
  for (int64_t b = 0; b < kBatch; ++b) {
    std::vector<int32_t> text(static_cast<size_t>(2 + random.Uniform() * (kLength - 1)));
    for (int32_t& letter : text) letter = static_cast<int32_t>(random.Uniform() * kLetters);
    const auto length = static_cast<int64_t>(text.size());
    for (int64_t t = 0; t < kLength; ++t)
      batch.source.push_back(t < length ? text[static_cast<size_t>(t)] : -1);
    std::reverse(text.begin(), text.end());
    for (int64_t t = 0; t <= kLength; ++t) {
      const auto at = static_cast<size_t>(t);
      batch.written.push_back(t == 0 ? kBegin : t <= length ? text[at - 1] : -1);
      batch.target.push_back(t < length ? text[at] : t == length ? kEnd : -100);
    }
  }
  return batch;
}

Seq2SeqOptions Small() {
  return {.source_vocabulary = kLetters,
          .target_vocabulary = kLetters + 2,
          .source_length = kLength,
          .target_length = kLength + 1,
          .block = {.width = 32, .heads = 2, .feed_forward = 64},
          .encoder_layers = 1,
          .decoder_layers = 1};
}

TEST(Seq2SeqTest, LearnsToWriteBackwards) {
  Context ctx({.threads = 1});
  Network net = Network::Bind(ctx, Seq2Seq(Small()), kBatch, {.seed = 1}).value();
  const Shape in{kBatch, kLength}, out{kBatch, kLength + 1};
  AdamW adam({.lr = 3e-3});
  for (uint64_t step = 0; step < 500; ++step) {
    const Batch batch = MakeBatch(step);
    const std::vector<ConstTensor> inputs = {
        {batch.source.data(), in}, {batch.written.data(), out}, {batch.target.data(), out}};
    const auto loss = net.TrainStep(inputs, adam);
    ASSERT_TRUE(loss.ok()) << loss.status().message();
  }
  // Written one token after the other, from strings that were not seen.
  const Batch batch = MakeBatch(1000000);
  std::vector<int32_t> written(batch.written.size(), -1);
  std::vector<float> y(written.size() * (kLetters + 2));
  for (int64_t b = 0; b < kBatch; ++b) written[static_cast<size_t>(b * (kLength + 1))] = kBegin;
  int right = 0, all = 0;
  for (int64_t t = 0; t <= kLength; ++t) {
    const std::vector<ConstTensor> inputs = {{batch.source.data(), in}, {written.data(), out}};
    const Tensor scores(y.data(), {kBatch, kLength + 1, kLetters + 2});
    ASSERT_TRUE(net.Predict(inputs, {&scores, 1}).ok());
    for (int64_t b = 0; b < kBatch; ++b) {
      const auto at = static_cast<size_t>(b * (kLength + 1) + t);
      const auto row = y.begin() + static_cast<int64_t>(at) * (kLetters + 2);
      const auto next = static_cast<int32_t>(std::max_element(row, row + kLetters + 2) - row);
      if (t < kLength && next != kEnd && written[at] >= 0) written[at + 1] = next;
      if (batch.target[at] >= 0) ++all, right += next == batch.target[at];
    }
  }
  EXPECT_GT(right, all * 95 / 100) << right << " of " << all;
}

TEST(Seq2SeqTest, LengthsThatHoldNothingAreRefused) {
  Context ctx({.threads = 1});
  Seq2SeqOptions options = Small();
  options.source_length = 0;
  EXPECT_THAT(Network::Bind(ctx, Seq2Seq(options), 2, {}).status().message(),
              ::testing::HasSubstr("not of 0 and 6"));
}

}  // namespace
}  // namespace lockstep
