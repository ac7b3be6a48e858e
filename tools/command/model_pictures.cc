#include "tools/command/model_pictures.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <set>
#include <string_view>
#include <system_error>
#include <utility>

#include "engine/data/image/cifar.h"
#include "engine/data/image/class_numbers.h"
#include "engine/data/image/folder.h"
#include "engine/data/image/idx.h"
#include "engine/data/image/idx_names.h"
#include "engine/data/image/picture_dataset.h"
#include "engine/data/image/read_picture.h"
#include "engine/io/text.h"
#include "models/recipe_keys.h"
#include "models/recipe_pictures.h"

namespace lockstep::inline v0_1::tools {
namespace {

namespace fs = std::filesystem;

// Pictures, 1 for white, scaled as ByteScale scales bytes: a pixel that came from a byte u is
// exactly u again once it is multiplied by 255, and gets the bits that it had in training.
class ScaledAsBytes final : public Dataset {
 public:
  ScaledAsBytes(std::shared_ptr<const Dataset> base, const ByteScale& scale)
      : Dataset(base->info()), base_(std::move(base)), scale_(scale) {}

 private:
  Status Read(std::span<const int64_t> indices, Tensor x, Tensor target,
              int64_t epoch) const override {
    LOCKSTEP_TRY(base_->Gather(indices, x, target, epoch));
    if (x.empty()) return Status::Ok();
    for (float& v : x.span<float>()) v = v * 255.0f / scale_.divisor + scale_.shift;
    return Status::Ok();
  }

