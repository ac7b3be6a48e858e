#include "engine/data/image/idx_names.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <string>
#include <vector>

#include "tests/engine/data/data_files.h"
#include "tests/engine/io/temporary_folder.h"

namespace lockstep::inline v0_1 {
namespace {

using ::testing::HasSubstr;

class IdxNamesTest : public testing::Test {
 protected:
  void Add(const std::vector<std::string>& names) {
    for (const std::string& name : names) Spill(folder_ / name, "");
  }
  void AddSet(const std::string& begin) {
    Add({begin + "train-images-idx3-ubyte", begin + "train-labels-idx1-ubyte",
         begin + "test-images-idx3-ubyte.gz", begin + "test-labels-idx1-ubyte.gz"});
  }
  std::string NameOf(const std::string& path) {
    return std::filesystem::path(path).filename().string();
  }

  TemporaryFolder folder_;
};

TEST_F(IdxNamesTest, EverySpellingIsFound) {
  const std::vector<std::vector<std::string>> spellings = {
      {"train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte",
       "t10k-labels-idx1-ubyte"},
      {"train-images.idx3-ubyte", "train-labels.idx1-ubyte", "t10k-images.idx3-ubyte",
       "t10k-labels.idx1-ubyte"},
      {"train-images.idx3-ubyte.gz", "train-labels-idx1-int.gz", "t10k-images-idx3-ubyte",
       "t10k-labels.idx1-short"},
      {"qmnist-train-images-idx3-ubyte.gz", "qmnist-train-labels-idx1-int",
       "qmnist-test-images-idx3-ubyte", "qmnist-test-labels-idx1-int.gz"}};
  for (const auto& names : spellings) {
    const TemporaryFolder folder;
    for (const std::string& name : names) Spill(folder / name, "");
    Spill(folder / "README-train-images", "");
    Spill(folder / "train-images", "");
    Spill(folder / "xtrain-images-idx3-ubyte", "");  // no name of a set, which ends in a dash
    const auto files = FindIdxFiles(folder.path());
    ASSERT_TRUE(files.ok()) << files.status().message();
    EXPECT_EQ(files->train_images, folder / names[0]);
    EXPECT_EQ(files->train_labels, folder / names[1]);
    EXPECT_EQ(files->test_images, folder / names[2]);
    EXPECT_EQ(files->test_labels, folder / names[3]);
    EXPECT_EQ(FindIdxLabels(folder / names[0]).value(), folder / names[1]);
    EXPECT_EQ(FindIdxLabels(folder / names[2]).value(), folder / names[3]);
  }
}

TEST_F(IdxNamesTest, TheUnpackedFileIsTaken) {
  AddSet("");
  Add({"train-images-idx3-ubyte.gz", "test-images-idx3-ubyte"});
  const auto files = FindIdxFiles(folder_.path());
  ASSERT_TRUE(files.ok()) << files.status().message();
  EXPECT_EQ(NameOf(files->train_images), "train-images-idx3-ubyte");
  EXPECT_EQ(NameOf(files->test_images), "test-images-idx3-ubyte");
}

TEST_F(IdxNamesTest, OfSeveralSetsOneIsNamed) {
  AddSet("emnist-letters-");
  Add({"emnist-digits-train-images-idx3-ubyte"});  // the others are not there
  EXPECT_EQ(NameOf(FindIdxFiles(folder_.path())->train_images),
            "emnist-letters-train-images-idx3-ubyte");
  AddSet("emnist-balanced-");
  EXPECT_THAT(FindIdxFiles(folder_.path()).status().message(),
              HasSubstr("several sets: emnist-balanced, emnist-letters; name one, as " +
                        (folder_ / "emnist-balanced")));
  const auto named = FindIdxFiles(folder_ / "emnist-letters");
  ASSERT_TRUE(named.ok()) << named.status().message();
  EXPECT_EQ(NameOf(named->test_labels), "emnist-letters-test-labels-idx1-ubyte.gz");
  // MNIST's own names need none.
  AddSet("");
  EXPECT_EQ(NameOf(FindIdxFiles(folder_.path())->train_images), "train-images-idx3-ubyte");
}

TEST_F(IdxNamesTest, WhatIsMissingIsNamed) {
  EXPECT_THAT(FindIdxFiles(folder_.path()).status().message(),
              HasSubstr("train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte, "
                        "t10k-labels-idx1-ubyte;"));
  Add({"letters-train-images.idx3-ubyte", "letters-test-labels.idx1-ubyte.gz"});
  EXPECT_THAT(FindIdxFiles(folder_.path()).status().message(),
              HasSubstr(": letters-train-labels-idx1-ubyte, letters-t10k-images-idx3-ubyte; give"));
  EXPECT_EQ(FindIdxFiles(folder_ / "nowhere").status().code(), Code::kNotFound);
  EXPECT_THAT(FindIdxLabels(folder_ / "letters-train-images.idx3-ubyte").status().message(),
              HasSubstr("there is no letters-train-labels-idx1-ubyte beside it"));
  EXPECT_THAT(FindIdxLabels(folder_ / "pictures").status().message(), HasSubstr("rename both"));
  EXPECT_THAT(FindIdxLabels(folder_ / "train-labels-idx1-ubyte").status().message(),
              HasSubstr("rename both"));
}

}  // namespace
}  // namespace lockstep
