// Checkpoints that several ranks write together.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <algorithm>
#include <csignal>
#include <fstream>
#include <functional>
#include <numeric>
#include <string>
#include <vector>

#include "engine/checkpoint/block_hash.h"
#include "engine/checkpoint/checkpoint.h"
#include "engine/comm/thread_ranks.h"
#include "engine/io/hash.h"
#include "tests/engine/io/temporary_folder.h"

namespace lockstep::inline v0_1 {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

// Large enough for several blocks of the checksum: weights that all hold, a state that is cut
// anywhere, one of which some ranks hold nothing, and an empty tensor.
struct Model {
  Model() : weight(700'000), state(800'001), small(3, 0.5f) {
    std::iota(weight.begin(), weight.end(), 1.0f);
    std::iota(state.begin(), state.end(), -7.0f);
  }

  static std::span<const std::byte> Bytes(const std::vector<float>& values, int64_t begin,
                                          int64_t end) {
    return std::as_bytes(std::span(values))
        .subspan(static_cast<size_t>(4 * begin), static_cast<size_t>(4 * (end - begin)));
  }
  static StoredPiece Piece(const std::string& name, const std::vector<float>& values, int64_t begin,
                           int64_t end) {
    StoredPiece piece;
    piece.name = name;
    piece.shape = Shape{static_cast<int64_t>(values.size())};
    piece.begin = begin;
    piece.data = Bytes(values, begin, end);
    return piece;
  }
  // What rank `rank` of `ranks` holds.
  std::vector<StoredPiece> Pieces(int rank, int ranks) const {
    const auto n = static_cast<int64_t>(weight.size());
    std::vector<StoredPiece> pieces = {Piece("weight", weight, 0, n), Piece("none", {}, 0, 0)};
    // Two stretches for each, as buckets are cut.
    const auto all = static_cast<int64_t>(state.size());
    const int64_t middle = 123'457;
    for (const auto& [from, to] : {std::pair{int64_t{0}, middle}, std::pair{middle, all}}) {
      const int64_t size = to - from;
      pieces.push_back(Piece("optimizer.state", state, from + size * rank / ranks,
                             from + size * (rank + 1) / ranks));
    }
    pieces.push_back(Piece("optimizer.small", small, 0, rank == ranks - 1 ? 3 : 0));
    pieces.push_back(Piece("last", small, 0, 3));
    return pieces;
  }

  std::vector<float> weight, state, small;
};

const Metadata kMeta = {{"step", "12"}, {"quotes", "\"lockstep.checksum\":\"0000\""}};

std::vector<Status> SaveOn(int ranks, const Model& model, const std::string& path) {
  std::vector<Status> all(static_cast<size_t>(ranks));
  ThreadRanks::Run(ranks, [&](Communicator& communicator) {
    all[static_cast<size_t>(communicator.rank())] = SaveCheckpoint(
        path, model.Pieces(communicator.rank(), communicator.size()), kMeta, &communicator);
  });
  return all;
}

TEST(SaveOnRanksTest, AnyNumberOfRanksWritesTheBytesThatOneProcessWrites) {
  const TemporaryFolder folder;
  const Model model;
  const std::vector<StoredTensor> whole = {
      {"weight", StoredType::kF32, Shape{700'000}, Model::Bytes(model.weight, 0, 700'000)},
      {"none", StoredType::kF32, Shape{0}, {}},
      {"optimizer.state", StoredType::kF32, Shape{800'001}, Model::Bytes(model.state, 0, 800'001)},
      {"optimizer.small", StoredType::kF32, Shape{3}, Model::Bytes(model.small, 0, 3)},
      {"last", StoredType::kF32, Shape{3}, Model::Bytes(model.small, 0, 3)}};
  ASSERT_TRUE(SaveCheckpoint(folder / "alone", whole, kMeta).ok());
  const std::string alone = Slurp(folder / "alone");
  for (const int ranks : {1, 2, 3, 4, 7, 16}) {
    for (const Status& status : SaveOn(ranks, model, folder / "together"))
      ASSERT_TRUE(status.ok()) << status.message();
    EXPECT_TRUE(Slurp(folder / "together") == alone) << ranks << " ranks";
  }
  const Result<Checkpoint> read = LoadCheckpoint(folder / "together");
  ASSERT_TRUE(read.ok()) << read.status().message();
  EXPECT_EQ(folder.files(), 2);
}

// The definition in checkpoint.h, computed from the file alone.
TEST(SaveOnRanksTest, TheChecksumIsThatOfTheBlocksOfTheData) {
  const TemporaryFolder folder;
  for (const Status& status : SaveOn(3, Model(), folder / "file")) ASSERT_TRUE(status.ok());
  std::string file = Slurp(folder / "file");
  uint64_t length = 0;
  std::copy_n(file.data(), 8, reinterpret_cast<char*>(&length));
  const std::string key = "\"lockstep.checksum\":\"";
  const size_t place = file.find(key) + key.size();
  const std::string stored = file.substr(place, 16);
  file.replace(place, 16, 16, '0');
  Hasher hasher;
  hasher.Add(std::string_view(file).substr(0, 8 + length));
  for (size_t at = 8 + length; at < file.size(); at += size_t{1} << 20)
    hasher.AddNumber(Hasher().Add(std::string_view(file).substr(at, size_t{1} << 20)).Finish());
  EXPECT_EQ(HexOf(hasher.Finish()), stored);
}

TEST(SaveOnRanksTest, APieceThatNobodyOrTwoHoldAndRanksThatDisagreeAreNamed) {
  const TemporaryFolder folder;
  const auto save = [&](const std::function<void(int, std::vector<StoredPiece>&)>& change) {
    std::string said;
    const Model model;
    ThreadRanks::Run(3, [&](Communicator& communicator) {
      std::vector<StoredPiece> pieces = model.Pieces(communicator.rank(), 3);
      change(communicator.rank(), pieces);
      const Status status = SaveCheckpoint(folder / "file", pieces, kMeta, &communicator);
      EXPECT_FALSE(status.ok());
      if (communicator.rank() == 2) said = status.message();
    });
    EXPECT_EQ(folder.files(), 0);
    return said;
  };
  EXPECT_THAT(save([](int rank, std::vector<StoredPiece>& pieces) {
                if (rank == 2) pieces[4].data = {};
              }),
              HasSubstr("0 of the 12 bytes of optimizer.small"));
  EXPECT_THAT(save([](int rank, std::vector<StoredPiece>& pieces) {
                if (rank == 1) pieces[4].data = pieces[5].data;
              }),
              HasSubstr("24 of the 12 bytes of optimizer.small"));
  EXPECT_THAT(save([](int rank, std::vector<StoredPiece>& pieces) {
                if (rank == 1) pieces[4].name = "other";
              }),
              HasSubstr("rank 1 would save other tensors"));
}

// One rank cannot write: the old checkpoint stays, nothing is left over, and all say who.
TEST(SaveOnRanksTest, AFullDiskOnOneRankLeavesTheOldCheckpoint) {
  const TemporaryFolder folder;
  for (const Status& status : SaveOn(2, Model(), folder / "file")) ASSERT_TRUE(status.ok());
  const std::string before = Slurp(folder / "file");
  Model other;
  other.weight[0] = -1.0f;
  rlimit limit{};
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &limit), 0);
  const rlimit old = limit;
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  // All before it belongs to rank 0, the end of it to others.
  limit.rlim_cur = before.size() - 200;
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &limit), 0);
  const std::vector<Status> all = SaveOn(3, other, folder / "file");
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &old), 0);
  std::signal(SIGXFSZ, handler);
  for (const Status& status : all) {
    EXPECT_THAT(status.message(), AllOf(HasSubstr("rank 2: "), HasSubstr(folder / "file"),
                                        HasSubstr("too large"), Not(HasSubstr("\n"))));
  }
  EXPECT_TRUE(Slurp(folder / "file") == before);
  EXPECT_EQ(folder.files(), 1);
  for (const Status& status : SaveOn(3, other, folder / "file"))
    EXPECT_TRUE(status.ok()) << status.message();
}

