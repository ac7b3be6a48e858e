// Pictures for trained models: `lockstep predict` of files and folders, `lockstep eval --data`.
#include <cstdint>
#include <sstream>
#include <string>
#include <vector>

#include "engine/data/image/idx.h"
#include "tests/engine/data/image/made_pictures.h"
#include "tests/tools/program.h"

namespace lockstep::inline v0_1::tools {
namespace {

std::vector<std::string> Lines(const std::string& text) {
  std::istringstream in(text);
  std::vector<std::string> lines;
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  return lines;
}

// Everything behind the first comma: what is said of a picture, without its name.
std::string Rest(const std::string& line) { return line.substr(line.find(',') + 1); }

class Pictures : public Program {
 protected:
  void WriteTo(const std::string& name, const std::string& bytes) {
    fs::create_directories((folder_ / name).parent_path());
    Write(name, bytes);
  }

  // A picture of one colour, RGB, whose brightness varies a little with `i`.
  static std::string Plain(int i, bool red, uint32_t height = 20, uint32_t width = 24) {
    std::string rows;
    for (uint32_t y = 0; y < height; ++y) {
      rows += '\0';
      for (uint32_t x = 0; x < width; ++x) {
        const char bright = static_cast<char>(150 + (i * 7 + static_cast<int>(x + y)) % 100);
        rows += red ? std::string{bright, 20, 20} : std::string{20, 20, bright};
      }
    }
    return PngFile(height, width, 8, 2, rows);
  }

