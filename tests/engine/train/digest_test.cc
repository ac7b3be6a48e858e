#include "engine/train/digest.h"

#include <filesystem>
#include <fstream>
#include <functional>
#include <string>

#include "engine/comm/thread_ranks.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/engine/train/toy_data.h"

namespace lockstep::inline v0_1::toy {
namespace {

using testing::HasSubstr;

class DigestTest : public ::testing::Test {
 protected:
  std::string Path(const std::string& name) const { return testing::TempDir() + "digest_" + name; }
  void Write(const std::string& name, const std::string& text) const {
    std::ofstream(Path(name)) << text;
  }
  // Four steps on `ranks`; `spoil(rank, step, net)` before each is hashed.
  void Train(const std::string& name, int ranks,
             const std::function<void(int, int64_t, Network&)>& spoil = {}) const {
    ThreadRanks::Run(ranks, [&](Communicator& communicator) {
      Context ctx({.threads = 1});
      Network net = Network::Bind(ctx, Sequential(Linear(5), BatchNorm(), Relu(), Linear(3)),
                                  CrossEntropyLoss(), {.input = {8, 4}, .seed = 1})
                        .value();
      const auto digest = DigestWriter::Make(Path(name), false, communicator).value();
      for (int64_t step = 1; step <= 4; ++step) {
        if (spoil) spoil(communicator.rank(), step, net);
        ASSERT_TRUE(digest->Add(step, net).ok());
      }
    });
  }
  static void Flip(Network& net, const std::string& name) {
    const ParameterWriter write = net.Write();
    for (size_t i = 0; i < write->infos.size(); ++i) {
      if (write->infos[i].name == name) write->value(i).f32()[0] += 1e-7f;
    }
  }
};

TEST_F(DigestTest, OfTheSameWeightsAreTheSameOnAnyRanks) {
  Train("one", 1);
  Train("three", 3);
  const Result<DigestComparison> same = CompareDigests(Path("one"), Path("three"));
  ASSERT_TRUE(same.ok()) << same.status().message();
  EXPECT_EQ(same->difference, "");
  EXPECT_EQ(same->steps, 4);
  EXPECT_EQ(same->tensors, 9);  // of which three are what the batch norm remembers
}

TEST_F(DigestTest, NameTheFirstStepRankAndTensorThatDiffer) {
  Train("one", 1);
  Train("spoilt", 2, [](int rank, int64_t step, Network& net) {
    if (rank == 1 && step == 3) Flip(net, "3.bias");
    if (rank == 1 && step == 4) Flip(net, "0.weight");
  });
  const Result<DigestComparison> other = CompareDigests(Path("one"), Path("spoilt"));
  ASSERT_TRUE(other.ok());
  EXPECT_THAT(other->difference, HasSubstr("step 3, rank 1: 3.bias is "));
  const Result<DigestComparison> turned = CompareDigests(Path("spoilt"), Path("one"));
  EXPECT_THAT(turned->difference, HasSubstr("step 3, rank 1: 3.bias is "));
}

TEST_F(DigestTest, OfARunThatWentOnCountWhatWasDoneLast) {
  const std::string begin = "lockstep digest 1\n", a = "0123456789abcdef w\n",
                    b = "fedcba9876543210 w\n";
  Write("whole", begin + "1 0 " + a + "2 0 " + a + "3 0 " + a);
  Write("again", begin + "1 0 " + a + "2 0 " + b + begin + "2 0 " + a + "3 0 " + a);
  EXPECT_EQ(CompareDigests(Path("whole"), Path("again"))->difference, "");
  EXPECT_EQ(CompareDigests(Path("whole"), Path("again"))->steps, 3);
  Write("later", begin + "3 0 " + b);
  EXPECT_THAT(CompareDigests(Path("whole"), Path("later"))->difference,
              HasSubstr("step 3, rank 0"));
}

TEST_F(DigestTest, WhatCannotBeComparedIsAnError) {
  const std::string begin = "lockstep digest 1\n";
  Write("one", begin + "1 0 0123456789abcdef w\n");
  Write("other", begin + "2 0 0123456789abcdef w\n");
  Write("model", begin + "1 0 0123456789abcdef v\n");
  EXPECT_THAT(CompareDigests(Path("one"), Path("other")).status().message(),
              HasSubstr("no step in common"));
  EXPECT_THAT(CompareDigests(Path("one"), Path("model"))->difference,
              HasSubstr("different models"));
  EXPECT_FALSE(CompareDigests(Path("one"), Path("nowhere")).ok());
  for (const std::string line : {"1 0 0123456789abcde", "x 0 0123456789abcdef w", "1 0", "1", ""}) {
    Write("cut", begin + line + "\n");
    EXPECT_THAT(CompareDigests(Path("one"), Path("cut")).status().message(), HasSubstr("line 2"))
        << line;
  }
  Write("text", "hello\n");
  EXPECT_THAT(CompareDigests(Path("text"), Path("one")).status().message(),
              HasSubstr("is no digest"));
}

}  // namespace
}  // namespace lockstep::toy
