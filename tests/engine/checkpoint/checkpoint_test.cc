#include "engine/checkpoint/checkpoint.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "engine/io/hash.h"
#include "tests/engine/io/temporary_folder.h"

namespace lockstep::inline v0_1 {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

// A small model of two layers, its optimizer and its data.
struct Model {
  explicit Model(float first)
      : weight{first, 2, 3, 4, 5, 6}, mean{7, 8}, exp_avg(6, 0.25f), data_sd{1.5, 2.5} {}

  std::vector<NamedTensor> tensors() {
    return {{"0.weight", Tensor(weight.data(), Shape{2, 3})},
            {"1.running_mean", Tensor(mean.data(), Shape{2})},
            {"optimizer.0.weight.exp_avg", Tensor(exp_avg.data(), Shape{2, 3})},
            {"optimizer.step", Tensor(&step, Shape{})},
            {"data.sd", Tensor(data_sd.data(), Shape{2})},
            {"empty", Tensor(static_cast<float*>(nullptr), Shape{0})}};
  }
  Status Save(const std::string& path, const Metadata& meta = {{"step", "12"}}) {
    const std::vector<NamedTensor> all = tensors();
    return SaveCheckpoint(path, std::vector<NamedConstTensor>(all.begin(), all.end()), meta);
  }
  bool operator==(const Model&) const = default;

