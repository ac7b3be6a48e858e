#include "engine/data/image/folder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <string>

#include "tests/engine/io/temporary_folder.h"

namespace lockstep::inline v0_1 {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

class FolderTest : public testing::Test {
 protected:
  // Files by their paths from the root; the folders come with them.
  void Make(const std::vector<std::string>& files) {
    for (const std::string& file : files) {
      fs::create_directories(fs::path(root_ / file).parent_path());
      if (file.back() != '/') Spill(root_ / file, "x");
    }
  }
  void Link(const std::string& link, const std::string& target) {
    fs::create_symlink(target, root_ / link);
  }
  PictureFolder List() {
    Result<PictureFolder> folder = ListPictureFolder(root_.path());
    EXPECT_TRUE(folder.ok()) << folder.status().message();
    return folder.ok() ? *folder : PictureFolder{};
  }
  std::string Error() {
    const Result<PictureFolder> folder = ListPictureFolder(root_.path());
    return folder.ok() ? "(no error)" : folder.status().message();
  }
  std::vector<std::string> Names(const std::vector<PictureFile>& files) const {
    std::vector<std::string> names;
    for (const PictureFile& file : files) {
      names.push_back(std::to_string(file.label) + file.path.substr(root_.path().size()));
    }
    return names;
  }

