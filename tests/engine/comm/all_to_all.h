// Messages from each rank to each other, for tests of communicators.
#ifndef LOCKSTEP_TESTS_ENGINE_COMM_ALL_TO_ALL_H_
#define LOCKSTEP_TESTS_ENGINE_COMM_ALL_TO_ALL_H_

#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "engine/comm/communicator.h"

namespace lockstep::inline v0_1 {

using Bytes = std::vector<std::byte>;

inline void Expect(const Status& status) { EXPECT_TRUE(status.ok()) << status.message(); }

// `messages` from each rank to each other, of sizes that depend on both: zero and odd ones too.
class AllToAll {
 public:
  AllToAll(Communicator& c, std::string what, size_t messages, uint64_t seed) : c_(c), seed_(seed) {
    for (int peer = 0; peer < c.size(); ++peer) {
      for (size_t i = 0; i < messages && peer != c.rank(); ++i) {
        out_.push_back({.peer = peer, .number = i, .bytes = Bytes(Size(c.rank(), peer, i))});
        in_.push_back({.peer = peer, .number = i, .bytes = Bytes(Size(peer, c.rank(), i))});
      }
    }
    std::vector<Outgoing> outgoing;
    std::vector<Incoming> incoming;
    for (const Message& one : out_) outgoing.push_back({.to = one.peer, .bytes = one.bytes});
    for (Message& one : in_) incoming.push_back({.from = one.peer, .bytes = one.bytes});
    auto booked = c.Book(std::move(what), std::move(outgoing), std::move(incoming));
    Expect(booked.status());
    if (booked.ok()) exchange_ = std::move(*booked);
  }

  // Sends what depends on `round`.
  void Start(uint64_t round) {
    round_ = round;
    for (Message& one : out_) Fill(one, c_.rank(), one.peer);
    for (Message& one : in_) std::fill(one.bytes.begin(), one.bytes.end(), std::byte{0});
    Expect(exchange_->Start());
  }
  void Wait() { Expect(exchange_->Wait()); }
  bool Done() {
    const Result<bool> done = exchange_->Done();
    Expect(done.status());
    return !done.ok() || *done;
  }
  // What has come is what was sent.
  void Check() {
    for (const Message& one : in_) {
      Message expected = one;
      Fill(expected, one.peer, c_.rank());
      EXPECT_EQ(one.bytes, expected.bytes) << one.peer << " to " << c_.rank() << ", " << one.number;
    }
  }
  Bytes Received() const {
    Bytes all;
    for (const Message& one : in_) all.insert(all.end(), one.bytes.begin(), one.bytes.end());
    return all;
  }

 private:
  struct Message {
    int peer;
    size_t number;
    Bytes bytes;
  };
  static size_t Size(int from, int to, size_t i) {
    constexpr size_t kSizes[] = {0, 1, 5, 63, 1000, 7001, 2};
    return kSizes[(static_cast<size_t>(3 * from + to) + i) % 7];
  }
  void Fill(Message& one, int from, int to) const {
    uint64_t word = seed_ + 1000003 * round_ + 7919 * static_cast<uint64_t>(from) +
                    104729 * static_cast<uint64_t>(to) + one.number;
    for (std::byte& b : one.bytes) {
      word = word * 6364136223846793005u + 1442695040888963407u;
      b = static_cast<std::byte>(word >> 56);
    }
  }

  Communicator& c_;
  uint64_t seed_, round_ = 0;
  std::vector<Message> out_, in_;
  std::unique_ptr<Exchange> exchange_;
};

// Two exchanges under way at once, with a collective between them, again and again.
inline void OverlapAndRepeat(Communicator& c) {
  AllToAll first(c, "first", 3, 1), second(c, "second", 5, 2);
  for (uint64_t round = 0; round < 4; ++round) {
    first.Start(round);
    second.Start(round);
    Expect(c.Barrier());
    while (!second.Done()) {
    }
    second.Check();
    second.Start(round + 100);
    first.Wait();
    first.Check();
    first.Wait();  // of one that is done: nothing
    EXPECT_TRUE(first.Done());
    second.Wait();
    second.Check();
  }
}

}  // namespace lockstep

#endif  // LOCKSTEP_TESTS_ENGINE_COMM_ALL_TO_ALL_H_
