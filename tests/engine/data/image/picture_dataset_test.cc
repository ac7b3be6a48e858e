#include "engine/data/image/picture_dataset.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <memory>
#include <numeric>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "engine/base/random.h"
#include "engine/data/image/picture_statistics.h"
#include "engine/data/image/read_picture.h"
#include "engine/data/loader.h"
#include "engine/io/file.h"
#include "tests/engine/data/image/made_pictures.h"

namespace lockstep::inline v0_1 {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

using Source = std::shared_ptr<const PictureSource>;
using Pictures = std::shared_ptr<const PictureDataset>;

std::vector<uint8_t> Noise(int64_t n, uint64_t seed) {
  Random random(seed, 1);
  std::vector<uint8_t> bytes(static_cast<size_t>(n));
  for (uint8_t& b : bytes) b = static_cast<uint8_t>(random.Below(256));
  return bytes;
}

Source InMemory(int64_t size, int64_t h, int64_t w, int64_t channels, int64_t classes = 10) {
  std::vector<int32_t> labels;
  for (int64_t i = 0; i < size; ++i) labels.push_back(static_cast<int32_t>(i * 7 % classes));
  DatasetInfo info{.name = "noise", .size = size, .x_shape = {h, w, channels}, .classes = classes};
  return MemoryPictures(InMemoryDataset::Make(std::move(info), Noise(size * h * w * channels, 1),
                                              std::move(labels))
                            .value())
      .value();
}

// "Files" whose names say what is in them: sizes, channels and depth differ. Those in `broken`
// cannot be read.
struct Disk {
  std::set<std::string> broken{};
  std::atomic<int> reads{0};

