#include "engine/comm/thread_ranks.h"

#include <atomic>
#include <cmath>
#include <stdexcept>
#include <string>
#include <vector>

#include "engine/base/random.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/engine/comm/all_to_all.h"

namespace lockstep::inline v0_1 {
namespace {

constexpr int kSizes[] = {1, 2, 3, 4, 8};

TEST(ThreadRanksTest, GatherWhatAllBring) {
  for (const int size : kSizes) {
    ThreadRanks::Run(size, [&](Communicator& c) {
      for (const size_t n : {0, 1, 7, 1001}) {
        const Bytes mine(n, static_cast<std::byte>(c.rank() + 1));
        Bytes all(n * static_cast<size_t>(size)), expected;
        for (int r = 0; r < size; ++r) expected.resize(expected.size() + n, std::byte(r + 1));
        Expect(c.AllGather(mine, all));
        EXPECT_EQ(all, expected);
        // From its own place.
        const std::span<std::byte> place =
            std::span(all).subspan(n * static_cast<size_t>(c.rank()), n);
        std::fill(all.begin(), all.end(), std::byte{0});
        std::copy(mine.begin(), mine.end(), place.begin());
        Expect(c.AllGather(place, all));
        EXPECT_EQ(all, expected);
      }
    });
  }
}

TEST(ThreadRanksTest, BroadcastFromAnyRoot) {
  for (const int size : kSizes) {
    ThreadRanks::Run(size, [&](Communicator& c) {
      for (int root = 0; root < size; ++root) {
        Bytes data(17, static_cast<std::byte>(c.rank()));
        Expect(c.Broadcast(data, root));
        EXPECT_EQ(data, Bytes(17, static_cast<std::byte>(root)));
      }
    });
  }
}

// ((0 1) (2 3)) ((4 5) (6 7)): numbers of such sizes that any other order rounds otherwise.
TEST(ThreadRanksTest, AddInTheOrderOfTheTree) {
  for (const size_t n : {size_t{1}, size_t{70001}}) {
    std::vector<std::vector<float>> terms;
    for (int r = 0; r < 8; ++r) {
      Random random(static_cast<uint64_t>(r), StreamOf("terms"));
      terms.emplace_back(n);
      for (float& one : terms.back())
        one = static_cast<float>(random.Normal() * std::exp2(30.0 * random.Uniform()));
    }
    std::vector<float> expected(n);
    bool order_matters = false;
    for (size_t i = 0; i < n; ++i) {
      const auto pair = [&](size_t r) { return terms[r][i] + terms[r + 1][i]; };
      expected[i] = (pair(0) + pair(2)) + (pair(4) + pair(6));
      float in_a_row = terms[0][i];
      for (size_t r = 1; r < 8; ++r) in_a_row += terms[r][i];
      order_matters = order_matters || in_a_row != expected[i];
    }
    EXPECT_TRUE(n == 1 || order_matters);
    ThreadRanks::Run(8, [&](Communicator& c) {
      std::vector<float> values = terms[static_cast<size_t>(c.rank())];
      Expect(c.AllReduce(values));
      EXPECT_EQ(values, expected) << "rank " << c.rank();
    });
  }
}

TEST(ThreadRanksTest, NobodyLeavesABarrierBeforeAllHaveCome) {
  std::atomic<int> come{0};
  ThreadRanks::Run(8, [&](Communicator& c) {
    for (int round = 1; round <= 20; ++round) {
      come.fetch_add(1);
      Expect(c.Barrier());
      EXPECT_GE(come.load(), 8 * round);
      Expect(c.Barrier());
    }
  });
}

TEST(ThreadRanksTest, ExchangesOverlapAndRepeat) {
  for (const int size : kSizes) ThreadRanks::Run(size, OverlapAndRepeat);
}

TEST(ThreadRanksTest, WhatTheySendIsCounted) {
  ThreadRanks::Run(3, [](Communicator& c) {
    Bytes out(11), all(33);
    Expect(c.AllGather(out, all));
    EXPECT_EQ(c.sent_bytes(), 22.0);
    Expect(c.Broadcast(out, 1));
    EXPECT_EQ(c.sent_bytes(), c.rank() == 1 ? 44.0 : 22.0);
  });
}

// What the others wait for from a rank that has left is an error that names it, at once.
TEST(ThreadRanksTest, WhoHasLeftIsNamed) {
  std::atomic<int> named{0};
  ThreadRanks::Run(3, [&](Communicator& c) {
    Bytes out(8), in(8);
    std::vector<Outgoing> outgoing;
    std::vector<Incoming> incoming;
    if (c.rank() == 2) outgoing.push_back({.to = 0, .bytes = out});
    if (c.rank() == 0) incoming.push_back({.from = 2, .bytes = in});
    auto exchange = c.Book("gradients of 3.weight", outgoing, incoming);
    Expect(exchange.status());
    Expect(c.Barrier());
    if (c.rank() == 2) return;  // without a start
    Status status;
    if (c.rank() == 0) {
      Expect((*exchange)->Start());
      status = (*exchange)->Wait();
      EXPECT_THAT(status.message(), testing::HasSubstr("gradients of 3.weight"));
    } else {
      status = c.Barrier();
    }
    EXPECT_THAT(status.message(), testing::HasSubstr("rank 2 has left"));
    named.fetch_add(1);
    EXPECT_FALSE(c.Barrier().ok()) << "anything further is an error, too";
  });
  EXPECT_EQ(named.load(), 2);
}

TEST(ThreadRanksTest, AnExceptionOfARankComesOut) {
  const auto body = [](Communicator& c) {
    if (c.rank() == 1) throw std::runtime_error("of rank 1");
    EXPECT_FALSE(c.Barrier().ok());
  };
  try {
    ThreadRanks::Run(3, body);
    ADD_FAILURE() << "nothing was thrown";
  } catch (const std::runtime_error& error) {
    EXPECT_STREQ(error.what(), "of rank 1");
  }
}

// The late rank comes once it has been named.
TEST(ThreadRanksTest, WhoIsLateIsNamed) {
  std::atomic<int> named{0};
  ThreadRanks::Run(3, [&](Communicator& c) {
    Bytes out(8), in(8);
    std::vector<Outgoing> outgoing;
    std::vector<Incoming> incoming;
    if (c.rank() == 2) outgoing = {{.to = 0, .bytes = out}, {.to = 1, .bytes = out}};
    if (c.rank() != 2) incoming = {{.from = 2, .bytes = in}};
    auto exchange = c.Book("gradients of 3.weight", outgoing, incoming);
    Expect(exchange.status());
    bool told = false;
    c.set_watch({.slow_after = 0.01, .slow = [&](const std::string& what, double seconds) {
                   EXPECT_EQ(what, "gradients of 3.weight from rank 2");
                   EXPECT_GE(seconds, 0.01);
                   if (!told) named.fetch_add(1);
                   told = true;
                 }});
    while (c.rank() == 2 && named.load() < 2) std::this_thread::yield();
    Expect((*exchange)->Start());
    Expect((*exchange)->Wait());
    if (c.rank() != 2) {
      EXPECT_TRUE(told);
      EXPECT_GE(c.waited_seconds(), 0.01);
    }
  });
}

TEST(ThreadRanksTest, AWaitIsGivenUp) {
  std::atomic<bool> over{false};
  ThreadRanks::Run(2, [&](Communicator& c) {
    if (c.rank() == 0) {
      c.set_watch({.slow_after = 0.0, .give_up_after = 0.02});
      EXPECT_THAT(c.Barrier().message(), testing::HasSubstr("and gave up"));
      over.store(true);
    }
    while (!over.load()) std::this_thread::yield();
  });
}

}  // namespace
}  // namespace lockstep
