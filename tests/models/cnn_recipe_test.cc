// Recipes of convolutional networks: every architecture can be built, what does not fit is said in
// terms of the recipe's keys, pictures are changed in training alone.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <zlib.h>

#include <filesystem>
#include <string>
#include <vector>

#include "engine/train/checkpointing.h"
#include "engine/train/weight_files.h"
#include "models/recipe.h"
#include "models/recipe_keys.h"
#include "tests/engine/io/temporary_folder.h"

namespace lockstep {
namespace {

using ::testing::HasSubstr;

Recipe Made(std::vector<std::string> overrides) {
  overrides.insert(overrides.begin(), "model.kind=cnn");
  Result<Recipe> recipe = ParseRecipe("", "r.toml", overrides);
  EXPECT_TRUE(recipe.ok()) << recipe.status().message();
  return std::move(*recipe);
}

DatasetInfo Pictures(const Shape& shape, int64_t classes = 5) {
  DatasetInfo info{.x_shape = shape};
  SetTargets(Task::kClasses, classes, info);
  return info;
}

std::string ErrorOf(const std::vector<std::string>& overrides, const Shape& shape) {
  Context ctx({.threads = 1});
  const Result<Network> net =
      BuildNetwork(ctx, Made(overrides), Pictures(shape), 2, /*training=*/false);
  return net.ok() ? "" : net.status().message();
}

TEST(CnnRecipe, EveryArchitectureIsBuiltWithEveryNorm) {
  for (const std::string& architecture : CnnFamily::ArchitectureNames().choices) {
    for (const std::string norm : {"batch", "group", "none"}) {
      // Widths that 4 divides, down to the narrowest.
      EXPECT_EQ(ErrorOf({"model.architecture=" + architecture, "model.norm=" + norm,
                         "model.width=0.25", "model.groups=4"},
                        {33, 32, 3}),
                "")
          << architecture << " " << norm;
    }
  }
  EXPECT_EQ(ErrorOf({"model.head=flatten", "model.head_width=7", "model.dropout=0.5",
                     "model.kernel=5", "model.channels=[4, 6]", "model.blocks=1"},
                    {8, 9, 1}),
            "");
  EXPECT_EQ(
      ErrorOf({"model.architecture=cifar_resnet", "model.depth=8", "model.skip=false"}, {8, 8, 1}),
      "");
}

TEST(CnnRecipe, WhatDoesNotFitNamesTheKey) {
  EXPECT_THAT(ErrorOf({}, {20}), HasSubstr("model.kind = \"cnn\" takes pictures"));
  EXPECT_THAT(ErrorOf({}, {7, 28, 1}), HasSubstr("7 x 28 pixels are too small for model.channels"));
  EXPECT_THAT(ErrorOf({"model.kernel=4"}, {28, 28, 1}), HasSubstr("model.kernel = 4 is even"));
  EXPECT_THAT(ErrorOf({"model.channels=[]"}, {28, 28, 1}), HasSubstr("model.channels is empty"));
  EXPECT_THAT(ErrorOf({"model.norm=group", "model.channels=[16, 12]"}, {28, 28, 1}),
              HasSubstr("model.groups = 8 does not divide 12 channels"));
  EXPECT_THAT(ErrorOf({"model.architecture=resnet", "model.depth=20"}, {28, 28, 1}),
              HasSubstr("model.depth: there are ResNets of depths 18"));
  EXPECT_THAT(ErrorOf({"model.architecture=cifar_resnet", "model.depth=18"}, {28, 28, 1}),
              HasSubstr("model.depth: there are CIFAR ResNets of depths 6n + 2"));
  EXPECT_THAT(ErrorOf({"model.architecture=mobilenet_v2", "model.norm=group", "model.groups=5"},
                      {28, 28, 1}),
              HasSubstr("model.groups = 5 does not divide 8"));
  EXPECT_THAT(ErrorOf({"model.freeze=[\"nothing*\"]"}, {28, 28, 1}), HasSubstr("'nothing*'"));
}

TEST(CnnRecipe, ABodyFromAFileKeepsItsWeightsAndGetsANewHead) {
  const TemporaryFolder folder;
  const std::vector<std::string> small = {"model.channels=[4, 6]", "model.blocks=1"};
  Context ctx({.threads = 1});
  {
    Result<Network> theirs = BuildNetwork(ctx, Made(small), Pictures({8, 8, 3}, 4), 2);
    ASSERT_TRUE(theirs.ok()) << theirs.status().message();
    ASSERT_TRUE(ExportWeights(folder / "theirs", *theirs).ok());
  }
  std::vector<std::string> overrides = small;
  overrides.push_back("model.weights=" + folder / "theirs");
  overrides.push_back("model.freeze=[\"0.*\", \"1.*\"]");
  overrides.push_back("train.seed=9");
  const Recipe recipe = Made(overrides);
  Result<Network> net = BuildNetwork(ctx, recipe, Pictures({8, 8, 3}, 5), 2);
  ASSERT_TRUE(net.ok()) << net.status().message();
  const Result<std::string> remark = StartFromWeights(recipe, *net);
  ASSERT_TRUE(remark.ok()) << remark.status().message();
  EXPECT_THAT(*remark, HasSubstr("4 begins anew"));
  for (const ParameterInfo& info : net->store().infos())
    EXPECT_EQ(info.frozen, !info.name.starts_with("4.")) << info.name;

  // Other pictures are another network.
  Result<Network> grey = BuildNetwork(ctx, recipe, Pictures({8, 8, 1}, 5), 2);
  ASSERT_TRUE(grey.ok()) << grey.status().message();
  const uint64_t before = ModelHash(*grey);
  EXPECT_THAT(StartFromWeights(recipe, *grey).status().message(),
              HasSubstr("model.weights: " + folder / "theirs"));
  EXPECT_EQ(ModelHash(*grey), before);
}

TEST(CnnRecipe, TrainingPicturesChangeFromEpochToEpochAndNoOthers) {
  const Result<RecipeData> data =
      LoadData(Made({"data.kind=digits", "data.size=60", "augment.crop=random", "augment.pad=2"}));
  ASSERT_TRUE(data.ok()) << data.status().message();
  EXPECT_TRUE(data->standardizer.has_value());
  const auto differs = [](const Subset& subset) {
    const std::vector<int64_t> some(subset.indices.begin(), subset.indices.begin() + 5);
    const Shape shape = subset.dataset->XShape(5);
    std::vector<float> first(static_cast<size_t>(shape.size())), second(first);
    EXPECT_TRUE(subset.dataset->Gather(some, {first.data(), shape}, {}, 0).ok());
    EXPECT_TRUE(subset.dataset->Gather(some, {second.data(), shape}, {}, 1).ok());
    return first != second;
  };
  EXPECT_TRUE(differs(data->train));
  EXPECT_FALSE(differs(data->validation));
  EXPECT_FALSE(differs(data->test));
}

TEST(CnnRecipe, PicturesAreMadeAsLargeAsAsked) {
  const Result<RecipeData> data = LoadData(
      Made({"data.kind=digits", "data.size=60", "data.picture_size=20", "data.mean=[0.5, 0.5, 0.5]",
            "data.sd=[0.25, 0.25, 0.25]", "data.channels=3"}));
  ASSERT_TRUE(data.ok()) << data.status().message();
  EXPECT_EQ(data->train.dataset->info().x_shape, (Shape{20, 20, 3}));
  EXPECT_EQ(data->standardizer->mean(), (std::vector<float>{0.5f, 0.5f, 0.5f}));
  const auto error = [](std::vector<std::string> overrides) {
    overrides.insert(overrides.end(), {"data.kind=digits", "data.size=60"});
    return LoadData(Made(overrides)).status().message();
  };
  EXPECT_THAT(error({"augment.pad=2"}), HasSubstr("augment.pad is for augment.crop"));
  EXPECT_THAT(error({"data.channels=2"}), HasSubstr("data.channels must be 1 or 3"));
  EXPECT_THAT(error({"data.channels=3", "data.mean=[0.5]", "data.sd=[1]"}),
              HasSubstr("data.mean and data.sd hold 1 and 1 numbers, the pictures 3 channels"));
  EXPECT_THAT(
      error({"augment.crop=random_resized", "augment.scale_low=0.5", "augment.scale_high=0.25"}),
      HasSubstr("augment.scale_low is above augment.scale_high"));
}

// A grey PNG file of side x side pixels.
std::string Png(uint32_t side, char grey) {
  const auto number = [](uint32_t v) {
    std::string bytes;
    for (const int shift : {24, 16, 8, 0}) bytes += static_cast<char>(v >> shift & 255);
    return bytes;
  };
  const auto chunk = [&](const std::string& type, const std::string& data) {
    const std::string body = type + data;
    const auto crc =
        crc32(0, reinterpret_cast<const Bytef*>(body.data()), static_cast<uInt>(body.size()));
    return number(static_cast<uint32_t>(data.size())) + body + number(static_cast<uint32_t>(crc));
  };
  std::string rows;
  for (uint32_t y = 0; y < side; ++y) rows += std::string(1, '\0') + std::string(side, grey);
  std::string packed(compressBound(rows.size()), '\0');
  uLongf size = packed.size();
  EXPECT_EQ(compress(reinterpret_cast<Bytef*>(packed.data()), &size,
                     reinterpret_cast<const Bytef*>(rows.data()), rows.size()),
            Z_OK);
  packed.resize(size);
  return "\x89PNG\r\n\x1a\n" +
         chunk("IHDR", number(side) + number(side) + std::string("\x08\0\0\0\0", 5)) +
         chunk("IDAT", packed) + chunk("IEND", "");
}

class PictureFolderTest : public ::testing::Test {
 protected:
  void Add(const std::string& name, const std::string& content) {
    const std::filesystem::path path(folder_ / name);
    std::filesystem::create_directories(path.parent_path());
    Spill(path.string(), content);
  }
  Result<RecipeData> Load(std::vector<std::string> overrides) {
    overrides.insert(overrides.end(), {"data.kind=images", "data.path=" + folder_.path()});
    return LoadData(Made(overrides));
  }
  std::string ErrorOfLoad(const std::vector<std::string>& overrides) {
    const Result<RecipeData> data = Load(overrides);
    return data.ok() ? "" : data.status().message();
  }