  std::shared_ptr<const Dataset> base_;
  ByteScale scale_;
};

bool IsFolder(const std::string& path) {
  std::error_code error;
  return fs::is_directory(path, error);
}

bool BeginsAsPicture(const std::string& path) {
  std::array<char, 4> head{};
  std::ifstream(path, std::ios::binary).read(head.data(), head.size());
  const std::string_view text(head.data(), head.size());
  return text == "\x89PNG" || text.starts_with("\xFF\xD8\xFF");
}

// Links are followed; a folder that is reached again holds nothing new.
Status AddPicturesIn(const fs::path& folder, std::set<fs::path>& seen,
                     std::vector<std::string>& paths) {
  std::error_code error;
  if (!seen.insert(fs::canonical(folder, error)).second) return Status::Ok();
  std::vector<fs::path> entries;
  fs::directory_iterator entry(folder, error);
  for (; !error && entry != fs::directory_iterator(); entry.increment(error))
    entries.push_back(entry->path());
  if (error) return Status::Io(folder.string() + ": " + error.message());
  std::sort(entries.begin(), entries.end(), [](const fs::path& a, const fs::path& b) {
    return a.native() < b.native();  // by byte
  });
  for (const fs::path& path : entries) {
    const std::string name = path.filename().string();
    if (name.starts_with(".")) continue;
    if (fs::is_directory(path, error)) {
      LOCKSTEP_TRY(AddPicturesIn(path, seen, paths));
    } else if (HasPictureName(name)) {
      paths.push_back(path.string());
    }
  }
  return Status::Ok();
}

// Empty where there is neither.
std::string WithOrWithoutGz(const std::string& path) {
  std::error_code error;
  for (const char* end : {"", ".gz"}) {
    if (fs::is_regular_file(path + end, error)) return path + end;
  }
  return "";
}

CifarKind CifarKindOf(const SavedModel& model) {
  return model.samples.classes == 100 ? CifarKind::kCifar100 : CifarKind::kCifar10;
}

bool IsCifarName(const std::string& name) {
  return name.ends_with(".bin") || name.ends_with(".bin.gz");
}

Result<std::shared_ptr<const PictureSource>> CifarSource(const SavedModel& model,
                                                         const std::string& path) {
  LOCKSTEP_TRY_ASSIGN(auto cifar, LoadCifarFiles(CifarKindOf(model), std::span(&path, 1)));
  if (cifar->info().classes != model.samples.classes) {
    return Status::Invalid(path + ": CIFAR has " + std::to_string(cifar->info().classes) +
                           " classes, the model " + std::to_string(model.samples.classes));
  }
  return MemoryPictures(std::move(cifar));
}

Result<std::shared_ptr<const PictureSource>> IdxSource(const SavedModel& model,
                                                       const std::string& images) {
  LOCKSTEP_TRY_ASSIGN(const std::string labels, FindIdxLabels(images));
  const DatasetInfo& samples = model.samples;
  LOCKSTEP_TRY_ASSIGN(
      auto pair,
      LoadIdxPair(images, labels,
                  {.class_numbers = ClassNumbersOf(samples.class_names, samples.classes)}));
  return MemoryPictures(std::move(pair));
}

Result<std::shared_ptr<const PictureSource>> FolderSource(const SavedModel& model,
                                                          const std::string& path) {
  LOCKSTEP_TRY_ASSIGN(PictureFolder folder, ListPictureFolder(path));
  std::vector<PictureFile>& files =
      folder.test.empty()
          ? folder.is_split && !folder.validation.empty() ? folder.validation : folder.train
          : folder.test;
  const std::vector<std::string>& known = model.samples.class_names;
  std::vector<int32_t> labels;
  for (const std::string& name : folder.classes) {
    const auto found = std::find(known.begin(), known.end(), name);
    if (found == known.end()) {
      return Status::Invalid(path + ": the model has no class " + Quoted(name) +
                             ": name the folders as its classes are named");
    }
    labels.push_back(static_cast<int32_t>(found - known.begin()));
  }
  for (PictureFile& file : files) file.label = labels[static_cast<size_t>(file.label)];
  const DecodeOptions decode{.channels = model.samples.x_shape[2]};
  LOCKSTEP_TRY_ASSIGN(
      FilePictures opened,
      OpenPictures(
          std::move(files), [decode](const std::string& file) { return ReadPicture(file, decode); },
          {.name = path,
           .classes = model.samples.classes,
           .class_names = known,
           .bad = model.recipe.data.bad == "skip" ? BadPictures::kSkip : BadPictures::kError,
           .threads = CoresOf(model.recipe)}));
  for (const Status& bad : opened.bad)
    std::fprintf(stderr, "lockstep: left out: %s\n", bad.message().c_str());
  return opened.source;
}

Result<std::shared_ptr<const PictureSource>> LabelledSource(const SavedModel& model,
                                                            const std::string& path) {
  const auto within = [&](const char* name) {
    return WithOrWithoutGz((fs::path(path) / name).string());
  };
  if (!IsFolder(path)) return IsCifarName(path) ? CifarSource(model, path) : IdxSource(model, path);
  const std::string cifar = within(model.samples.classes == 100 ? "test.bin" : "test_batch.bin");
  if (!cifar.empty()) return CifarSource(model, cifar);
  const Result<IdxFiles> mnist = FindIdxFiles(path);
  return mnist.ok() ? IdxSource(model, mnist->test_images) : FolderSource(model, path);
}

}  // namespace

bool TakesPictures(const SavedModel& model) { return model.samples.x_shape.rank() == 3; }

int64_t PredictionBatch(const SavedModel& model, int64_t samples) {
  constexpr int64_t kRows = 1024;
  const DatasetInfo& info = model.samples;
  const bool flat = info.x_shape.rank() == 1 && info.x_dtype == DType::kF32;  // rows of a table
  return std::min(samples, flat ? kRows : model.recipe.train.batch);
}

PictureFiles::PictureFiles(std::vector<std::string> paths, int64_t channels)
    : PictureSource(
          {.name = "pictures", .labels = std::vector<int32_t>(paths.size()), .classes = 1}),
      paths_(std::move(paths)),
      channels_(channels),
      statuses_(paths_.size()) {}

Result<PictureView> PictureFiles::Read(int64_t index, Picture& scratch) const {
  Result<Picture> picture = ReadPicture(path(index), {.channels = channels_});
  statuses_[static_cast<size_t>(index)] = picture.status();
  LOCKSTEP_TRY(picture.status());
  scratch = std::move(picture).value();
  return ViewOf(scratch);
}

bool AreFilesOrFolders(const std::vector<std::string>& inputs) {
  return inputs.size() != 1 || IsFolder(inputs[0]) ||
         HasPictureName(fs::path(inputs[0]).filename().string()) || BeginsAsPicture(inputs[0]);
}

Result<std::vector<std::string>> ListPictures(const std::vector<std::string>& inputs) {
  std::vector<std::string> paths;
  for (const std::string& input : inputs) {
    if (!IsFolder(input)) {
      paths.push_back(input);
      continue;
    }
    const size_t before = paths.size();
    std::set<fs::path> seen;
    LOCKSTEP_TRY(AddPicturesIn(input, seen, paths));
    if (paths.size() == before) {
      return Status::NotFound(input +
                              ": holds no pictures (.png, .jpg, .jpeg), nor do its folders");
    }
  }
  return paths;
}

Result<std::shared_ptr<const Dataset>> PicturesFor(const SavedModel& model,
                                                   std::shared_ptr<const PictureSource> source) {
  LOCKSTEP_TRY_ASSIGN(PictureOptions options,
                      PictureOptionsFor(model.recipe, model.samples.x_shape));
  options.bad = BadPictures::kSkip;
  std::shared_ptr<const Dataset> pictures;
  LOCKSTEP_TRY_ASSIGN(pictures, PictureDataset::Evaluation(std::move(source), options));
  if (!HasByteScale(model.recipe)) return pictures;
  const Recipe::Data& data = model.recipe.data;
  return std::shared_ptr<const Dataset>(std::make_shared<ScaledAsBytes>(
      std::move(pictures), ByteScale::Standardized(data.pixel_mean, data.pixel_sd)));
}

Result<std::shared_ptr<const Dataset>> IdxImagesFor(const SavedModel& model,
                                                    const std::string& path) {
  LOCKSTEP_TRY_ASSIGN(IdxArray images, LoadIdx(path));
  auto* pixels = std::get_if<std::vector<uint8_t>>(&images.elements);
  const int64_t count = images.shape[0];
  const Shape& wanted = model.samples.x_shape;
  if (pixels == nullptr || images.shape.size() / count != wanted.size()) {
    return Status::Invalid(path + ": it holds " + images.shape.ToString() +
                           (pixels == nullptr ? " numbers that are no bytes" : "") +
                           ", the model takes images of " + wanted.ToString() + " bytes");
  }
  DatasetInfo info{.name = path, .size = count, .x_shape = wanted};
  info.classes = 1;
  LOCKSTEP_TRY_ASSIGN(auto dataset,
                      InMemoryDataset::Make(std::move(info), std::move(*pixels),
                                            std::vector<int32_t>(static_cast<size_t>(count))));
  LOCKSTEP_TRY_ASSIGN(auto source, MemoryPictures(std::move(dataset)));
  return PicturesFor(model, std::move(source));
}

Result<std::shared_ptr<const Dataset>> LabelledPicturesFor(const SavedModel& model,
                                                           const std::string& path) {
  if (!TakesPictures(model) || model.samples.task != Task::kClasses) {
    return Status::Invalid(
        "--data is for models that tell classes of pictures apart; for this one give "
        "data.path=..., or data.test_path=... for a table that is measured as a whole");
  }
  LOCKSTEP_TRY_ASSIGN(auto source, LabelledSource(model, path));
  std::shared_ptr<const Dataset> pictures;
  LOCKSTEP_TRY_ASSIGN(pictures, PicturesFor(model, std::move(source)));
  if (!model.standardizer) return pictures;
  return Standardized(std::move(pictures), *model.standardizer);
}

}  // namespace lockstep::tools