  TemporaryFolder root_;
};

TEST_F(FolderTest, ClassesAndFilesAreSortedByByte) {
  Make({"dog/b.png", "dog/B.jpg", "Zebra/1.jpeg", "cat/10.png", "cat/9.PNG", "cat/more/a.jpg",
        "\xC3\xA4/1.png"});
  const PictureFolder folder = List();
  EXPECT_THAT(folder.classes, ElementsAre("Zebra", "cat", "dog", "\xC3\xA4"));
  EXPECT_FALSE(folder.is_split);
  EXPECT_THAT(Names(folder.train),
              ElementsAre("0/Zebra/1.jpeg", "1/cat/10.png", "1/cat/9.PNG", "1/cat/more/a.jpg",
                          "2/dog/B.jpg", "2/dog/b.png", "3/\xC3\xA4/1.png"));
  EXPECT_TRUE(folder.test.empty() && folder.validation.empty());
  EXPECT_EQ(folder.ignored, "");
}

TEST_F(FolderTest, ASplitThatWasMadeBeforeIsKept) {
  Make({"train/a/1.png", "train/b/1.png", "test/b/2.png", "test/a/2.png", "val/b/3.png"});
  const PictureFolder folder = List();
  EXPECT_TRUE(folder.is_split);
  EXPECT_THAT(folder.classes, ElementsAre("a", "b"));
  EXPECT_THAT(Names(folder.train), ElementsAre("0/train/a/1.png", "1/train/b/1.png"));
  EXPECT_THAT(Names(folder.test), ElementsAre("0/test/a/2.png", "1/test/b/2.png"));
  // Numbered as in training, though it holds one of the classes only.
  EXPECT_THAT(Names(folder.validation), ElementsAre("1/val/b/3.png"));
}

TEST_F(FolderTest, AClassMayBeCalledTrain) {
  Make({"train/1.png", "bus/1.png", "car/1.png"});
  EXPECT_THAT(List().classes, ElementsAre("bus", "car", "train"));
}

TEST_F(FolderTest, PartsThatDoNotFitAreRefused) {
  Make({"train/a/1.png", "train/b/1.png", "test/c/2.png"});
  EXPECT_THAT(Error(), AllOf(HasSubstr("/test/c: "), HasSubstr("training pictures lack")));
  fs::remove_all(root_ / "test");
  Make({"test/a/"});
  EXPECT_THAT(Error(), HasSubstr("/test/a: is a class without pictures"));
  fs::remove_all(root_ / "test");
  Make({"val/a/1.png", "valid/a/2.png"});
  EXPECT_THAT(Error(), HasSubstr("/valid: is a second folder of validation pictures"));
}

TEST_F(FolderTest, WhatIsPassedOverIsCounted) {
  Make({"a/1.png", "b/1.jpg", "a/.DS_Store", "a/.hidden.png", ".git/x.png", "a/Thumbs.db",
        "b/x.webp", "b/y.WEBP", "b/README", "notes.txt", "b/._1.jpg"});
  EXPECT_EQ(List().ignored,
            "4 hidden files, 1 .txt, 2 .webp (pictures of a kind that is not read: convert them to "
            "PNG or JPEG), 1 Thumbs.db, 1 without extension");
  EXPECT_EQ(List().train.size(), 2);
}

TEST_F(FolderTest, FoldersWithoutClassesAreRefused) {
  EXPECT_THAT(Error(), HasSubstr("holds no class folders"));
  Make({"1.png"});
  EXPECT_THAT(Error(), HasSubstr("holds pictures, but no class folders"));
  Make({"a/1.png", "b/1.png"});
  EXPECT_THAT(Error(), HasSubstr("/1.png: lies beside class folders"));
  fs::remove(root_ / "1.png");
  EXPECT_EQ(Error(), "(no error)");
  Make({"c/x.gif"});
  EXPECT_THAT(Error(),
              AllOf(HasSubstr("/c: is a class without pictures"), HasSubstr("1 .gif (pictures")));
  fs::remove_all(root_ / "c");
  fs::remove_all(root_ / "b");
  EXPECT_THAT(Error(), HasSubstr("only one class, a;"));
}

TEST_F(FolderTest, PathsThatAreNoFoldersAreRefused) {
  const auto missing = ListPictureFolder(root_ / "none");
  EXPECT_EQ(missing.status().code(), Code::kNotFound);
  EXPECT_THAT(missing.status().message(), HasSubstr("/none: there is no such folder"));
  Make({"file"});
  EXPECT_THAT(ListPictureFolder(root_ / "file").status().message(), HasSubstr("is a file"));
  EXPECT_FALSE(ListPictureFolder("").ok());
}

TEST_F(FolderTest, LinksAreFollowedAndLoopsRefused) {
  const TemporaryFolder other;
  Spill(other / "1.png", "x");
  Make({"a/1.png"});
  Link("b", other.path());
  Link("a/2.png", other / "1.png");
  EXPECT_THAT(Names(List().train), ElementsAre("0/a/1.png", "0/a/2.png", "1/b/1.png"));
  Link("a/up", "..");
  EXPECT_THAT(Error(), AllOf(HasSubstr("/a/up: is the same folder as "), HasSubstr("remove")));
  fs::remove(root_ / "a/up");
  Link("c", other.path());
  EXPECT_THAT(Error(), AllOf(HasSubstr("/c: is the same folder as"), HasSubstr("/b,")));
  fs::remove(root_ / "c");
  Link("a/nothing.png", "missing.png");
  EXPECT_THAT(Error(), HasSubstr("/a/nothing.png: is a symbolic link to nothing"));
  fs::remove(root_ / "a/nothing.png");
  Link("a/self.png", "self.png");
  EXPECT_THAT(Error(), HasSubstr("/a/self.png: is a symbolic link that leads back to itself"));
}

TEST_F(FolderTest, PipesAreNotOpened) {
  Make({"a/1.png", "b/1.png"});
  ASSERT_EQ(mkfifo((root_ / "a/2.png").c_str(), 0600), 0);
  EXPECT_EQ(List().train.size(), 2);
  EXPECT_THAT(List().ignored, HasSubstr("1 that are no files"));
}

TEST_F(FolderTest, FilesThatMayNotBeReadAreNamed) {
  if (geteuid() == 0) GTEST_SKIP() << "the superuser may read everything";
  Make({"a/1.png", "a/2.png", "b/1.png"});
  fs::permissions(root_ / "a/2.png", fs::perms::none);
  EXPECT_THAT(Error(),
              AllOf(HasSubstr("/a/2.png: 1 file may not be read"), Not(HasSubstr("1.png"))));
  fs::permissions(root_ / "a", fs::perms::none);
  EXPECT_THAT(Error(), HasSubstr("/a: cannot be listed"));
  fs::permissions(root_ / "a", fs::perms::owner_all);
}

TEST_F(FolderTest, NamesInMessagesStayOnOneLine) {
  Make({"a\nb/", "c/1.png"});
  EXPECT_EQ(Error().find('\n'), std::string::npos);
}

TEST_F(FolderTest, DeepFoldersAreRefused) {
  std::string path = "a/";
  for (int i = 0; i < 20; ++i) path += "d/";
  Make({path + "1.png", "b/1.png"});
  EXPECT_THAT(Error(), HasSubstr("folders deep"));
}

TEST(HasPictureNameTest, ByExtension) {
  for (const char* name : {"a.png", "a.JPG", "b.c.jpeg", "a.jpe", "a.Jfif"}) {
    EXPECT_TRUE(HasPictureName(name)) << name;
  }
  for (const char* name : {"", "png", ".png", "a.", "a.png.gz", "a.gif"}) {
    EXPECT_FALSE(HasPictureName(name)) << name;
  }
}

}  // namespace
}  // namespace lockstep