  Result<Picture> Read(const std::string& path) {
    ++reads;
    if (broken.contains(path)) return Status::Corrupt(path + ": is cut off");
    const int64_t n = std::stoll(path.substr(1));
    Picture picture{.height = 1 + n * 7 % 40,
                    .width = 1 + n * 11 % 30,
                    .channels = n % 3 == 0 ? 1 : 3,
                    .white = n % 5 == 0 ? 65535 : 255};
    picture.bytes =
        Noise(picture.height * picture.width * picture.channels, static_cast<uint64_t>(n));
    if (picture.white == 65535) {
      for (const uint8_t b : picture.bytes) picture.words.push_back(static_cast<uint16_t>(b * 257));
      picture.bytes.clear();
    }
    return picture;
  }
};

std::vector<PictureFile> Files(int64_t count) {
  std::vector<PictureFile> files;
  for (int64_t i = 0; i < count; ++i)
    files.push_back({"p" + std::to_string(i), static_cast<int32_t>(i % 4)});
  return files;
}

PictureReader ReaderOf(const std::shared_ptr<Disk>& disk) {
  return [disk](const std::string& path) { return disk->Read(path); };
}

struct Gathered {
  std::vector<float> x;
  std::vector<int32_t> classes;
  std::vector<float> rows;
  bool operator==(const Gathered& o) const {
    return classes == o.classes && rows == o.rows && x.size() == o.x.size() &&
           std::memcmp(x.data(), o.x.data(), x.size() * sizeof(float)) == 0;
  }
};

Gathered GatherFrom(const Dataset& dataset, const std::vector<int64_t>& indices,
                    int64_t epoch = 0) {
  const auto n = static_cast<int64_t>(indices.size());
  Gathered all;
  all.x.assign(static_cast<size_t>(dataset.XShape(n).size()), NAN);
  const auto targets = static_cast<size_t>(dataset.TargetShape(n).size());
  Tensor target;
  if (dataset.info().target_dtype == DType::kI32) {
    all.classes.assign(targets, -7);
    target = Tensor(all.classes.data(), dataset.TargetShape(n));
  } else {
    all.rows.assign(targets, NAN);
    target = Tensor(all.rows.data(), dataset.TargetShape(n));
  }
  const Status status =
      dataset.Gather(indices, Tensor(all.x.data(), dataset.XShape(n)), target, epoch);
  EXPECT_TRUE(status.ok()) << status.message();
  return all;
}

AugmentOptions Everything() {
  return {.seed = 9,
          .crop = PictureCrop::kRandom,
          .pad = 3,
          .flip = 0.5,
          .vertical_flip = 0.5,
          .rotation = 20.0,
          .brightness = 0.3,
          .contrast = 0.3,
          .cutout = 4,
          .mixup = 0.4,
          .fill = {0.5f}};
}

TEST(PictureDatasetTest, PicturesOfTheRightSizeAreShownAsTheyAre) {
  const Source source = InMemory(5, 6, 7, 3);
  const Pictures dataset = PictureDataset::Evaluation(source, {}).value();
  EXPECT_EQ(dataset->info().x_shape, Shape({6, 7, 3}));
  EXPECT_EQ(dataset->info().classes, 10);
  const Gathered all = GatherFrom(*dataset, {4, 0});
  EXPECT_THAT(all.classes, ElementsAre(8, 0));
  Picture scratch;
  const uint8_t* bytes = std::get<const uint8_t*>(source->Read(4, scratch)->pixels);
  for (size_t i = 0; i < 6 * 7 * 3; ++i) ASSERT_EQ(all.x[i], static_cast<float>(bytes[i]) / 255.0f);
  // And so in training where nothing changes them.
  const Pictures training = PictureDataset::Training(source, {}, {}, {}).value();
  EXPECT_EQ(GatherFrom(*training, {4, 0}, 3), all);
}

TEST(PictureDatasetTest, CropAndFlipMoveWholePixels) {
  const Source source = InMemory(40, 8, 8, 3);
  const AugmentOptions augment{.seed = 2, .crop = PictureCrop::kRandom, .pad = 2, .flip = 0.5};
  const Pictures plain = PictureDataset::Evaluation(source, {}).value();
  const Pictures training = PictureDataset::Training(source, {}, augment, {}).value();
  const Gathered was = GatherFrom(*plain, AllIndices(40));
  const Gathered is = GatherFrom(*training, AllIndices(40), 5);
  for (int64_t n = 0; n < 40; ++n) {
    const Augmentation drawn = DrawAugmentation(augment, 5, n, {8, 8}, {8, 8});
    for (int64_t i = 0; i < 8; ++i) {
      for (int64_t j = 0; j < 8; ++j) {
        const int64_t row = i + drawn.top, column = (drawn.flip ? 7 - j : j) + drawn.left;
        const bool within = row >= 0 && row < 8 && column >= 0 && column < 8;
        for (int64_t c = 0; c < 3; ++c) {
          const float want =
              within ? was.x[static_cast<size_t>(((n * 8 + row) * 8 + column) * 3 + c)] : 0.0f;
          ASSERT_EQ(is.x[static_cast<size_t>(((n * 8 + i) * 8 + j) * 3 + c)], want);
        }
      }
    }
  }
}

TEST(PictureDatasetTest, MixturesAreOfTwoTrainingSamplesAsTheyAreInThatEpoch) {
  const Source source = InMemory(30, 6, 6, 1);
  AugmentOptions augment{.seed = 4, .crop = PictureCrop::kRandom, .pad = 1};
  const std::vector<int64_t> train = {3, 5, 8, 13, 21};
  const PictureOptions options{.soft_targets = true};
  const Pictures apart = PictureDataset::Training(source, options, augment, {}).value();
  augment.mixup = 0.7;
  const Pictures mixed = PictureDataset::Training(source, options, augment, train).value();
  const Gathered by_itself = GatherFrom(*apart, AllIndices(30), 2);
  const Gathered is = GatherFrom(*mixed, AllIndices(30), 2);
  for (int64_t n = 0; n < 30; ++n) {
    const Mixing mixing = DrawMixing(augment, 2, n, 5);
    const int64_t other = train[static_cast<size_t>(mixing.partner)];
    const auto check = [&](const std::vector<float>& a, const std::vector<float>& b, int64_t size) {
      float sum = 0.0f;
      for (int64_t i = 0; i < size; ++i) {
        const float want = mixing.share * a[static_cast<size_t>(n * size + i)] +
                           (1.0f - mixing.share) * a[static_cast<size_t>(other * size + i)];
        sum += b[static_cast<size_t>(n * size + i)];
        ASSERT_NEAR(b[static_cast<size_t>(n * size + i)], want, 2 * 0x1p-24);
      }
      if (size == 10) {
        ASSERT_NEAR(sum, 1.0f, 2 * 0x1p-24);
      }
    };
    check(by_itself.x, is.x, 36);
    check(by_itself.rows, is.rows, 10);
  }
}

// Samples do not depend on how they are cut into batches, on what comes ahead, or on ranks.
TEST(PictureDatasetTest, ABatchIsAFunctionOfSeedEpochAndSamples) {
  const auto disk = std::make_shared<Disk>();
  const FilePictures files =
      OpenPictures(Files(53), ReaderOf(disk), {.name = "disk", .cache_bytes = 20000}).value();
  const PictureOptions options{.height = 12, .width = 10, .channels = 3, .soft_targets = true};
  AugmentOptions resized = Everything();
  resized.crop = PictureCrop::kRandomResized;
  resized.pad = 0;
  for (const AugmentOptions& augment : {Everything(), resized}) {
    const Pictures dataset =
        PictureDataset::Training(files.source, options, augment, AllIndices(53)).value();
    std::vector<Gathered> want;  // by epoch, sample by sample
    for (int64_t epoch = 0; epoch < 2; ++epoch) {
      Gathered all;
      for (int64_t i = 0; i < 53; ++i) {
        const Gathered one = GatherFrom(*dataset, {i}, epoch);
        all.x.insert(all.x.end(), one.x.begin(), one.x.end());
        all.rows.insert(all.rows.end(), one.rows.begin(), one.rows.end());
      }
      want.push_back(std::move(all));
    }
    EXPECT_FALSE(want[0] == want[1]);
    for (const float v : want[0].x) ASSERT_TRUE(v >= 0.0f && v <= 1.0f);
    for (const LoaderOptions& loading :
         {LoaderOptions{.batch = 8}, LoaderOptions{.batch = 53, .prefetch = 2, .threads = 3},
          LoaderOptions{.batch = 1, .prefetch = 4, .threads = 2},
          LoaderOptions{.batch = 20, .prefetch = 1, .threads = 5, .rank = 1, .ranks = 3}}) {
      const auto loader = Loader::Make(dataset, AllIndices(53), loading).value();
      for (const int64_t from : {0, 1}) {  // the second from the middle of an epoch on
        ASSERT_TRUE(loader->Seek({from, from * loader->batches_per_epoch() / 2}).ok());
        while (const Batch* batch = loader->Next().value()) {
          const auto epoch = static_cast<size_t>(batch->epoch);
          for (int64_t i = 0; i < batch->count; ++i) {
            const int64_t index = batch->indices[static_cast<size_t>(i)];
            ASSERT_EQ(std::memcmp(batch->x.f32() + i * 360, want[epoch].x.data() + index * 360,
                                  360 * sizeof(float)),
                      0);
            ASSERT_EQ(std::memcmp(batch->target.f32() + i * 4, want[epoch].rows.data() + index * 4,
                                  4 * sizeof(float)),
                      0);
          }
        }
      }
    }
  }
}

// Written down once: a change here changes every run on pictures, and another machine must agree.
TEST(PictureDatasetTest, BitsStayTheSame) {
  const auto disk = std::make_shared<Disk>();
  const FilePictures files = OpenPictures(Files(31), ReaderOf(disk), {.name = "disk"}).value();
  const PictureOptions options{.height = 12, .width = 10, .channels = 3, .soft_targets = true};
  const Pictures dataset =
      PictureDataset::Training(files.source, options, Everything(), AllIndices(31)).value();
  const Gathered all = GatherFrom(*dataset, AllIndices(31), 7);
  const auto hash = [](const std::vector<float>& v) {
    return StreamOf({reinterpret_cast<const char*>(v.data()), v.size() * sizeof(float)});
  };
  EXPECT_EQ(hash(all.x), 3946373289606992855u);
  EXPECT_EQ(hash(all.rows), 17359167680558346235u);
}

TEST(PictureDatasetTest, PicturesOfAllKindsBecomeOfOneKind) {
  const auto disk = std::make_shared<Disk>();
  const FilePictures files = OpenPictures(Files(60), ReaderOf(disk), {.name = "disk"}).value();
  EXPECT_EQ(files.source->info().height, 0);
  EXPECT_EQ(files.source->info().classes, 4);
  for (const int64_t channels : {1, 3}) {
    for (const PictureOptions& options :
         {PictureOptions{.height = 9, .width = 14},
          PictureOptions{.height = 9, .width = 14, .fit = PictureFit::kStretch},
          PictureOptions{.height = 9, .width = 14, .shorter_side = 20},
          PictureOptions{.height = 9, .width = 14, .shorter_side = 5},
          PictureOptions{.height = 1, .width = 1}}) {
      PictureOptions all = options;
      all.channels = channels;
      const Pictures dataset = PictureDataset::Evaluation(files.source, all).value();
      const Gathered gathered = GatherFrom(*dataset, AllIndices(60));
      for (const float v : gathered.x) ASSERT_TRUE(v >= 0.0f && v <= 1.0f + 1e-5f);
      Picture scratch;
      std::vector<float> one(static_cast<size_t>(dataset->info().x_shape.size()));
      const PictureView view = files.source->Read(17, scratch).value();
      ASSERT_TRUE(FitPicture(view, all, Tensor(one.data(), dataset->XShape(1))).ok());
      EXPECT_TRUE(std::equal(one.begin(), one.end(),
                             gathered.x.begin() + 17 * static_cast<int64_t>(one.size())));
    }
  }
  // Smaller than the crop: black around it, as torchvision's CenterCrop.
  const Pictures small =
      PictureDataset::Evaluation(InMemory(1, 2, 2, 1), {.height = 5, .width = 4, .shorter_side = 2})
          .value();
  const Gathered framed = GatherFrom(*small, {0});
  for (int64_t i = 0; i < 20; ++i) {
    const bool within = i / 4 >= 1 && i / 4 <= 2 && i % 4 >= 1 && i % 4 <= 2;
    EXPECT_EQ(framed.x[static_cast<size_t>(i)] == 0.0f, !within) << i;
  }
}

TEST(PictureDatasetTest, ImpossibleOptionsSayWhy) {
  const Source source = InMemory(4, 6, 7, 3);
  const Source four = InMemory(4, 6, 7, 4);
  const auto disk = std::make_shared<Disk>();
  const Source files = OpenPictures(Files(9), ReaderOf(disk), {.name = "disk"}).value().source;
  const auto error = [](const Source& from, const PictureOptions& options,
                        const AugmentOptions& augment = {}, std::vector<int64_t> mixed = {}) {
    const auto made = PictureDataset::Training(from, options, augment, std::move(mixed));
    return made.ok() ? "(none)" : made.status().message();
  };
  EXPECT_THAT(error(files, {.channels = 3}), HasSubstr("disk: the network's pictures must have"));
  EXPECT_THAT(error(files, {.height = 4, .width = 4}), HasSubstr("1 channel or 3"));
  EXPECT_THAT(error(source, {.height = -1}), HasSubstr("-1 x 7"));
  EXPECT_THAT(error(source, {.shorter_side = -1}), HasSubstr("shorter side"));
  EXPECT_THAT(error(source, {.fit = PictureFit::kStretch, .shorter_side = 9}),
              HasSubstr("stretched"));
  EXPECT_THAT(error(four, {.channels = 3}), HasSubstr("4 channels cannot be shown with 3"));
  EXPECT_EQ(error(four, {}), "(none)");
  EXPECT_THAT(error(source, {}, {.flip = 2.0}), HasSubstr("flip"));
  EXPECT_THAT(error(source, {}, {.fill = {0.0f, 0.0f}}), HasSubstr("2 numbers"));
  EXPECT_THAT(error(source, {}, {.mixup = 0.2}, {1}), HasSubstr("soft targets"));
  EXPECT_THAT(error(source, {.soft_targets = true}, {.mixup = 0.2}), HasSubstr("samples"));
  EXPECT_THAT(error(source, {.soft_targets = true}, {.mixup = 0.2}, {4}), HasSubstr("sample 4"));
}

TEST(PictureSourceTest, BadFilesAreFoundBeforeTraining) {
  const auto disk = std::make_shared<Disk>();
  for (int i = 3; i < 50; i += 4) disk->broken.insert("p" + std::to_string(i));
  for (const int threads : {1, 4}) {
    const auto refused =
        OpenPictures(Files(50), ReaderOf(disk), {.name = "disk", .threads = threads});
    ASSERT_FALSE(refused.ok());
    EXPECT_THAT(refused.status().message(), HasSubstr("disk: 12 of 50 pictures cannot be read"));
    EXPECT_THAT(refused.status().message(), HasSubstr("p3: is cut off; p7: is cut off"));
    EXPECT_THAT(refused.status().message(), HasSubstr("and 2 more"));

    const FilePictures files =
        OpenPictures(Files(50), ReaderOf(disk),
                     {.name = "disk", .classes = 4, .bad = BadPictures::kSkip, .threads = threads})
            .value();
    EXPECT_EQ(files.source->size(), 38);
    ASSERT_EQ(files.bad.size(), 12u);
    EXPECT_EQ(files.bad[1].message(), "p7: is cut off");
    EXPECT_EQ(files.kept[3], 4);
    EXPECT_EQ(files.source->info().labels[3], 0);
    EXPECT_EQ(files.source->info().classes, 4);
    // Each is the picture of its own file.
    Picture scratch;
    for (size_t i = 0; i < files.kept.size(); ++i) {
      const auto read = files.source->Read(static_cast<int64_t>(i), scratch);
      EXPECT_EQ(read->height, 1 + files.kept[i] * 7 % 40);
    }
  }
  const auto none = OpenPictures({{"p3", 0}}, ReaderOf(disk), {.bad = BadPictures::kSkip});
  EXPECT_THAT(none.status().message(), HasSubstr("1 of 1 pictures"));
  EXPECT_FALSE(OpenPictures({}, ReaderOf(disk), {}).ok());
  EXPECT_FALSE(OpenPictures({{"p1", -3}}, ReaderOf(disk), {}).ok());
  EXPECT_FALSE(OpenPictures({{"p1", 2}}, ReaderOf(disk), {.classes = 2}).ok());
}

TEST(PictureSourceTest, PicturesAreKeptUpToTheLimit) {
  for (const auto& [bytes, again] : {std::pair<int64_t, int>{1 << 24, 0}, {0, 40}}) {
    const auto disk = std::make_shared<Disk>();
    const FilePictures files =
        OpenPictures(Files(40), ReaderOf(disk), {.threads = 3, .cache_bytes = bytes}).value();
    EXPECT_EQ(disk->reads, 40);
    const Pictures dataset =
        PictureDataset::Evaluation(files.source, {.height = 8, .width = 8, .channels = 1}).value();
    (void)GatherFrom(*dataset, AllIndices(40));
    EXPECT_EQ(disk->reads, 40 + again);
  }
}

TEST(PictureSourceTest, AFileThatTurnsBadIsAnErrorInItsPlaceOrCountsForNothing) {
  for (const bool soft : {false, true}) {
    const auto disk = std::make_shared<Disk>();
    const FilePictures files = OpenPictures(Files(12), ReaderOf(disk), {.cache_bytes = 0}).value();
    disk->broken = {"p5"};
    PictureOptions options{.height = 8, .width = 8, .channels = 3, .soft_targets = soft};
    for (const int prefetch : {0, 2}) {
      const auto dataset = PictureDataset::Training(files.source, options, {}, {}).value();
      const auto loader =
          Loader::Make(dataset, AllIndices(12),
                       {.batch = 4, .shuffle = false, .prefetch = prefetch, .threads = 2})
              .value();
      EXPECT_TRUE(loader->Next().ok());
      const auto failed = loader->Next();
      ASSERT_FALSE(failed.ok());
      EXPECT_EQ(failed.status().message(), "p5: is cut off");
      EXPECT_EQ(loader->place(), (LoaderPlace{0, 1}));
    }
    options.bad = BadPictures::kSkip;
    const auto dataset = PictureDataset::Training(files.source, options, {}, {}).value();
    const Gathered all = GatherFrom(*dataset, {4, 5, 6, 5});
    EXPECT_EQ(dataset->skipped(), 2);
    ASSERT_EQ(dataset->skipped_examples().size(), 1u);
    EXPECT_EQ(dataset->skipped_examples()[0].message(), "p5: is cut off");
    for (size_t i = 192; i < 384; ++i) ASSERT_EQ(all.x[i], 0.0f);
    if (soft) {
      EXPECT_EQ(std::accumulate(all.rows.begin(), all.rows.end(), 0.0f), 2.0f);
      EXPECT_EQ(std::accumulate(all.rows.begin() + 4, all.rows.begin() + 8, 0.0f), 0.0f);
    } else {
      EXPECT_THAT(all.classes, ElementsAre(0, kIgnoredTarget, 2, kIgnoredTarget));
    }
    // Nor is it measured.
    const Standardizer with = MeasurePictures(*dataset, std::vector<int64_t>{4, 5, 6}).value();
    const Standardizer without = MeasurePictures(*dataset, std::vector<int64_t>{4, 6}).value();
    EXPECT_EQ(with.mean(), without.mean());
    EXPECT_EQ(with.sd(), without.sd());
    EXPECT_FALSE(MeasurePictures(*dataset, std::vector<int64_t>{5}).ok());
  }
}

// From a folder of files to batches.
TEST(PictureSourceTest, AFolderOfPicturesBecomesBatches) {
  const std::string root = testing::TempDir() + "lockstep_picture_folder";
  for (const char* name : {"cat", "dog"}) ASSERT_TRUE(CreateFolders(root + "/" + name).ok());
  const auto rows = Noise(20 * 30 * 3, 4);
  const std::string jpeg = JpegFile(20, 30, rows);
  for (const char* name : {"/cat/a.jpg", "/cat/b.jpg", "/dog/c.jpg"})
    ASSERT_TRUE(WriteFileAtomically(root + name, jpeg).ok());
  ASSERT_TRUE(WriteFileAtomically(root + "/dog/d.jpg", jpeg.substr(0, jpeg.size() / 2)).ok());
  const PictureFolder folder = ListPictureFolder(root).value();
  const PictureReader reader = [](const std::string& path) { return ReadPicture(path); };
  const auto refused = OpenPictures(folder.train, reader, {.name = root, .threads = 2});
  ASSERT_FALSE(refused.ok());
  EXPECT_THAT(refused.status().message(), HasSubstr("1 of 4 pictures cannot be read"));
  EXPECT_THAT(refused.status().message(), HasSubstr("/dog/d.jpg"));

  const FilePictures files =
      OpenPictures(folder.train, reader,
                   {.name = root, .class_names = folder.classes, .bad = BadPictures::kSkip})
          .value();
  EXPECT_THAT(files.kept, ElementsAre(0, 1, 2));
  EXPECT_EQ(files.source->info().height, 20);
  const Pictures dataset =
      PictureDataset::Evaluation(files.source, {.height = 10, .width = 10}).value();
  EXPECT_THAT(dataset->info().class_names, ElementsAre("cat", "dog"));
  const Gathered all = GatherFrom(*dataset, {0, 1, 2});
  EXPECT_THAT(all.classes, ElementsAre(0, 0, 1));
  EXPECT_TRUE(std::equal(all.x.begin(), all.x.begin() + 300, all.x.begin() + 600));
}

TEST(PictureStatisticsTest, AreThoseOfAllPixelsWhateverTheThreads) {
  const Source source = InMemory(5000, 3, 5, 3);
  const Pictures dataset = PictureDataset::Evaluation(source, {}).value();
  std::vector<int64_t> train;
  for (int64_t i = 0; i < 5000; ++i)
    if (i % 10 != 3) train.push_back(4999 - i);
  const Standardizer one = MeasurePictures(*dataset, train, 1).value();
  for (const int threads : {2, 7}) {
    const Standardizer many = MeasurePictures(*dataset, train, threads).value();
    EXPECT_EQ(many.mean(), one.mean());
    EXPECT_EQ(many.sd(), one.sd());
  }
  // Bytes are whole numbers: their sums and sums of squares are exact.
  for (size_t c = 0; c < 3; ++c) {
    double sum = 0.0, squares = 0.0;
    const auto n = static_cast<double>(train.size() * 15);
    Picture scratch;
    for (const int64_t i : train) {
      const auto* bytes = std::get<const uint8_t*>(source->Read(i, scratch)->pixels);
      for (size_t p = 0; p < 15; ++p) {
        sum += bytes[p * 3 + c];
        squares += static_cast<double>(bytes[p * 3 + c]) * bytes[p * 3 + c];
      }
    }
    const double mean = sum / n;
    // One rounding of each pixel when it is scaled, and one of the result.
    EXPECT_NEAR(static_cast<double>(one.mean()[c]), mean / 255.0, 2 * 0x1p-24);
    EXPECT_NEAR(static_cast<double>(one.sd()[c]), std::sqrt(squares / n - mean * mean) / 255.0,
                2 * 0x1p-24);
  }
  EXPECT_FALSE(MeasurePictures(*dataset, {}).ok());
}

}  // namespace
}  // namespace lockstep
