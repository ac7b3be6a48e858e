#include "engine/comm/notices.h"

#include <deque>
#include <utility>
#include <vector>

#include "engine/comm/rank_names.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace lockstep::inline v0_1 {
namespace {

// Ranks of one thread: what one tells lies in the other's post.
using Post = std::vector<std::deque<std::pair<int, bool>>>;
struct Wire {
  void Tell(int to, bool waits) { (*post)[static_cast<size_t>(to)].emplace_back(rank, waits); }
  bool Hear(int* from, bool* waits) {
    auto& mine = (*post)[static_cast<size_t>(rank)];
    if (mine.empty()) return false;
    std::tie(*from, *waits) = mine.front();
    mine.pop_front();
    return true;
  }
  Post* post;
  int rank;
};

TEST(NoticesTest, WhoDoesNotWaitIsLate) {
  Post post(4);
  std::vector<Notices<Wire>> ranks;
  for (int rank = 0; rank < 4; ++rank) ranks.emplace_back(Wire{&post, rank}, rank, 4);
  // A wait that has been told to nobody: all others might compute.
  ranks[0].Wait(1.0, 5.0);
  EXPECT_THAT(ranks[0].Late(), testing::ElementsAre(1, 2, 3));
  EXPECT_THAT(ranks[1].Late(), testing::ElementsAre(0, 2, 3));
  // Told after five seconds; rank 1, which has waited for one, answers as soon as it looks.
  ranks[0].Wait(6.0, 5.0);
  ranks[1].Wait(1.0, 5.0);
  ranks[0].Wait(6.1, 5.0);
  EXPECT_THAT(ranks[0].Late(), testing::ElementsAre(2, 3));
  EXPECT_TRUE(ranks[0].Waits(1));
  EXPECT_THAT(ranks[1].Late(), testing::ElementsAre(2, 3));
  // Who goes on is no longer known to wait.
  ranks[1].GoOn();
  EXPECT_THAT(ranks[0].Late(), testing::ElementsAre(1, 2, 3));
  ranks[0].GoOn();
  EXPECT_THAT(ranks[2].Late(), testing::ElementsAre(0, 1, 3));
}

TEST(NoticesTest, AShortWaitTellsNobody) {
  Post post(2);
  Notices<Wire> notices(Wire{&post, 0}, 0, 2);
  for (double waited = 0.0; waited < 5.0; waited += 0.5) notices.Wait(waited, 5.0);
  notices.GoOn();
  EXPECT_TRUE(post[1].empty());
}

TEST(NoticesTest, RanksAreNamed) {
  const std::vector<int> many = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9};
  EXPECT_EQ(RankNames(std::span(many).first(1)), "rank 0");
  EXPECT_EQ(RankNames(std::span(many).first(2)), "ranks 0 and 1");
  EXPECT_EQ(RankNames(std::span(many).first(3)), "ranks 0, 1 and 2");
  EXPECT_EQ(RankNames(many), "ranks 0, 1, 2, 3, 4, 5, 6, 7 and 2 more");
}

}  // namespace
}  // namespace lockstep
