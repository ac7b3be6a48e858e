#include "models/recipe_pictures.h"

#include <algorithm>
#include <filesystem>
#include <system_error>
#include <utility>
#include <vector>

#include "engine/base/check.h"
#include "engine/data/image/augment.h"
#include "engine/data/image/cifar.h"
#include "engine/data/image/decode.h"
#include "engine/data/image/folder.h"
#include "engine/data/image/picture_statistics.h"
#include "engine/io/file.h"
#include "models/recipe_keys.h"

namespace lockstep::inline v0_1 {
namespace {

constexpr Choice<PictureFit> kFits[] = {{"crop", PictureFit::kCrop},
                                        {"stretch", PictureFit::kStretch}};
constexpr Choice<PictureCrop> kCrops[] = {{"centre", PictureCrop::kCentre},
                                          {"random", PictureCrop::kRandom},
                                          {"random_resized", PictureCrop::kRandomResized}};
constexpr Choice<PictureEdge> kEdges[] = {{"fill", PictureEdge::kFill},
                                          {"nearest", PictureEdge::kNearest},
                                          {"reflect", PictureEdge::kReflect}};
constexpr Choice<BadPictures> kBad[] = {{"error", BadPictures::kError},
                                        {"skip", BadPictures::kSkip}};

Result<PictureOptions> PictureOptionsOf(const Recipe& recipe, const PictureSource& source) {
  const Recipe::Data& data = recipe.data;
  // Mixed pictures are of two classes, by shares; evaluation has the same targets, where one share
  // is 1 and the others are 0.
  PictureOptions options{.height = data.picture_size,
                         .width = data.picture_size,
                         .channels = data.channels,
                         .shorter_side = data.shorter_side,
                         .soft_targets = recipe.augment.mixup > 0.0};
  LOCKSTEP_TRY_ASSIGN(options.fit, Chosen("data.fit", kFits, data.fit));
  // data.bad is for files that were never good, which are left out before training. One that goes
  // bad in the middle of it ends the run, which can be resumed: of a share that went away, what
  // happens to be in memory would be trained on else.
  options.bad = BadPictures::kError;
  const PictureSourceInfo& info = source.info();
  if (data.picture_size == 0 && (info.height == 0 || info.width == 0)) {
    return Status::Invalid("data.picture_size = 0, but the pictures of " + info.name +
                           " differ in size: give the size that the network is to see");
  }
  if (data.channels == 2) return Status::Invalid("data.channels must be 1 or 3, not 2");
  if (data.channels != 0 && (info.channels == 2 || info.channels > 3)) {
    return Status::Invalid("data.channels = " + std::to_string(data.channels) +
                           ", but the pictures of " + info.name + " have " +
                           std::to_string(info.channels) +
                           " channels, which cannot be converted; leave it out");
  }
  if (data.shorter_side > 0 && data.shorter_side < data.picture_size) {
    return Status::Invalid("data.shorter_side = " + std::to_string(data.shorter_side) +
                           " is below data.picture_size = " + std::to_string(data.picture_size) +
                           ": pictures would not fill it; give at least that, or 0");
  }
  if (data.shorter_side > 0 && options.fit == PictureFit::kStretch) {
    return Status::Invalid(
        "data.shorter_side is for data.fit = \"crop\": a stretched picture has the network's size");
  }
  if (options.channels == 0) options.channels = info.channels;
  if (options.channels == 0) {
    return Status::Invalid("data.channels = 0, but some pictures of " + info.name +
                           " are grey and some are not: give 1 or 3");
  }
  return options;
}

Result<AugmentOptions> AugmentOptionsOf(const Recipe& recipe, std::vector<float> fill) {
  const Recipe::Augment& a = recipe.augment;
  AugmentOptions options{.seed = static_cast<uint64_t>(recipe.train.seed),
                         .pad = a.pad,
                         .scale_low = a.scale_low,
                         .scale_high = a.scale_high,
                         .flip = a.flip,
                         .vertical_flip = a.vertical_flip,
                         .rotation = a.rotation,
                         .brightness = a.brightness,
                         .contrast = a.contrast,
                         .cutout = a.cutout,
                         .mixup = a.mixup,
                         .fill = std::move(fill)};
  LOCKSTEP_TRY_ASSIGN(options.crop, Chosen("augment.crop", kCrops, a.crop));
  LOCKSTEP_TRY_ASSIGN(options.edge, Chosen("augment.edge", kEdges, a.edge));
  if (a.pad > 0 && options.crop != PictureCrop::kRandom) {
    return Status::Invalid("augment.pad is for augment.crop = \"random\", which is \"" + a.crop +
                           "\"");
  }
  if (a.scale_low > a.scale_high)
    return Status::Invalid("augment.scale_low is above augment.scale_high");
  LOCKSTEP_TRY(CheckAugmentOptions(options).At("augment"));
  return options;
}

// Names of choices, before anything is read.
Status CheckChoices(const Recipe& recipe) {
  LOCKSTEP_TRY(Chosen("data.fit", kFits, recipe.data.fit).status());
  LOCKSTEP_TRY(Chosen("data.bad", kBad, recipe.data.bad).status());
  LOCKSTEP_TRY(Chosen("augment.crop", kCrops, recipe.augment.crop).status());
  LOCKSTEP_TRY(Chosen("augment.edge", kEdges, recipe.augment.edge).status());
  if (recipe.data.channels == 2) return Status::Invalid("data.channels must be 1 or 3, not 2");
  return Status::Ok();
}

// A class without a picture, all of which were left out, is found before training.
Status CheckClasses(const PictureSourceInfo& info) {
  std::vector<int64_t> counts(static_cast<size_t>(info.classes), 0);
  for (const int32_t label : info.labels) {
    if (label >= 0) ++counts[static_cast<size_t>(label)];
  }
  const auto empty = std::find(counts.begin(), counts.end(), 0);
  if (empty == counts.end()) return Status::Ok();
  return Status::Invalid(
      "class " + Quoted(info.class_names[static_cast<size_t>(empty - counts.begin())]) + " of " +
      info.name + " has no pictures that can be read: remove it from data.path, or fill it");
}

Status CheckAlike(const PictureSourceInfo& train, const PictureSourceInfo& test) {
  if (train.classes == test.classes && train.class_names == test.class_names) return Status::Ok();
  std::string differing = std::to_string(test.classes) + " classes where " + train.name + " has " +
                          std::to_string(train.classes);
  for (const std::string& name : test.class_names) {
    const auto& known = train.class_names;
    if (std::find(known.begin(), known.end(), name) != known.end()) continue;
    differing = "a class " + Quoted(name) + ", which " + train.name + " has not";
    break;
  }
  return Status::Invalid(test.name + " has " + differing +
                         ": data.test_path needs the class folders of data.path");
}

// The mean and deviation that the recipe names, if it does.
Result<std::optional<Standardizer>> GivenStandardizer(const Recipe::Data& data, int64_t channels) {
  if (data.mean.empty() && data.sd.empty()) return std::optional<Standardizer>();
  const auto count = static_cast<size_t>(channels);
  if (data.mean.size() != count || data.sd.size() != count) {
    return Status::Invalid("data.mean and data.sd hold " + std::to_string(data.mean.size()) +
                           " and " + std::to_string(data.sd.size()) + " numbers, the pictures " +
                           std::to_string(channels) + (channels == 1 ? " channel" : " channels"));
  }
  for (size_t c = 0; c < count; ++c) {
    if (data.mean[c] >= 0.0 && data.mean[c] <= 1.0 && data.sd[c] > 0.0 && data.sd[c] <= 1.0)
      continue;
    return Status::Invalid(
        "data.mean and data.sd are of pixels from 0 (black) to 1 (white): a "
        "mean is in 0 to 1, a deviation above 0 and at most 1; divide those of "
        "bytes by 255");
  }
  LOCKSTEP_TRY_ASSIGN(Standardizer given,
                      Standardizer::FromVectors({data.mean.begin(), data.mean.end()},
                                                {data.sd.begin(), data.sd.end()}));
  return std::optional<Standardizer>(std::move(given));
}

// Opens the files of one split; those that were left out become a remark.
Result<std::shared_ptr<const PictureSource>> Open(const Recipe& recipe, const std::string& name,
                                                  std::vector<PictureFile> files,
                                                  const std::vector<std::string>& classes,
                                                  std::vector<std::string>& remarks) {
  FilePicturesOptions options{.name = name,
                              .classes = static_cast<int64_t>(classes.size()),
                              .class_names = classes,
                              .threads = CoresOf(recipe),
                              .cache_bytes = std::min<int64_t>(recipe.data.cache_mb, 1 << 30)
                                             << 20};
  LOCKSTEP_TRY_ASSIGN(options.bad, Chosen("data.bad", kBad, recipe.data.bad));
  const DecodeOptions decode{.channels = recipe.data.channels};
  const size_t count = files.size();
  LOCKSTEP_TRY_ASSIGN(
      FilePictures opened,
      Under("data.bad = \"" + recipe.data.bad + "\"",
            OpenPictures(
                std::move(files),
                [decode](const std::string& path) -> Result<Picture> {
                  constexpr int64_t kLargestFile = int64_t{1} << 30;
                  LOCKSTEP_TRY_ASSIGN(const std::string file, ReadFile(path, kLargestFile));
                  return DecodePicture({reinterpret_cast<const uint8_t*>(file.data()), file.size()},
                                       path, decode);
                },
                std::move(options))));
  if (!opened.bad.empty()) {
    remarks.push_back(
        std::to_string(opened.bad.size()) + " of " + std::to_string(count) + " files of " + name +
        " are no pictures and are left out, as data.bad says: " + opened.bad.front().message() +
        (opened.bad.size() > 1 ? ", ..." : ""));
  }
  return opened.source;
}

using Views = std::shared_ptr<const Dataset>;

Result<Views> Wrapped(Views view, const std::optional<Standardizer>& standardizer) {
  if (!standardizer) return view;
  return Standardized(std::move(view), *standardizer);
}

}  // namespace

KeyLimits PictureFits() { return OneOf(kFits); }
KeyLimits PictureCrops() { return OneOf(kCrops); }
KeyLimits PictureEdges() { return OneOf(kEdges); }
KeyLimits BadKinds() { return OneOf(kBad); }

bool ChangesPictures(const Recipe& recipe) {
  const Recipe defaults;
  bool changes = false;
  for (const RecipeDifference& one : Differences(defaults, recipe)) {
    changes = changes || one.key.starts_with("augment.") || one.key == "data.picture_size" ||
              one.key == "data.channels";
  }
  return changes;
}

bool HasByteScale(const Recipe& recipe) {
  const std::string& kind = recipe.data.kind;
  return (kind == "digits" || kind == "mnist" || kind == "npy") && !ChangesPictures(recipe);
}

Result<PictureSources> Cifar10Sources(const Recipe& recipe) {
  LOCKSTEP_TRY(CheckChoices(recipe));
  LOCKSTEP_TRY_ASSIGN(const CifarData cifar,
                      Under("data.path", LoadCifar(CifarKind::kCifar10, recipe.data.path)));
  PictureSources sources;
  if (!cifar.remark.empty()) sources.remarks.push_back(cifar.remark);
  LOCKSTEP_TRY_ASSIGN(sources.train, MemoryPictures(cifar.train));
  LOCKSTEP_TRY_ASSIGN(sources.test, MemoryPictures(cifar.test));
  return sources;
}

namespace {

// The pictures to test with of a folder of its own: of one with parts, those under test.
Result<PictureFolder> TestFolder(const Recipe::Data& data) {
  std::error_code ignored;
  if (std::filesystem::equivalent(data.path, data.test_path, ignored)) {
    return Status::Invalid(
        "data.test_path is the folder of data.path: a test on what was trained "
        "on says nothing; leave it out, and data.test holds samples back");
  }
  LOCKSTEP_TRY_ASSIGN(PictureFolder folder,
                      Under("data.test_path", ListPictureFolder(data.test_path)));
  if (!folder.is_split) return folder;
  if (folder.test.empty()) {
    return Status::Invalid("data.test_path: " + data.test_path +
                           " holds a folder train and none called test: give that of the pictures "
                           "to test with");
  }
  folder.train = std::move(folder.test);
  return folder;
}

}  // namespace

Result<PictureSources> FolderSources(const Recipe& recipe) {
  const std::string& path = recipe.data.path;
  LOCKSTEP_TRY(CheckChoices(recipe));
  LOCKSTEP_TRY_ASSIGN(PictureFolder folder, Under("data.path", ListPictureFolder(path)));
  const std::vector<std::string>& classes = folder.classes;
  PictureSources sources;
  if (!folder.ignored.empty()) sources.remarks.push_back(path + ": passed over " + folder.ignored);
  LOCKSTEP_TRY_ASSIGN(sources.train,
                      Open(recipe, path, std::move(folder.train), classes, sources.remarks));
  LOCKSTEP_TRY(CheckClasses(sources.train->info()));
  if (!folder.validation.empty()) {
    LOCKSTEP_TRY_ASSIGN(sources.validation,
                        Open(recipe, path + " (validation)", std::move(folder.validation), classes,
                             sources.remarks));
  }
  if (!recipe.data.test_path.empty()) {
    LOCKSTEP_TRY_ASSIGN(PictureFolder test, TestFolder(recipe.data));
    LOCKSTEP_TRY_ASSIGN(sources.test, Open(recipe, recipe.data.test_path, std::move(test.train),
                                           test.classes, sources.remarks));
  } else if (!folder.test.empty()) {
    LOCKSTEP_TRY_ASSIGN(sources.test, Open(recipe, path + " (test)", std::move(folder.test),
                                           classes, sources.remarks));
  }
  return sources;
}

Result<RecipeData> PictureData(const Recipe& recipe, const PictureSources& sources, Splits splits,
                               std::optional<Standardizer> standardizer) {
  LOCKSTEP_TRY_ASSIGN(const PictureOptions options, PictureOptionsOf(recipe, *sources.train));
  Views evaluation;
  LOCKSTEP_TRY_ASSIGN(evaluation, PictureDataset::Evaluation(sources.train, options));
  RecipeData data;
  if (recipe.data.standardize && !standardizer) {
    LOCKSTEP_TRY_ASSIGN(standardizer, GivenStandardizer(recipe.data, options.channels));
    if (!standardizer) {
      LOCKSTEP_TRY_ASSIGN(standardizer,
                          MeasurePictures(*evaluation, splits.train, CoresOf(recipe)));
    }
  }
  data.standardizer = standardizer;
  // What lies outside a picture is 0 once it is standardised.
  std::vector<float> fill;
  if (standardizer) fill = standardizer->mean();
  LOCKSTEP_TRY_ASSIGN(const AugmentOptions augment, AugmentOptionsOf(recipe, std::move(fill)));
  Views training;
  std::vector<int64_t> mixed;
  if (augment.mixup > 0.0) mixed = splits.train;
  LOCKSTEP_TRY_ASSIGN(training,
                      PictureDataset::Training(sources.train, options, augment, std::move(mixed)));
  LOCKSTEP_TRY_ASSIGN(training, Wrapped(std::move(training), standardizer));
  LOCKSTEP_TRY_ASSIGN(evaluation, Wrapped(std::move(evaluation), standardizer));
  data.train_unchanged = {evaluation, splits.train};
  data.train = {std::move(training), std::move(splits.train)};

  // A source of its own, or a part of that of training.
  const auto held_back = [&](const std::shared_ptr<const PictureSource>& own,
                             std::vector<int64_t>& part) -> Result<Subset> {
    if (own == nullptr) return Subset{evaluation, std::move(part)};
    LOCKSTEP_TRY(CheckAlike(sources.train->info(), own->info()));
    Views view;
    LOCKSTEP_TRY_ASSIGN(view, PictureDataset::Evaluation(own, options));
    LOCKSTEP_TRY_ASSIGN(view, Wrapped(std::move(view), standardizer));
    const int64_t size = view->size();
    return Subset{std::move(view), AllIndices(size)};
  };
  LOCKSTEP_TRY_ASSIGN(data.validation, held_back(sources.validation, splits.validation));
  LOCKSTEP_TRY_ASSIGN(data.test, held_back(sources.test, splits.test));
  data.remarks = sources.remarks;
  return data;
}

Result<PictureOptions> PictureOptionsFor(const Recipe& recipe, const Shape& sample) {
  LOCKSTEP_CHECK_EQ(sample.rank(), 3);
  PictureOptions options{.height = sample[0],
                         .width = sample[1],
                         .channels = sample[2],
                         .shorter_side = recipe.data.shorter_side};
  LOCKSTEP_TRY_ASSIGN(options.fit, Chosen("data.fit", kFits, recipe.data.fit));
  return options;
}

}  // namespace lockstep
