#include "engine/comm/agreement.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "engine/comm/thread_ranks.h"

namespace lockstep::inline v0_1 {
namespace {

std::vector<Status> AgreeOn(const std::vector<Status>& each) {
  std::vector<Status> all(each.size());
  ThreadRanks::Run(static_cast<int>(each.size()), [&](Communicator& communicator) {
    const auto rank = static_cast<size_t>(communicator.rank());
    all[rank] = Agree(communicator, each[rank]);
  });
  return all;
}

TEST(AgreementTest, AnErrorOfOneRankIsTheErrorOfAllAndNamesIt) {
  for (const Status& status :
       AgreeOn({Status::Ok(), Status::Ok(), Status::Corrupt("a file"), Status::Io("a disk")})) {
    EXPECT_EQ(status.code(), Code::kCorrupt);
    EXPECT_EQ(status.message(), "rank 2: a file");
  }
  for (const Status& status : AgreeOn({Status::Ok(), Status::Ok()})) EXPECT_TRUE(status.ok());
  // An empty message is a message.
  for (const Status& status : AgreeOn({Status::Ok(), Status::Invalid("")}))
    EXPECT_EQ(status.message(), "rank 1: ");
}

TEST(AgreementTest, WhatAllSayIsSaidOnceAndNamesNobody) {
  for (const Status& status : AgreeOn({Status::Invalid("same"), Status::Invalid("same")}))
    EXPECT_EQ(status.message(), "same");
  for (const Status& status : AgreeOn({Status::Invalid("same"), Status::Invalid("some")}))
    EXPECT_EQ(status.message(), "rank 0: same");
  for (const Status& status : AgreeOn({Status::Invalid("alone")}))
    EXPECT_EQ(status.message(), "alone");
}

TEST(AgreementTest, WhoIsLeftAloneKeepsItsOwnError) {
  auto ranks = ThreadRanks::Make(2);
  ranks[1].reset();
  EXPECT_EQ(Agree(*ranks[0], Status::Invalid("mine")).message(), "mine");
  EXPECT_NE(Agree(*ranks[0], Status::Ok()).message().find("rank 1 has left"), std::string::npos);
}

TEST(AgreementTest, TextsOfAnyLengthReachAll) {
  const std::vector<std::string> each = {"", "one", std::string(100'000, 'x'), "t\0o"};
  ThreadRanks::Run(4, [&](Communicator& communicator) {
    const auto texts = GatherTexts(communicator, each[static_cast<size_t>(communicator.rank())]);
    ASSERT_TRUE(texts.ok());
    EXPECT_EQ(*texts, each);
  });
  SingleProcess alone;
  EXPECT_EQ(*GatherTexts(alone, "mine"), std::vector<std::string>{"mine"});
}

}  // namespace
}  // namespace lockstep