  std::vector<float> weight, mean, exp_avg;
  int32_t step = 12;
  std::vector<double> data_sd;
};

TEST(CheckpointTest, RestoresEveryBit) {
  const TemporaryFolder folder;
  Model saved(0.1f);
  ASSERT_TRUE(saved.Save(folder / "file").ok());
  Result<Checkpoint> checkpoint = LoadCheckpoint(folder / "file");
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status().message();
  const Checkpoint moved = std::move(*checkpoint);
  EXPECT_EQ(moved.meta.at("step"), "12");
  EXPECT_EQ(moved.meta.at("format"), "pt");
  ASSERT_NE(moved.Find("1.running_mean"), nullptr);
  EXPECT_EQ(moved.Find("1.running_mean")->view().f32()[1], 8.0f);
  EXPECT_EQ(moved.Find("1.running_var"), nullptr);
  Model restored(-1.0f);
  restored.step = 0;
  EXPECT_FALSE(restored == saved);
  const Status status = RestoreTensors(moved, restored.tensors());
  ASSERT_TRUE(status.ok()) << status.message();
  EXPECT_TRUE(restored == saved);
}

TEST(CheckpointTest, TheSameContentGivesTheSameBytes) {
  const TemporaryFolder folder;
  ASSERT_TRUE(Model(1.0f).Save(folder / "1").ok());
  ASSERT_TRUE(Model(1.0f).Save(folder / "2").ok());
  EXPECT_EQ(Slurp(folder / "1"), Slurp(folder / "2"));
}

TEST(CheckpointTest, EveryFlippedBitAndEveryTruncationIsNoticed) {
  const TemporaryFolder folder;
  // The metadata holds texts that look like the mark of the checksum.
  ASSERT_TRUE(Model(1.0f)
                  .Save(folder / "file", {{"a", "\"lockstep.checksum\":\"0123456789abcdef\""},
                                          {"lockstep", ".checksum"}})
                  .ok());
  ASSERT_TRUE(LoadCheckpoint(folder / "file").ok());
  // Changed in place: rewriting thousands of files makes some file systems wait for the disk.
  const std::string content = Slurp(folder / "file");
  const auto put = [&](size_t at, char byte) {
    std::fstream file(folder / "file", std::ios::binary | std::ios::in | std::ios::out);
    file.seekp(static_cast<std::streamoff>(at));
    file.put(byte);
  };
  for (size_t i = 0; i < content.size(); ++i) {
    for (const int flip : {1, 32, 128}) {
      put(i, static_cast<char>(content[i] ^ flip));
      const Status status = LoadCheckpoint(folder / "file").status();
      ASSERT_FALSE(status.ok()) << "byte " << i << " flip " << flip;
      EXPECT_THAT(status.message(), AllOf(HasSubstr(folder / "file"), Not(HasSubstr("\n"))));
      EXPECT_LT(status.message().size(), 600u);
    }
    put(i, content[i]);
  }
  ASSERT_TRUE(LoadCheckpoint(folder / "file").ok());
  for (size_t size = content.size(); size-- > 0;) {
    std::filesystem::resize_file(folder / "file", size);
    EXPECT_FALSE(LoadCheckpoint(folder / "file").ok()) << size;
  }
}

// Versions 1 and 2 hashed the file from front to back.
TEST(CheckpointTest, OlderVersionsAreReadAndTheirDamageIsNoticed) {
  const TemporaryFolder folder;
  ASSERT_TRUE(Model(1.0f).Save(folder / "file").ok());
  const std::string version = "\"lockstep.format_version\":\"", sum = "\"lockstep.checksum\":\"";
  for (const char number : {'1', '2'}) {
    std::string bytes = Slurp(folder / "file");
    bytes[bytes.find(version) + version.size()] = number;
    const size_t place = bytes.find(sum) + sum.size();
    bytes.replace(place, 16, 16, '0');
    bytes.replace(place, 16, HexOf(Hasher().Add(bytes).Finish()));
    Spill(folder / "old", bytes);
    const Result<Checkpoint> old = LoadCheckpoint(folder / "old");
    ASSERT_TRUE(old.ok()) << old.status().message();
    EXPECT_EQ(old->Find("0.weight")->view().f32()[5], 6.0f);
    bytes.back() = static_cast<char>(bytes.back() ^ 1);
    Spill(folder / "old", bytes);
    EXPECT_EQ(LoadCheckpoint(folder / "old").status().code(), Code::kCorrupt);
  }
}

TEST(CheckpointTest, ForeignFilesAndOtherVersionsAreToldApartFromDamage) {
  const TemporaryFolder folder;
  const float x = 1.0f;
  const std::vector<NamedConstTensor> tensors = {{"w", ConstTensor(&x, Shape{})}};
  ASSERT_TRUE(WriteSafetensors(folder / "plain", tensors, {{"format", "pt"}}).ok());
  EXPECT_THAT(LoadCheckpoint(folder / "plain").status().message(),
              AllOf(HasSubstr(folder / "plain"), HasSubstr("not a checkpoint")));
  ASSERT_TRUE(WriteSafetensors(folder / "newer", tensors,
                               {{"lockstep.format_version", "4"}, {"lockstep.checksum", "x"}})
                  .ok());
  EXPECT_THAT(LoadCheckpoint(folder / "newer").status().message(), HasSubstr("version \"4\""));
  for (const char* version : {"1", "2", "3"}) {
    ASSERT_TRUE(WriteSafetensors(folder / "short", tensors,
                                 {{"lockstep.format_version", version}, {"lockstep.checksum", "x"}})
                    .ok());
    EXPECT_EQ(LoadCheckpoint(folder / "short").status().code(), Code::kCorrupt);
  }
  EXPECT_EQ(LoadCheckpoint(folder / "none").status().code(), Code::kNotFound);
  EXPECT_FALSE(Model(1.0f).Save(folder / "file", {{"lockstep.checksum", "0"}}).ok());
}

TEST(RestoreTest, NamesTheFirstMismatchAndChangesNothing) {
  const TemporaryFolder folder;
  ASSERT_TRUE(Model(1.0f).Save(folder / "file").ok());
  const Result<Checkpoint> checkpoint = LoadCheckpoint(folder / "file");
  ASSERT_TRUE(checkpoint.ok());
  std::vector<float> weight(6, -1.0f), other(6, -1.0f);
  const std::vector<float> before = weight;
  const auto restore = [&](const NamedTensor& second) {
    const std::vector<NamedTensor> into = {{"0.weight", Tensor(weight.data(), Shape{2, 3})},
                                           second};
    const Status status = RestoreTensors(*checkpoint, into);
    EXPECT_FALSE(status.ok());
    EXPECT_EQ(weight, before);
    EXPECT_THAT(status.message(), Not(HasSubstr("\n")));
    return status.message();
  };
  EXPECT_THAT(restore({"1.runing_mean", Tensor(other.data(), Shape{2})}),
              AllOf(HasSubstr("\"1.runing_mean\" F32 (2)"),
                    HasSubstr("nearest name there is \"1.running_mean\" F32 (2)")));
  EXPECT_THAT(restore({"1.running_mean", Tensor(other.data(), Shape{3})}),
              AllOf(HasSubstr("\"1.running_mean\""), HasSubstr("F32 (2) in the file"),
                    HasSubstr("needs F32 (3)")));
  EXPECT_THAT(restore({"1.running_mean", Tensor(other.data(), Shape{2, 1})}), HasSubstr("(2, 1)"));
  EXPECT_THAT(restore({"data.sd", Tensor(other.data(), Shape{2})}), HasSubstr("F64 (2)"));
  EXPECT_THAT(RestoreTensors(std::span<const StoredTensor>(),
                             std::vector<NamedTensor>{{"w", Tensor(other.data(), Shape{1})}})
                  .message(),
              HasSubstr("\"w\""));
  EXPECT_TRUE(RestoreTensors(*checkpoint, {}).ok());
}

// A writer is killed at any moment, many times: what is there is always one whole checkpoint.
TEST(CheckpointTest, SurvivesKillAtAnyMoment) {
  const TemporaryFolder folder;
  ASSERT_TRUE(Model(0.0f).Save(folder / "file").ok());
  for (int round = 0; round < 20; ++round) {
    const pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      for (float value = 1.0f;; value += 1.0f) {
        Model model(value);
        model.exp_avg.assign(6, value);
        if (!model.Save(folder / "file").ok()) _exit(1);
      }
    }
    usleep(static_cast<useconds_t>(1000 + round * 797));
    kill(child, SIGKILL);
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    EXPECT_TRUE(WIFSIGNALED(status)) << "saving failed";
    const Result<Checkpoint> checkpoint = LoadCheckpoint(folder / "file");
    ASSERT_TRUE(checkpoint.ok()) << checkpoint.status().message();
    const float value = checkpoint->Find("0.weight")->view().f32()[0];
    if (value != 0.0f) {
      EXPECT_EQ(checkpoint->Find("optimizer.0.weight.exp_avg")->view().f32()[5], value);
    }
    EXPECT_LE(folder.files(), 2);  // the checkpoint and one leftover at most
  }
  EXPECT_TRUE(Model(0.0f).Save(folder / "file").ok());
  EXPECT_EQ(folder.files(), 1);
}

}  // namespace
}  // namespace lockstep