  // Trains a network that tells red from blue, and keeps nothing but its file.
  void TrainColours() {
    for (int i = 0; i < 30; ++i) {
      WriteTo("colours/blue/" + std::to_string(i) + ".png", Plain(i, false));
      WriteTo("colours/red, deep/" + std::to_string(i) + ".png", Plain(i, true));
    }
    Write("colours.toml",
          "[data]\nkind = \"images\"\npath = \"colours\"\npicture_size = 16\nchannels = 3\n"
          "bad = \"skip\"\n[model]\nkind = \"cnn\"\nchannels = [4, 8]\nblocks = 1\n"
          "[train]\nepochs = 6\nbatch = 8\n[optimizer]\nlearning_rate = 0.01\n");
    const Ran ran = Run("train colours.toml output.folder=run");
    ASSERT_EQ(ran.code, 0) << ran.out;
    fs::rename(folder_ / "run/model.safetensors", folder_ / "model.safetensors");
    fs::remove_all(folder_ / "run");
    fs::remove_all(folder_ / "colours");
  }
};

TEST_F(Pictures, FilesAndFoldersArePredicted) {
  TrainColours();
  WriteTo("new/b.png", Plain(3, true, 40, 31));
  WriteTo("new/a.png", Plain(4, false));
  WriteTo("new/inner/c.PNG", Plain(5, true));
  WriteTo("new/inner/.hidden.png", "no picture");
  WriteTo("new/notes.txt", "no picture");
  WriteTo("one, more.png", Plain(6, false));
  WriteTo("without_ending", Plain(7, true));
  WriteTo("photo.jpg", JpegFile(8, 8, std::vector<uint8_t>(8 * 8 * 3, 90)));
  fs::create_directory_symlink("..", folder_ / "new/inner/loop");

  const Ran ran = Run("predict model.safetensors new 'one, more.png' without_ending photo.jpg");
  ASSERT_EQ(ran.code, 0) << ran.out;
  const std::vector<std::string> lines = Lines(ran.out);
  ASSERT_EQ(lines.size(), 7u) << ran.out;
  EXPECT_EQ(lines[0], "picture,class,probability");
  EXPECT_EQ(lines[1].substr(0, 15), "new/a.png,blue,") << ran.out;
  EXPECT_EQ(lines[2].substr(0, 22), "new/b.png,\"red, deep\",") << ran.out;
  EXPECT_EQ(lines[3].substr(0, 28), "new/inner/c.PNG,\"red, deep\",") << ran.out;
  EXPECT_EQ(lines[4].substr(0, 21), "\"one, more.png\",blue,") << ran.out;
  EXPECT_EQ(lines[5].substr(0, 27), "without_ending,\"red, deep\",") << ran.out;
  EXPECT_EQ(lines[6].substr(0, 10), "photo.jpg,") << ran.out;

  // Alone, among others, on other threads: the same digits.
  for (const char* more : {"", " train.threads=1", " train.batch=1", " train.batch=3"}) {
    const Ran again = Run("predict model.safetensors new/b.png new/a.png" + std::string(more));
    ASSERT_EQ(again.code, 0) << again.out;
    EXPECT_EQ(again.out, lines[0] + "\n" + lines[2] + "\n" + lines[1] + "\n") << more;
  }
  EXPECT_EQ(Run("predict model.safetensors without_ending").out, lines[0] + "\n" + lines[5] + "\n");
  // Overrides stand anywhere; a file that is called like one is a file.
  WriteTo("a=b.png", Plain(4, false));
  EXPECT_EQ(Rest(Lines(Run("predict model.safetensors train.threads=1 a=b.png").out)[1]),
            Rest(lines[1]));
  EXPECT_EQ(Run("predict model.safetensors new/a.png -o said.csv").out, "");
  EXPECT_EQ(Read("said.csv"), lines[0] + "\n" + lines[1] + "\n");
}

TEST_F(Pictures, TheLikeliestClassesComeFirst) {
  TrainColours();
  WriteTo("a.png", Plain(4, false));
  const auto of = [&](const std::string& top) {
    const Ran ran = Run("predict model.safetensors a.png --top " + top);
    EXPECT_EQ(ran.code, 0) << ran.out;
    return Lines(ran.out);
  };
  const std::vector<std::string> one = of("1"), two = of("2"), all = of("0");
  ASSERT_EQ(two.size(), 2u);
  ASSERT_EQ(all.size(), 2u);
  EXPECT_EQ(two[0], "picture,class,probability,class 2,probability 2");
  EXPECT_EQ(two[1].substr(0, one[1].size() + 1), one[1] + ",");
  EXPECT_EQ(two[1].substr(one[1].size(), 13), ",\"red, deep\",");
  EXPECT_EQ(all[0], "picture,class,probability of blue,\"probability of red, deep\"");
  EXPECT_EQ(all[1].substr(0, one[1].size()), one[1]);
  EXPECT_EQ(of("7"), two) << "there are no more classes than two";
}

TEST_F(Pictures, WhatCannotBeReadIsNamedAndTheOthersArePredicted) {
  TrainColours();
  const std::string whole = Plain(3, true);
  WriteTo("new/a.png", whole);
  WriteTo("new/b.png", whole.substr(0, whole.size() / 2));
  WriteTo("new/c.png", "text");
  WriteTo("new/d.png", "");
  WriteTo("new/e.png", whole);
  const Ran ran = Run("predict model.safetensors new gone.png -o said.csv");
  EXPECT_EQ(ran.code, 1);
  const std::vector<std::string> errors = Lines(ran.out);
  ASSERT_EQ(errors.size(), 5u) << ran.out;
  const char* names[] = {"new/b.png", "new/c.png", "new/d.png", "gone.png"};
  for (size_t i = 0; i < 4; ++i)
    EXPECT_EQ(errors[i].rfind("lockstep: " + std::string(names[i]), 0), 0u) << errors[i];
  EXPECT_EQ(errors[4], "lockstep: 4 of 6 pictures could not be read, the others are predicted");
  const std::vector<std::string> said = Lines(Read("said.csv"));
  ASSERT_EQ(said.size(), 3u);
  EXPECT_EQ(said[1].substr(0, 10), "new/a.png,");
  EXPECT_EQ(said[2].substr(0, 10), "new/e.png,");
  EXPECT_EQ(Rest(said[1]), Rest(said[2]));

  fs::create_directories(folder_ / "empty/inner");
  ExpectFails("predict model.safetensors empty", "empty: holds no pictures");
  ExpectFails("predict model.safetensors gone", "gone");
  ExpectFails("predict model.safetensors new/a.png train.treads=1", "train.threads");
}

TEST_F(Pictures, TablesAreStillOneAtATime) {
  ASSERT_EQ(Run("train " + kClinical + " data.size=300 train.epochs=1 output.folder=run").code, 0);
  ASSERT_EQ(Run("data clinical --size 3 -o good.csv").code, 0);
  ExpectFails("predict run good.csv good.csv", "one table at a time");
  const std::vector<std::string> lines = Lines(Run("predict run good.csv --top 2").out);
  ASSERT_EQ(lines.size(), 4u);
  EXPECT_EQ(lines[0], "class,probability,class 2,probability 2");
  ExpectFails("eval run --data good.csv", "data.test_path");
}

// A picture that comes as a file gets the digits that it gets from an IDX file, and so does one of
// another size and kind where pixels are not changed.
TEST_F(Pictures, FilesAndIdxGiveTheSame) {
  Write("digits.toml",
        "[data]\nkind = \"digits\"\nsize = 500\npixel_mean = 0.13\npixel_sd = 0.31\n"
        "[model]\nhidden = [32]\n");
  for (const std::string changes : {"", " augment.crop=random augment.pad=2"}) {
    fs::remove_all(folder_ / "run");
    fs::remove_all(folder_ / "files");
    ASSERT_EQ(Run("train digits.toml train.epochs=1 output.folder=run" + changes).code, 0);
    ASSERT_EQ(Run("data digits --size 30 -o idx").code, 0);
    const Result<IdxArray> images = LoadIdx((folder_ / "idx/train-images-idx3-ubyte").string());
    ASSERT_TRUE(images.ok());
    const auto& pixels = std::get<std::vector<uint8_t>>(images->elements);
    for (size_t i = 0; i < 30; ++i) {
      std::string rows, coloured;
      for (size_t y = 0; y < 28; ++y) {
        rows += '\0';
        coloured += '\0';
        for (size_t x = 0; x < 28; ++x) {
          const auto v = static_cast<char>(pixels[(i * 28 + y) * 28 + x]);
          rows += v;
          coloured += std::string(3, v);
        }
      }
      WriteTo("files/" + std::to_string(100 + i) + ".png",
              i % 2 == 0 ? PngFile(28, 28, 8, 0, rows) : PngFile(28, 28, 8, 2, coloured));
    }
    const std::vector<std::string> idx = Lines(Run("predict run idx/train-images-idx3-ubyte").out);
    const std::vector<std::string> files = Lines(Run("predict run files --top 0").out);
    ASSERT_EQ(idx.size(), 31u);
    ASSERT_EQ(files.size(), 31u);
    EXPECT_EQ(files[0], "picture," + idx[0]);
    for (size_t i = 1; i < 31; ++i) EXPECT_EQ(Rest(files[i]), idx[i]) << files[i];
  }
}

TEST_F(Pictures, OtherPicturesAreMeasured) {
  TrainColours();
  // Without one of the classes' order, and sure to be right and wrong in a known number.
  for (int i = 0; i < 10; ++i) {
    WriteTo("other/blue/" + std::to_string(i) + ".png", Plain(i, i >= 7));
    WriteTo("other/red, deep/" + std::to_string(i) + ".png", Plain(i, true));
  }
  const Ran ran = Run("eval model.safetensors --data other");
  ASSERT_EQ(ran.code, 0) << ran.out;
  const std::vector<std::string> lines = Lines(ran.out);
  EXPECT_EQ(lines[0].substr(0, 21), "20 samples (other)  l") << ran.out;
  EXPECT_NE(lines[0].find("accuracy 85.00 %"), std::string::npos) << ran.out;
  // The recipe says data.bad = "skip".
  WriteTo("other/blue/bad.png", "text");
  const Ran skips = Run("eval model.safetensors --data other");
  EXPECT_EQ(skips.code, 0);
  EXPECT_EQ(skips.out.rfind("lockstep: left out: other/blue/bad.png", 0), 0u) << skips.out;
  EXPECT_NE(skips.out.find(lines[0]), std::string::npos) << skips.out;
  ExpectFails("eval model.safetensors --data other data.bad=error", "other/blue/bad.png");
  fs::rename(folder_ / "other/blue", folder_ / "other/green");
  ExpectFails("eval model.safetensors --data other", "no class \"green\"");
  ExpectFails("eval model.safetensors --data nowhere", "nowhere");
}

TEST_F(Pictures, OtherIdxAndCifarFilesAreMeasured) {
  Write("digits.toml",
        "[data]\nkind = \"digits\"\nsize = 500\npixel_mean = 0.13\npixel_sd = 0.31\n"
        "[model]\nhidden = [32]\n");
  ASSERT_EQ(Run("train digits.toml train.epochs=2 output.folder=run").code, 0);
  ASSERT_EQ(Run("data digits --size 500 -o idx").code, 0);
  // The test pictures do not depend on how many there are to train.
  const Ran by_recipe = Run("eval run data.kind=mnist data.path=idx");
  ASSERT_EQ(by_recipe.code, 0) << by_recipe.out;
  const auto numbers = [](const std::string& text) { return text.substr(text.find(")  ")); };
  for (const std::string path : {"idx", "idx/t10k-images-idx3-ubyte"}) {
    const Ran ran = Run("eval run --data " + path);
    ASSERT_EQ(ran.code, 0) << ran.out;
    EXPECT_EQ(numbers(ran.out), numbers(by_recipe.out));
  }
  ExpectFails("eval run --data idx/t10k-labels-idx1-ubyte", "images");
  fs::remove(folder_ / "idx/t10k-labels-idx1-ubyte");
  ExpectFails("eval run --data idx/t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte");

  // CIFAR's pictures are made grey and small for this network: ten records.
  std::string records;
  for (int i = 0; i < 10; ++i)
    records += std::string(1, static_cast<char>(i)) + std::string(3072, static_cast<char>(20 * i));
  WriteTo("cifar/test_batch.bin", records);
  for (const std::string path : {"cifar", "cifar/test_batch.bin"}) {
    const Ran ran = Run("eval run --data " + path);
    ASSERT_EQ(ran.code, 0) << ran.out;
    EXPECT_EQ(ran.out.rfind("10 samples", 0), 0u) << ran.out;
  }
  WriteTo("cifar/test_batch.bin", records.substr(1));
  ExpectFails("eval run --data cifar", "test_batch.bin");
}

}  // namespace
}  // namespace lockstep::tools
