// Transformers on several ranks and in parts of batches.
#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "engine/comm/thread_ranks.h"
#include "engine/train/checkpointing.h"
#include "engine/train/training_step.h"
#include "models/gpt.h"
#include "models/transformer_encoder.h"
#include "tests/engine/train/toy_data.h"

namespace lockstep::inline v0_1::toy {
namespace {

constexpr int64_t kLength = 6, kTokens = 7;

// Texts of which each token is the sum of the two before; short ones are padded.
DatasetPtr Texts(int64_t samples, bool per_position) {
  std::vector<int32_t> x, targets;
  for (int64_t i = 0; i < samples; ++i) {
    std::vector<int32_t> text = {static_cast<int32_t>(i % kTokens),
                                 static_cast<int32_t>(i / kTokens % kTokens)};
    while (text.size() < kLength + 1)
      text.push_back((text[text.size() - 1] + text[text.size() - 2]) % kTokens);
    const int64_t length = kLength - i % 3;
    for (int64_t t = 0; t < kLength; ++t) {
      const auto at = static_cast<size_t>(t);
      x.push_back(t < length ? text[at] : -1);
      if (per_position) targets.push_back(t < length ? text[at + 1] : kIgnoredTarget);
    }
    if (!per_position) targets.push_back(text[static_cast<size_t>(length)]);
  }
  auto made = InMemoryDataset::Make({.name = "texts",
                                     .size = samples,
                                     .x_dtype = DType::kI32,
                                     .x_shape = {kLength},
                                     .task = Task::kClasses,
                                     .target_shape = per_position ? Shape{kLength} : Shape{},
                                     .classes = kTokens,
                                     .vocabulary = kTokens,
                                     .padded = true},
                                    std::move(x), std::move(targets));
  EXPECT_TRUE(made.ok()) << made.status().message();
  return *made;
}

struct Outcome {
  Status status;
  std::vector<float> parameters;
  double loss = 0.0;
};

template <class Make>
std::vector<Outcome> Train(int ranks, int64_t parts, const DatasetPtr& texts, const Make& make) {
  std::vector<Outcome> outcomes(static_cast<size_t>(ranks));
  ThreadRanks::Run(ranks, [&](Communicator& communicator) {
    Outcome& outcome = outcomes[static_cast<size_t>(communicator.rank())];
    Context ctx({.threads = 1});
    AdamW adam({.lr = 1e-2});
    const auto run = [&]() -> Status {
      const Subset all = All(texts);
      LOCKSTEP_TRY_ASSIGN(const auto loader, Loader::Make(all.dataset, all.indices,
                                                          {.batch = 13,
                                                           .seed = 3,
                                                           .prefetch = 0,
                                                           .rank = communicator.rank(),
                                                           .ranks = ranks}));
      LOCKSTEP_TRY_ASSIGN(
          Network net,
          Network::Bind(ctx, make(), CrossEntropyLoss(),
                        {.input = texts->XShape(std::max<int64_t>(1, loader->largest_count())),
                         .input_dtype = DType::kI32,
                         .seed = 7,
                         .shards = 8,
                         .parts = parts,
                         .communicator = &communicator}));
      LOCKSTEP_TRY_ASSIGN(
          const auto trainer,
          Trainer::Make(net, adam, *loader, {.epochs = 2, .micro_batches = parts, .seed = 7}));
      LOCKSTEP_TRY(trainer->Run().status());
      outcome.loss = trainer->history().back().train_loss;
      const auto values = net.parameters().values;
      outcome.parameters.assign(values.begin(), values.end());
      return Status::Ok();
    };
    outcome.status = run();
  });
  return outcomes;
}

GptOptions Small(bool tied) {
  return {.vocabulary = kTokens,
          .context = kLength,
          .layers = 2,
          .heads = 2,
          .width = 8,
          .dropout = 0.1,
          .attention_dropout = 0.1,
          .tie_head = tied,
          .places = {.padded = true}};
}

TEST(TransformerRanksTest, EndInTheSameBitsOnAnyRanksAndInAnyParts) {
  const auto check = [](const DatasetPtr& texts, const auto& make) {
    const Outcome alone = Train(1, 1, texts, make)[0];
    ASSERT_TRUE(alone.status.ok()) << alone.status.message();
    for (const int ranks : {1, 2, 4}) {
      for (const int64_t parts : {1, 2}) {
        for (const Outcome& outcome : Train(ranks, parts, texts, make)) {
          ASSERT_TRUE(outcome.status.ok()) << outcome.status.message();
          EXPECT_EQ(outcome.parameters, alone.parameters) << ranks << " ranks, " << parts;
        }
      }
    }
  };
  check(Texts(41, true), [] { return Sequential(Gpt(Small(/*tied=*/false))); });
  // A weight that is read twice: what each reader gives its gradient is added up by itself.
  check(Texts(41, true), [] { return Gpt(Small(/*tied=*/true)); });
  check(Texts(41, false), [] {
    return Sequential(TransformerEncoder(
        {.encoder = {.block = {.width = 8, .heads = 2, .feed_forward = 12, .dropout = 0.1},
                     .layers = 1,
                     .outputs = kTokens,
                     .pool = EncoderOptions::Pool::kClassToken},
         .vocabulary = kTokens,
         .padded = true}));
  });
}

TEST(TransformerRanksTest, ATiedHeadInPartsMustBeKnownWhenTheNetworkIsBound) {
  Context ctx({.threads = 1});
  Network net = Network::Bind(ctx, Gpt(Small(/*tied=*/true)), CrossEntropyLoss(),
                              {.input = {4, kLength}, .input_dtype = DType::kI32, .shards = 2})
                    .value();
  EXPECT_NE(TrainingStep::Make(net, {.parts = 2})
                .status()
                .message()
                .find("several operations share wte.weight"),
            std::string::npos);
}

}  // namespace
}  // namespace lockstep::toy