// Each rank has a folder of its own under the same name, as it were.
TEST(SaveOnRanksTest, ARankThatDoesNotSeeTheFileSaysSo) {
  const TemporaryFolder folder, elsewhere;
  const Model model;
  for (const bool leftover : {false, true}) {
    if (leftover) std::ofstream(elsewhere / "file.tmp") << "of a run that was killed, once";
    ThreadRanks::Run(2, [&](Communicator& communicator) {
      const std::string path = (communicator.rank() == 0 ? folder : elsewhere) / "file";
      const Status status =
          SaveCheckpoint(path, model.Pieces(communicator.rank(), 2), kMeta, &communicator);
      EXPECT_THAT(status.message(),
                  AllOf(HasSubstr("rank 1: "), HasSubstr("file system that all ranks share")));
    });
    EXPECT_EQ(folder.files(), 0);
  }
}

TEST(SaveOnRanksTest, ARankThatHasGoneIsAnErrorOfTheOthers) {
  const TemporaryFolder folder;
  const Model model;
  ThreadRanks::Run(3, [&](Communicator& communicator) {
    if (communicator.rank() == 1) return;
    const Status status =
        SaveCheckpoint(folder / "file", model.Pieces(communicator.rank(), 3), kMeta, &communicator);
    EXPECT_THAT(status.message(), HasSubstr("has left"));
  });
  EXPECT_EQ(folder.files(), 0);
}

TEST(RestorePiecesTest, EachTakesItsPartAndAMismatchChangesNothing) {
  const TemporaryFolder folder;
  const Model model;
  for (const Status& status : SaveOn(2, model, folder / "file")) ASSERT_TRUE(status.ok());
  const Result<Checkpoint> read = LoadCheckpoint(folder / "file");
  ASSERT_TRUE(read.ok());
  std::vector<float> part(1000, -1.0f), none;
  const auto into = [&](Shape whole, int64_t begin) {
    return std::vector<TensorPiece>{
        {"optimizer.state", Tensor(part.data(), Shape{1000}), whole, begin},
        {"optimizer.small", Tensor(none.data(), Shape{0}), Shape{3}, 0}};
  };
  EXPECT_THAT(RestoreTensors(read->tensors, into(Shape{800'002}, 5)).message(),
              AllOf(HasSubstr("F32 (800001) in the file"), HasSubstr("needs F32 (800002)")));
  EXPECT_EQ(part, std::vector<float>(1000, -1.0f));
  ASSERT_TRUE(RestoreTensors(read->tensors, into(Shape{800'001}, 799'001)).ok());
  EXPECT_TRUE(std::equal(part.begin(), part.end(), model.state.begin() + 799'001));
}

}  // namespace
}  // namespace lockstep