  TemporaryFolder folder_;
};

TEST_F(PictureFolderTest, IsSplitResizedAndStandardised) {
  for (uint32_t i = 0; i < 12; ++i) {
    Add("dark/" + std::to_string(i) + ".png", Png(9 + i, static_cast<char>(2 * i)));
    Add("light/" + std::to_string(i) + ".png", Png(20 - i, static_cast<char>(200 + 3 * i)));
  }
  const std::vector<std::string> small = {"data.picture_size=8", "data.validation=0.25",
                                          "data.test=0.25", "augment.flip=0.5"};
  const Result<RecipeData> data = Load(small);
  ASSERT_TRUE(data.ok()) << data.status().message();
  EXPECT_EQ(data->train.indices.size(), 12u);
  EXPECT_EQ(data->validation.indices.size(), 6u);
  EXPECT_EQ(data->test.indices.size(), 6u);
  const DatasetInfo& info = data->train.dataset->info();
  EXPECT_EQ(info.x_shape, (Shape{8, 8, 1}));
  EXPECT_EQ(info.class_names, (std::vector<std::string>{"dark", "light"}));
  Context ctx({.threads = 1});
  const Result<Network> net =
      BuildNetwork(ctx, Made({"model.channels=[4, 4]", "model.norm=none"}), info, 4);
  EXPECT_TRUE(net.ok()) << net.status().message();

  EXPECT_THAT(ErrorOfLoad({}), HasSubstr("data.picture_size = 0"));
  Add("light/broken.png", "no picture");
  EXPECT_THAT(ErrorOfLoad(small), HasSubstr("broken.png"));
  std::vector<std::string> skip = small;
  skip.push_back("data.bad=skip");
  const Result<RecipeData> skipped = Load(skip);
  ASSERT_TRUE(skipped.ok()) << skipped.status().message();
  ASSERT_EQ(skipped->remarks.size(), 1u);
  EXPECT_THAT(skipped->remarks[0], HasSubstr("1 of 25 files"));
  EXPECT_THAT(skipped->remarks[0], HasSubstr("broken.png"));
  EXPECT_EQ(skipped->train.indices.size(), 12u);
}

TEST_F(PictureFolderTest, OfOneClassOrAnEmptyOneIsRefused) {
  Add("dark/1.png", Png(8, 0));
  EXPECT_THAT(ErrorOfLoad({}), HasSubstr("class"));
  std::filesystem::create_directories(folder_ / "light");
  EXPECT_THAT(ErrorOfLoad({}), HasSubstr("light"));
  Add("light/1.png", "no picture");
  EXPECT_THAT(ErrorOfLoad({"data.bad=skip"}), HasSubstr("class \"light\""));
}

TEST(CnnRecipe, AFolderThatIsNoneNamesIt) {
  const TemporaryFolder folder;
  for (const std::string kind : {"images", "cifar10"}) {
    const Status status =
        LoadData(Made({"data.kind=" + kind, "data.path=" + folder / "none"})).status();
    EXPECT_THAT(status.message(), HasSubstr(folder / "none"));
  }
  EXPECT_THAT(LoadData(Made({"data.kind=npy", "data.path=x.npy"})).status().message(),
              HasSubstr("needs data.label_path"));
}

}  // namespace
}  // namespace lockstep
