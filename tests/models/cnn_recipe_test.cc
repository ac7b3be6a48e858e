// Recipes of convolutional networks: every architecture can be built, what does not fit is said in
// terms of the recipe's keys, pictures are changed in training alone.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <zlib.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <string>
#include <variant>
#include <vector>

#include "engine/io/npy.h"
#include "engine/train/checkpointing.h"
#include "engine/train/evaluate.h"
#include "engine/train/trainer.h"
#include "engine/train/weight_files.h"
#include "models/recipe.h"
#include "models/recipe_keys.h"
#include "tests/engine/io/temporary_folder.h"

namespace lockstep::inline v0_1 {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
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
  const Result<std::vector<std::string>> remarks = StartFromWeights(recipe, *net);
  ASSERT_TRUE(remarks.ok()) << remarks.status().message();
  EXPECT_THAT(*remarks, ElementsAre(HasSubstr("4 begins anew")));
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

// The targets of all of `subset` in an epoch, one row of ten shares for each sample.
std::vector<float> TargetsOf(const Subset& subset, int64_t epoch) {
  const auto count = static_cast<int64_t>(subset.indices.size());
  EXPECT_EQ(subset.dataset->info().target_dtype, DType::kF32);
  std::vector<float> targets(static_cast<size_t>(count * 10));
  EXPECT_TRUE(
      subset.dataset->Gather(subset.indices, {}, {targets.data(), Shape{count, 10}}, epoch).ok());
  return targets;
}

TEST(CnnRecipe, MixupMixesTrainingSamplesAndEvaluationStaysOnWholeOnes) {
  const Result<RecipeData> data =
      LoadData(Made({"data.kind=digits", "data.size=60", "augment.mixup=0.5"}));
  ASSERT_TRUE(data.ok()) << data.status().message();
  const std::vector<float> mixed = TargetsOf(data->train, 0);
  EXPECT_NE(mixed, TargetsOf(data->train, 1));
  int shared = 0;
  for (size_t row = 0; row < mixed.size(); row += 10) {
    float sum = 0.0f;
    int classes = 0;
    for (size_t c = row; c < row + 10; ++c) {
      sum += mixed[c];
      classes += mixed[c] > 0.0f ? 1 : 0;
    }
    EXPECT_NEAR(sum, 1.0f, 1e-6f);  // of two floats
    EXPECT_LE(classes, 2);
    shared += classes == 2 ? 1 : 0;
  }
  EXPECT_GT(shared, 10);
  for (const Subset* subset : {&data->train_unchanged, &data->validation, &data->test}) {
    const std::vector<float> targets = TargetsOf(*subset, 0);
    EXPECT_EQ(static_cast<size_t>(std::count(targets.begin(), targets.end(), 1.0f)) * 10,
              targets.size());
    EXPECT_EQ(static_cast<size_t>(std::count(targets.begin(), targets.end(), 0.0f)) * 10,
              targets.size() * 9);
  }
}

TEST(CnnRecipe, WithMixupANetworkTrainsAndIsMeasuredAsWithoutIt) {
  const std::vector<std::string> plain = {
      "data.kind=digits", "data.size=60",   "data.picture_size=12",    "model.channels=[4, 4]",
      "train.epochs=2",   "train.batch=16", "loss.label_smoothing=0.1"};
  std::vector<std::string> mixing = plain;
  mixing.push_back("augment.mixup=0.3");
  Context ctx({.threads = 1});
  const Recipe recipe = Made(mixing), without = Made(plain);
  const Result<RecipeData> data = LoadData(recipe), whole = LoadData(without);
  ASSERT_TRUE(data.ok()) << data.status().message();
  ASSERT_TRUE(whole.ok()) << whole.status().message();
  Result<Network> net = BuildNetwork(ctx, recipe, data->train.dataset->info(), 16);
  ASSERT_TRUE(net.ok()) << net.status().message();
  Result<Network> other = BuildNetwork(ctx, without, whole->train.dataset->info(), 16);
  ASSERT_TRUE(other.ok()) << other.status().message();
  // The same pictures, whole classes: the same loss but for rounding, which a mean of a dozen
  // losses of a few units of 2^-23 each bounds.
  const Result<EvaluationResult> soft = Evaluate(*net, data->test);
  const Result<EvaluationResult> hard = Evaluate(*other, whole->test);
  ASSERT_TRUE(soft.ok()) << soft.status().message();
  ASSERT_TRUE(hard.ok()) << hard.status().message();
  EXPECT_NEAR(soft->loss, hard->loss, 1e-6 * hard->loss);
  EXPECT_EQ(soft->confusion, hard->confusion);

  for (const std::string weights : {"[]", "[1, 2, 1, 1, 1, 1, 1, 1, 1, 0.5]"}) {
    std::vector<std::string> weighted = mixing;
    weighted.push_back("loss.class_weights=" + weights);
    const Recipe trained = Made(weighted);
    Result<Network> network = BuildNetwork(ctx, trained, data->train.dataset->info(), 16);
    ASSERT_TRUE(network.ok()) << network.status().message();
    const auto loader =
        Loader::Make(data->train.dataset, data->train.indices, BuildLoaderOptions(trained).value());
    ASSERT_TRUE(loader.ok()) << loader.status().message();
    const auto optimizer = BuildOptimizer(trained);
    TrainerOptions options = BuildTrainerOptions(trained, (*loader)->batches_per_epoch()).value();
    options.validation = data->validation;
    const auto trainer = Trainer::Make(*network, **optimizer, **loader, std::move(options));
    ASSERT_TRUE(trainer.ok()) << trainer.status().message();
    const Result<TrainingSummary> summary = (*trainer)->Run();
    ASSERT_TRUE(summary.ok()) << summary.status().message();
    ASSERT_TRUE(summary->best_metric.has_value());
    EXPECT_TRUE(std::isfinite(*summary->best_metric));
  }
}

TEST(CnnRecipe, WhatChangesPicturesIsRefusedWhereThereAreNone) {
  for (const std::string key : {"augment.mixup=0.2", "augment.flip=0.5", "data.picture_size=8"}) {
    const Result<RecipeData> data = LoadData(Made({"data.kind=clinical", "data.size=40", key}));
    EXPECT_THAT(data.status().message(), HasSubstr("data.kind = \"clinical\" has none"));
  }
  EXPECT_THAT(LoadData(Made({"data.kind=digits", "data.size=60", "augment.mixup=0.0001"}))
                  .status()
                  .message(),
              HasSubstr("augment: mixup"));
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

TEST_F(PictureFolderTest, WhatIsWrongNamesTheKey) {
  Add("1.png", Png(8, 0));
  EXPECT_THAT(ErrorOfLoad({}), AllOf(HasSubstr("data.path: "), HasSubstr("no class folders")));
  std::filesystem::remove(folder_ / "1.png");
  for (const char* name : {"dark/1.png", "dark/2.png", "light/1.png", "light/2.png"})
    Add(name, Png(8, 7));
  EXPECT_THAT(ErrorOfLoad({"data.test_path=" + folder_ / "none"}),
              HasSubstr("data.test_path: " + folder_ / "none"));
  EXPECT_THAT(ErrorOfLoad({"data.fit=stretch", "data.shorter_side=9"}),
              HasSubstr("data.shorter_side is for data.fit"));
  Add("light/2.png", "no picture");
  EXPECT_THAT(ErrorOfLoad({}),
              AllOf(HasSubstr("data.bad = \"error\": "), HasSubstr("light/2.png")));
  Add("light/3.txt", "");
  std::filesystem::create_directories(folder_ / "other");
  EXPECT_THAT(ErrorOfLoad({"data.bad=skip"}),
              AllOf(HasSubstr("data.path: "), HasSubstr("other"), HasSubstr("without pictures")));
}

// A share that goes away in the middle of a run is no folder of damaged pictures.
TEST_F(PictureFolderTest, WhatIsGoneAfterTheyWereLookedAtIsAnErrorEvenWhereBadOnesAreSkipped) {
  for (const char* name : {"dark/1.png", "dark/2.png", "light/1.png", "light/2.png"})
    Add(name, Png(8, 7));
  const RecipeData data =
      Load({"data.bad=skip", "data.cache_mb=0", "data.validation=0", "data.test=0"}).value();
  std::filesystem::remove(folder_ / "light/1.png");
  for (const Subset& subset : {data.train, data.train_unchanged}) {
    const auto loader = Loader::Make(subset.dataset, subset.indices, {.batch = 4}).value();
    EXPECT_THAT(loader->Next().status().message(), HasSubstr("light/1.png: cannot open"));
  }
}

TEST_F(PictureFolderTest, ATestFolderHoldsNothingThatIsTrainedOn) {
  for (const std::string part : {"train/", "test/"}) {
    for (const char* name : {"dark/1.png", "dark/2.png", "light/1.png", "light/2.png"})
      Add(part + name, Png(8, part == "test/" ? 9 : 7));
  }
  Add("test/light/3.png", Png(8, 9));
  const std::string train = "data.path=" + folder_ / "train";
  const auto load = [&](const std::string& test) {
    return LoadData(
        Made({"data.kind=images", train, "data.test_path=" + test, "data.validation=0"}));
  };
  const RecipeData data = load(folder_.path()).value();  // its part "test"
  EXPECT_EQ(data.test.indices.size(), 5u);
  EXPECT_EQ(load(folder_ / "test")->test.indices.size(), 5u);
  EXPECT_THAT(load(folder_ / "train/../train").status().message(),
              HasSubstr("data.test_path is the folder of data.path"));
  Add("test/grey/3.png", Png(8, 9));
  EXPECT_THAT(load(folder_ / "test").status().message(), HasSubstr("has a class \"grey\""));
}

TEST_F(PictureFolderTest, StatisticsOfBytesAndTooSmallASideAreRefused) {
  for (const char* name : {"dark/1.png", "dark/2.png", "light/1.png", "light/2.png"})
    Add(name, Png(8, 7));
  EXPECT_THAT(ErrorOfLoad({"data.mean=[127]", "data.sd=[60]", "data.validation=0", "data.test=0"}),
              HasSubstr("divide those of bytes by 255"));
  EXPECT_THAT(ErrorOfLoad({"data.picture_size=8", "data.shorter_side=7"}),
              HasSubstr("data.shorter_side = 7 is below data.picture_size = 8"));
}

TEST(CnnRecipe, ArraysThatDoNotFitNameTheKey) {
  const TemporaryFolder folder;
  const auto file = [&](const std::string& name, const Shape& shape, uint8_t classes) {
    std::vector<std::byte> bytes(static_cast<size_t>(shape.size()));
    for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::byte>(i % classes);
    EXPECT_TRUE(WriteNpy(folder / name, StoredTensor("", StoredType::kU8, shape, bytes)).ok());
    return folder / name;
  };
  const std::string x = file("x.npy", {6, 8, 8, 4}, 255), y = file("y.npy", {6}, 2);
  const auto error = [&](const std::string& pictures, const std::string& labels,
                         const std::string& more = "data.size=0") {
    return LoadData(Made({"data.kind=npy", "data.path=" + pictures, "data.label_path=" + labels,
                          "data.validation=0", more}))
        .status()
        .message();
  };
  EXPECT_EQ(error(x, y), "");
  EXPECT_THAT(
      error(x, file("five.npy", {5}, 2)),
      AllOf(HasSubstr("data.label_path: "), HasSubstr("6 pictures"), HasSubstr("5 labels")));
  EXPECT_THAT(error(x, file("one.npy", {6}, 1)), HasSubstr("(data.label_path) holds one class"));
  EXPECT_THAT(error(y, y), HasSubstr("data.path, data.label_path: "));
  EXPECT_THAT(error(folder / "none", y), HasSubstr("data.path, data.label_path: "));
  EXPECT_THAT(error(x, y, "data.channels=3"), HasSubstr("data.channels = 3, but the pictures"));
}

TEST(CnnRecipe, WeightsAndSchedulesThatDoNotFitNameTheKey) {
  EXPECT_THAT(ErrorOf({"loss.class_weights=[1, 2]"}, {28, 28, 1}),
              HasSubstr("loss.class_weights holds 2 numbers for 5 classes"));
  // Half of the run is left, and that is said.
  const auto warm_up = [](const std::string& warmup, const std::string& epochs, int64_t batches) {
    std::vector<std::string> remarks;
    const Result<TrainerOptions> options =
        BuildTrainerOptions(Made({"schedule.kind=cosine", "schedule.warmup_epochs=" + warmup,
                                  "train.epochs=" + epochs}),
                            batches, &remarks);
    EXPECT_TRUE(options.ok()) << options.status().message();
    const int64_t steps = std::get<CosineSchedule>(options->schedule).warmup_steps;
    const int64_t all = std::stoll(epochs) * batches;
    EXPECT_TRUE(CheckSchedule(options->schedule, all).ok());
    const double asked = std::round(std::stod(warmup) * static_cast<double>(batches));
    EXPECT_EQ(remarks.size(), asked >= static_cast<double>(all) ? 1u : 0u);
    for (const std::string& remark : remarks)
      EXPECT_THAT(remark, HasSubstr("leaves nothing of train.epochs = " + epochs));
    return steps;
  };
  EXPECT_EQ(warm_up("2", "2", 10), 10);
  EXPECT_EQ(warm_up("7.5", "3", 7), 10);
  EXPECT_EQ(warm_up("1", "1", 1), 0);       // a single step
  EXPECT_EQ(warm_up("0.99", "1", 20), 10);  // rounds to the whole run
  EXPECT_EQ(warm_up("1.9", "2", 10), 19);   // as it was asked for
}

TEST(CnnRecipe, WhatMatchesNothingToFreezeNamesItsKey) {
  const Recipe recipe = Made({"model.channels=[4, 4]", "model.freeze=[\"0*\", \"layr1*\"]"});
  DatasetInfo info{.name = "test", .size = 8, .x_shape = {8, 8, 1}, .classes = 2};
  Context ctx({.threads = 1});
  EXPECT_THAT(BuildNetwork(ctx, recipe, info, 2).status().message(),
              HasSubstr("model.freeze: no parameter matches 'layr1*'"));
}

TEST(CnnRecipe, WhatIsFrozenAtRandomIsSaid) {
  const Recipe recipe = Made({"model.channels=[4, 4]", "model.freeze=[\"0*\"]"});
  DatasetInfo info{.name = "test", .size = 8, .x_shape = {8, 8, 1}, .classes = 2};
  Context ctx({.threads = 1});
  Network net = BuildNetwork(ctx, recipe, info, 2).value();
  EXPECT_THAT(StartFromWeights(recipe, net).value(),
              ElementsAre(HasSubstr("frozen stays at random")));
}

TEST(CnnRecipe, AFolderThatIsNoneNamesIt) {
  const TemporaryFolder folder;
  Spill(folder / "file", "CIFAR");
  for (const std::string kind : {"images", "cifar10", "mnist"}) {
    for (const std::string name : {"none", "file"}) {
      const Status status =
          LoadData(Made({"data.kind=" + kind, "data.path=" + folder / name})).status();
      EXPECT_THAT(status.message(), HasSubstr("data.path: " + folder / name));
    }
  }
  EXPECT_THAT(LoadData(Made({"data.kind=npy", "data.path=x.npy"})).status().message(),
              HasSubstr("needs data.label_path"));
}

}  // namespace
}  // namespace lockstep
