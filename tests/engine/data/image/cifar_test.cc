#include "engine/data/image/cifar.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/engine/data/data_files.h"
#include "tests/engine/io/temporary_folder.h"

namespace lockstep::inline v0_1 {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// `labels`, then planes of which each byte tells its plane and its place.
std::string Record(const std::string& labels) {
  std::string record = labels;
  for (int c = 0; c < 3; ++c) {
    for (int i = 0; i < 1024; ++i) record += static_cast<char>(i * 3 + c * 7);
  }
  return record;
}

class CifarTest : public testing::Test {
 protected:
  std::string File(const std::string& name, const std::string& content) {
    Spill(folder_ / name, content);
    return folder_ / name;
  }
  Result<std::shared_ptr<const InMemoryDataset>> Load(const std::vector<std::string>& paths,
                                                      CifarKind kind = CifarKind::kCifar10,
                                                      const CifarOptions& options = {}) {
    return LoadCifarFiles(kind, paths, options);
  }
  std::string ErrorOf(const std::string& content, const CifarOptions& options = {}) {
    const auto dataset = Load({File("t.bin", content)}, CifarKind::kCifar10, options);
    return dataset.ok() ? "(no error)" : dataset.status().message();
  }

  TemporaryFolder folder_;
};

TEST_F(CifarTest, PlanesBecomePixelsAndFilesFollowInOrder) {
  const std::string b = File("b", Record("\x09") + Record("\x01"));
  SpillGzip(folder_ / "a", Record(std::string(1, '\0')));
  const auto dataset = Load({b, folder_ / "a"}).value();
  EXPECT_EQ(dataset->info().x_shape, Shape({32, 32, 3}));
  EXPECT_EQ(dataset->info().classes, 10);
  EXPECT_THAT(ClassLabels(*dataset).value(), ElementsAre(9, 1, 0));
  for (int64_t sample = 0; sample < 3; ++sample) {
    const auto x = dataset->StoredX(sample).span<uint8_t>();
    for (size_t i = 0; i < 1024; ++i) {
      for (size_t c = 0; c < 3; ++c) ASSERT_EQ(x[3 * i + c], (i * 3 + c * 7) % 256);
    }
  }
}

TEST_F(CifarTest, HundredHasFineLabelsBehindCoarseOnes) {
  const auto dataset =
      Load({File("t", Record("\x13\x63") + Record("\x02\x05"))}, CifarKind::kCifar100).value();
  EXPECT_EQ(dataset->info().classes, 100);
  EXPECT_THAT(ClassLabels(*dataset).value(), ElementsAre(99, 5));
}

TEST_F(CifarTest, BadRecordsAreNamedByNumber) {
  EXPECT_THAT(ErrorOf(""), HasSubstr("t.bin: is empty"));
  EXPECT_THAT(ErrorOf(Record("\x01") + Record("\x0A")),
              HasSubstr("t.bin: record 1 has the label 10, not in 0 to 9"));
  EXPECT_THAT(ErrorOf(Record("\x01") + Record("\x01").substr(0, 3072)),
              HasSubstr("t.bin: record 1 has only 3072 of 3073 bytes"));
  EXPECT_THAT(ErrorOf("\x01"), HasSubstr("record 0 has only 1 of"));
  // Records are counted anew in every file.
  const std::string good = File("good", Record("\x01"));
  EXPECT_THAT(Load({good, File("bad", Record("\xFF"))}).status().message(),
              HasSubstr("bad: record 0 has the label 255"));
  EXPECT_THAT(Load({File("h", Record("\x01\x64"))}, CifarKind::kCifar100).status().message(),
              HasSubstr("record 0 has the label 100, not in 0 to 99"));
  EXPECT_THAT(Load({}).status().message(), HasSubstr("no files"));
  EXPECT_THAT(Load({good, folder_ / "none"}).status().message(), HasSubstr("no such file"));
}

TEST_F(CifarTest, LimitsAndDamagedCompression) {
  const std::string three = Record("\x01") + Record("\x02") + Record("\x03");
  EXPECT_EQ(ErrorOf(three, {.max_bytes = 3 * 3072}), "(no error)");
  EXPECT_THAT(ErrorOf(three, {.max_bytes = 3 * 3072 - 1}), HasSubstr("record 2 exceeds the limit"));
  SpillGzip(folder_ / "bomb", std::string(size_t{3073} << 12, '\0'));
  EXPECT_THAT(
      Load({folder_ / "bomb"}, CifarKind::kCifar10, {.max_bytes = 1 << 20}).status().message(),
      HasSubstr("record 341 exceeds the limit"));
  SpillGzip(folder_ / "whole", three);
  const std::string packed = Slurp(folder_ / "whole");
  EXPECT_FALSE(Load({File("cut", packed.substr(0, packed.size() - 9))}).ok());
}

TEST_F(CifarTest, FoldersHaveTheirUsualFiles) {
  for (int i = 1; i <= 4; ++i) {
    (void)File("data_batch_" + std::to_string(i) + ".bin",
               Record(std::string(1, static_cast<char>(i))));
  }
  SpillGzip(folder_ / "test_batch.bin.gz", Record("\x07"));
  EXPECT_THAT(LoadCifar(CifarKind::kCifar10, folder_.path())->remark,
              HasSubstr("(data_batch_5.bin are missing): trains on data_batch_1.bin, "));
  (void)File("data_batch_5.bin", Record("\x05"));
  const CifarData data = LoadCifar(CifarKind::kCifar10, folder_.path()).value();
  EXPECT_EQ(data.remark, "");
  EXPECT_THAT(ClassLabels(*data.train).value(), ElementsAre(1, 2, 3, 4, 5));
  EXPECT_THAT(ClassLabels(*data.test).value(), ElementsAre(7));
  EXPECT_EQ(data.train->info().class_names[9], "9");
  (void)File("batches.meta.txt", "a\r\nb\nc\nd\ne\nf\ng\nh\ni\nj\n\n");
  EXPECT_EQ(LoadCifar(CifarKind::kCifar10, folder_.path())->test->info().class_names[9], "j");
  EXPECT_EQ(LoadCifar(CifarKind::kCifar10, folder_.path())->test->info().class_names[0], "a");
  (void)File("batches.meta.txt", "a\n");
  EXPECT_THAT(LoadCifar(CifarKind::kCifar10, folder_.path()).status().message(),
              HasSubstr("holds 1 names, not 10"));
  EXPECT_THAT(LoadCifar(CifarKind::kCifar100, folder_.path()).status().message(),
              HasSubstr("train.bin, test.bin;"));
}

TEST_F(CifarTest, PartsOfTheSetAreTakenInOrderAndNamed) {
  SpillGzip(folder_ / "data_batch_1.part2.bin.gz", Record("\x02"));
  (void)File("data_batch_1.part1.bin", Record("\x01"));
  (void)File("data_batch_1.txt", "no records");
  const auto missing = LoadCifar(CifarKind::kCifar10, folder_.path());
  EXPECT_EQ(missing.status().code(), Code::kNotFound);
  EXPECT_THAT(missing.status().message(), HasSubstr("data_batch_5.bin, test_batch.bin;"));
  (void)File("test_batch.some.bin", Record("\x07"));
  const CifarData data = LoadCifar(CifarKind::kCifar10, folder_.path()).value();
  EXPECT_THAT(ClassLabels(*data.train).value(), ElementsAre(1, 2));
  EXPECT_THAT(ClassLabels(*data.test).value(), ElementsAre(7));
  EXPECT_THAT(data.remark, HasSubstr("trains on data_batch_1.part1.bin, data_batch_1.part2.bin.gz; "
                                     "tests on test_batch.some.bin"));
}

// A sample that came twice would be trained on and validated with.
TEST_F(CifarTest, NoRecordOfAPartOfTheSetIsReadTwice) {
  (void)File("data_batch_1.part1.bin", Record("\x01"));
  SpillGzip(folder_ / "data_batch_1.part2.bin.gz", Record("\x02"));
  (void)File("data_batch_1.bin", Record("\x01") + Record("\x02"));
  SpillGzip(folder_ / "data_batch_1.bin.gz", Record("\x01") + Record("\x02"));
  SpillGzip(folder_ / "data_batch_2.bin.gz", Record("\x03"));
  (void)File("test_batch.bin", Record("\x07"));
  const CifarData data = LoadCifar(CifarKind::kCifar10, folder_.path()).value();
  EXPECT_THAT(ClassLabels(*data.train).value(), ElementsAre(1, 2, 3));
  EXPECT_THAT(data.remark, HasSubstr("trains on data_batch_1.bin, data_batch_2.bin.gz; "));
}

// The facts of the part of the set that tests use.
TEST_F(CifarTest, RealRecordsAreAsDescribed) {
  LOCKSTEP_NEEDS_REAL_FILE("cifar10/data_batch_1.part1-exact-4000.bin.gz");
  const auto loaded = Load({RealFile("cifar10/data_batch_1.part1-exact-4000.bin.gz")});
  ASSERT_TRUE(loaded.ok()) << loaded.status().message();
  const InMemoryDataset& dataset = *loaded.value();
  ASSERT_EQ(dataset.size(), 4000);
  std::vector<int> counts(10);
  const std::vector<int32_t> labels = ClassLabels(dataset).value();
  for (const int32_t label : labels) ++counts[static_cast<size_t>(label)];
  EXPECT_THAT(counts, ElementsAre(396, 366, 420, 384, 422, 393, 414, 385, 407, 413));
  std::vector<double> sums(3);
  for (int64_t i = 0; i < 4000; ++i) {
    const auto x = dataset.StoredX(i).span<uint8_t>();
    for (size_t j = 0; j < x.size(); ++j) sums[j % 3] += x[j];
  }
  EXPECT_NEAR(sums[0] / (4000.0 * 1024 * 255), 0.4916, 0.51e-4);
  EXPECT_NEAR(sums[1] / (4000.0 * 1024 * 255), 0.4818, 0.51e-4);
  EXPECT_NEAR(sums[2] / (4000.0 * 1024 * 255), 0.4447, 0.51e-4);
  const auto first = dataset.StoredX(0).span<uint8_t>();
  EXPECT_THAT(std::vector<int>({first[0], first[3], first[6]}), ElementsAre(59, 43, 50));
}

}  // namespace
}  // namespace lockstep
