// What ranks that are processes carry, against the same ranks as threads: every body below runs on
// both, and the bytes that this rank ends with must be the same. Started by mpirun on any number of
// ranks; every rank runs every test, rank 0 prints.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "engine/base/random.h"
#include "engine/comm/mpi.h"
#include "engine/comm/mpi_pieces.h"
#include "engine/comm/thread_ranks.h"
#include "tests/engine/comm/all_to_all.h"
#include "tests/mpi/allocations.h"

namespace lockstep::inline v0_1 {
namespace {

MpiSession* session = nullptr;  // of main
Communicator& World() { return session->communicator(); }

Bytes Noise(size_t size, uint64_t seed) {
  Random random(seed, StreamOf("noise"));
  Bytes bytes(size);
  for (std::byte& one : bytes) one = static_cast<std::byte>(random.Uniform() * 256.0);
  return bytes;
}
std::vector<float> Floats(size_t size, uint64_t seed) {
  Random random(seed, StreamOf("floats"));
  std::vector<float> values(size);
  // Of very different sizes, so that another order of the sum would be seen.
  for (float& one : values)
    one = static_cast<float>(random.Normal() * std::exp2(40.0 * random.Uniform()));
  return values;
}
void Append(Bytes& to, std::span<const std::byte> more) {
  to.insert(to.end(), more.begin(), more.end());
}

// body(communicator) returns what this rank ends with.
template <class Body>
void SameAsThreads(const Body& body) {
  Communicator& world = World();
  const auto me = static_cast<size_t>(world.rank());
  std::vector<Bytes> of_threads(static_cast<size_t>(world.size()));
  ThreadRanks::Run(world.size(), [&](Communicator& communicator) {
    of_threads[static_cast<size_t>(communicator.rank())] = body(communicator);
  });
  EXPECT_EQ(body(world), of_threads[me]) << "rank " << me;
  for (const size_t piece : {67, 1000}) {
    auto in_pieces = MpiInPieces(world, piece);
    ASSERT_TRUE(in_pieces.ok()) << in_pieces.status().message();
    EXPECT_EQ(body(**in_pieces), of_threads[me]) << "rank " << me << ", pieces of " << piece;
  }
}

TEST(MpiTest, GathersWhatAllBring) {
  SameAsThreads([](Communicator& c) {
    Bytes result;
    for (const size_t size : {0, 1, 3, 64, 1001}) {
      const Bytes mine = Noise(size, 100 + static_cast<uint64_t>(c.rank()));
      Bytes all(size * static_cast<size_t>(c.size()));
      Expect(c.AllGather(mine, all));
      Append(result, all);
      // From its own place.
      Bytes in_place(all.size());
      const std::span<std::byte> place =
          std::span(in_place).subspan(size * static_cast<size_t>(c.rank()), size);
      std::copy(mine.begin(), mine.end(), place.begin());
      Expect(c.AllGather(place, in_place));
      EXPECT_EQ(in_place, all);
    }
    return result;
  });
}

TEST(MpiTest, BroadcastsFromAnyRoot) {
  SameAsThreads([](Communicator& c) {
    Bytes result;
    for (int root = 0; root < c.size(); ++root) {
      for (const size_t size : {0, 1, 3, 1001}) {
        Bytes data = Noise(size, 200 + static_cast<uint64_t>(c.rank()));
        Expect(c.Broadcast(data, root));
        EXPECT_EQ(data, Noise(size, 200 + static_cast<uint64_t>(root)));
        Append(result, data);
      }
    }
    return result;
  });
}

TEST(MpiTest, AddsInTheOrderOfTheTree) {
  SameAsThreads([](Communicator& c) {
    Bytes result;
    for (const size_t size : {0, 1, 7, 203}) {
      std::vector<float> values = Floats(size, 300 + static_cast<uint64_t>(c.rank()));
      Expect(c.AllReduce(values));
      Append(result, std::as_bytes(std::span(values)));
    }
    Expect(c.Barrier());
    return result;
  });
  // More than one of AllReduce's own pieces.
  std::vector<float> values = Floats(70001, static_cast<uint64_t>(World().rank()));
  std::vector<float> of_threads;
  Expect(World().AllReduce(values));
  ThreadRanks::Run(World().size(), [&](Communicator& c) {
    std::vector<float> mine = Floats(70001, static_cast<uint64_t>(c.rank()));
    Expect(c.AllReduce(mine));
    if (c.rank() == 0) of_threads = std::move(mine);
  });
  EXPECT_EQ(0, std::memcmp(values.data(), of_threads.data(), values.size() * sizeof(float)));
}

TEST(MpiTest, ExchangesOverlapAndRepeat) { OverlapAndRepeat(World()); }

TEST(MpiTest, ExchangesGiveWhatThreadsGive) {
  SameAsThreads([](Communicator& c) {
    AllToAll all(c, "all to all", 2, 3);
    std::vector<std::byte> one(c.rank() == 0 ? 9 : 0);
    // Of ranks 0 and 1 alone; the others book nothing.
    std::vector<Outgoing> outgoing;
    std::vector<Incoming> incoming;
    const Bytes greeting = Noise(9, 4);
    if (c.rank() == 1) outgoing.push_back({.to = 0, .bytes = greeting});
    if (c.rank() == 0 && c.size() > 1) incoming.push_back({.from = 1, .bytes = one});
    auto pair = c.Book("a pair", outgoing, incoming);
    Expect(pair.status());
    AllToAll more(c, "more", 1, 5);
    more.Start(1);
    Expect((*pair)->Start());
    all.Start(1);
    Expect((*pair)->Wait());
    all.Wait();
    more.Wait();
    all.Check();
    more.Check();
    Bytes result = all.Received();
    Append(result, one);
    Append(result, more.Received());
    return result;
  });
}

TEST(MpiTest, AllocatesNothingOnceBooked) {
  Communicator& c = World();
  AllToAll all(c, "all to all", 2, 6);
  std::vector<float> sum(100);
  std::vector<std::byte> gathered(static_cast<size_t>(c.size()) * 8);
  const auto step = [&](uint64_t round) {
    all.Start(round);
    Expect(c.AllReduce(sum));
    Expect(
        c.AllGather(std::span(gathered).subspan(static_cast<size_t>(c.rank()) * 8, 8), gathered));
    Expect(c.Broadcast(gathered, 0));
    all.Wait();
  };
  step(0);
  const int64_t before = Allocations();
  for (uint64_t round = 1; round < 20; ++round) step(round);
  EXPECT_EQ(Allocations(), before);
}

TEST(MpiTest, CountsWhatItSends) {
  Communicator& c = World();
  const auto others = static_cast<double>(c.size() - 1);
  std::vector<std::byte> out(11), in(11 * static_cast<size_t>(c.size()));
  double before = c.sent_bytes();
  Expect(c.AllGather(out, in));
  EXPECT_EQ(c.sent_bytes() - before, 11 * others);
  before = c.sent_bytes();
  Expect(c.Broadcast(out, 0));
  EXPECT_EQ(c.sent_bytes() - before, c.rank() == 0 ? 11 * others : 0.0);
  before = c.sent_bytes();
  auto ring = c.size() == 1 ? c.Book("nothing", {}, {})
                            : c.Book("a ring", {{.to = (c.rank() + 1) % c.size(), .bytes = out}},
                                     {{.from = (c.rank() + c.size() - 1) % c.size(),
                                       .bytes = std::span(in).subspan(0, 11)}});
  Expect(ring.status());
  EXPECT_EQ(c.sent_bytes(), before);
  for (int i = 0; i < 3; ++i) {
    Expect((*ring)->Start());
    Expect((*ring)->Wait());
  }
  EXPECT_EQ(c.sent_bytes() - before, c.size() == 1 ? 0.0 : 33.0);
  EXPECT_GE(c.waited_seconds(), 0.0);
}

// What Watch::slow was told until the late rank was let go: the last rank comes to `wait` only once
// every other has named it. Nothing here depends on how long anything takes.
template <class Call>
std::vector<std::string> ToldUntilNamed(const std::string& expected, const Call& wait) {
  Communicator& c = World();
  const int late = c.size() - 1;
  std::vector<std::string> told;
  auto signals = MpiInPieces(c, 1 << 20);
  EXPECT_TRUE(signals.ok());
  std::vector<std::byte> named(static_cast<size_t>(c.size()));
  std::vector<Outgoing> outgoing;
  std::vector<Incoming> incoming;
  for (int rank = 0; rank < late && c.rank() == late; ++rank)
    incoming.push_back({.from = rank, .bytes = std::span(named).subspan(0, 1)});
  if (c.rank() != late) outgoing.push_back({.to = late, .bytes = std::span(named).subspan(0, 1)});
  auto signal = (*signals)->Book("signal", outgoing, incoming);
  EXPECT_TRUE(signal.ok());
  bool sent = false;
  c.set_watch({.slow_after = 0.1, .slow = [&](const std::string& what, double) {
                 told.push_back(what);
                 if (sent || what.find(expected) == std::string::npos) return;
                 sent = true;
                 Expect((*signal)->Start());
               }});
  if (c.rank() == late) {
    Expect((*signal)->Start());
    Expect((*signal)->Wait());
  }
  wait();
  if (c.rank() != late) Expect((*signal)->Wait());
  c.set_watch({});
  return told;
}

TEST(MpiTest, WhoIsLateToACollectiveIsNamed) {
  if (World().size() == 1) GTEST_SKIP() << "one rank waits for nobody";
  const std::string late = "rank " + std::to_string(World().size() - 1);
  const auto told = ToldUntilNamed(late, [] { Expect(World().Barrier()); });
  if (World().rank() != World().size() - 1) {
    EXPECT_THAT(told, testing::Contains("all to meet from " + late));
  }
  EXPECT_GT(World().waited_seconds(), 0.0);
}

// Each rank waits for what the next sends, before it sends itself, and the last has not come: all
// name it, though one alone waits for a message of its own.
TEST(MpiTest, WhoHoldsUpAChainOfMessagesIsNamed) {
  Communicator& c = World();
  if (c.size() == 1) GTEST_SKIP() << "one rank waits for nobody";
  const int late = c.size() - 1;
  std::vector<std::byte> word(1), next(1);
  std::vector<std::unique_ptr<Exchange>> links;
  for (int from = late; from > 0; --from) {
    std::vector<Outgoing> outgoing;
    std::vector<Incoming> incoming;
    if (c.rank() == from) outgoing.push_back({.to = from - 1, .bytes = word});
    if (c.rank() == from - 1) incoming.push_back({.from = from, .bytes = next});
    auto link = c.Book("gradients of 3.weight", outgoing, incoming);
    ASSERT_TRUE(link.ok()) << link.status().message();
    links.push_back(std::move(*link));
  }
  const std::string name = "rank " + std::to_string(late);
  const auto told = ToldUntilNamed(name, [&] {
    for (const auto& link : links) {
      Expect(link->Start());
      Expect(link->Wait());
    }
  });
  if (c.rank() == late) return;
  std::string expected = "gradients of 3.weight from rank " + std::to_string(c.rank() + 1);
  if (c.rank() + 1 != late) expected += ", waiting too; not waiting: " + name;
  EXPECT_THAT(told, testing::Contains(expected));
}

TEST(MpiTest, AWaitThatIsGivenUpIsAnError) {
  Communicator& c = World();
  auto other = MpiInPieces(c, 1 << 20);
  ASSERT_TRUE(other.ok());
  if (c.size() > 1 && c.rank() == 0) {
    (*other)->set_watch({.slow_after = 0.0, .give_up_after = 0.05});
    const Status status = (*other)->Barrier();
    EXPECT_FALSE(status.ok());
    EXPECT_THAT(status.message(), testing::HasSubstr("all to meet from rank"));
    EXPECT_THAT(status.message(), testing::HasSubstr("and gave up"));
  }
  Expect(c.Barrier());
  if (c.rank() != 0) (*other).release();  // its peer has left it in the middle
}

TEST(MpiTest, ASessionNamesItsLibrary) {
  EXPECT_THAT(session->library(), testing::ContainsRegex("^(Open MPI v|MPICH |SMPI)[0-9. ]*"));
  EXPECT_EQ(World().size(), MpiLauncherSize());
  EXPECT_EQ(World().rank(), MpiLauncherRank());
  EXPECT_EQ(MpiLauncher(), "mpirun");
}

}  // namespace
}  // namespace lockstep

int main(int argc, char** argv) {
  auto started = lockstep::MpiSession::Start();
  if (!started.ok()) {
    std::fprintf(stderr, "%s\n", started.status().message().c_str());
    return 1;
  }
  lockstep::session = started->get();
  lockstep::Communicator& world = (*started)->communicator();
  testing::InitGoogleMock(&argc, argv);
  if (world.rank() != 0) {
    auto& listeners = testing::UnitTest::GetInstance()->listeners();
    delete listeners.Release(listeners.default_result_printer());
    // What fails on the others alone is printed, too.
    struct Failures : testing::EmptyTestEventListener {
      void OnTestPartResult(const testing::TestPartResult& result) override {
        if (result.failed())
          std::fprintf(stderr, "rank %d: %s:%d: %s\n", lockstep::session->communicator().rank(),
                       result.file_name(), result.line_number(), result.message());
      }
    };
    listeners.Append(new Failures);
  }
  const int failed = RUN_ALL_TESTS();
  float failures = static_cast<float>(failed);
  if (!world.AllReduce(std::span(&failures, 1)).ok() || failures != 0.0f)
    (*started)->Abort("the tests have failed on rank " + std::to_string(world.rank()), 1);
  return 0;
}
