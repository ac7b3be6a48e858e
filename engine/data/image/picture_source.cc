#include "engine/data/image/picture_source.h"

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <numeric>
#include <utility>

#include "engine/data/waiting_threads.h"
#include "engine/io/hash.h"

namespace lockstep::inline v0_1 {
namespace {

constexpr size_t kMostNamed = 10;  // bad files in a message
constexpr int64_t kMostClasses = 65536;

class PicturesInMemory final : public PictureSource {
 public:
  PicturesInMemory(PictureSourceInfo info, std::shared_ptr<const InMemoryDataset> dataset)
      : PictureSource(std::move(info)), dataset_(std::move(dataset)) {}

  Result<PictureView> Read(int64_t index, Picture&) const override {
    return PictureView{info().height, info().width, info().channels,
                       dataset_->StoredX(index).as<uint8_t>()};
  }

 private:
  std::shared_ptr<const InMemoryDataset> dataset_;
};

int64_t BytesOf(const Picture& picture) {
  return static_cast<int64_t>(picture.bytes.size() + 2 * picture.words.size() + sizeof(Picture));
}

// Decoded pictures by index. Nothing is ever taken out, so what was handed out stays valid.
class PictureCache {
 public:
  PictureCache(size_t count, int64_t most_bytes) : most_bytes_(most_bytes), entries_(count) {}
  ~PictureCache() {
    for (const auto& entry : entries_) delete entry.load(std::memory_order_relaxed);
  }
  PictureCache(const PictureCache&) = delete;
  PictureCache& operator=(const PictureCache&) = delete;

  const Picture* Find(size_t index) const {
    return entries_[index].load(std::memory_order_acquire);
  }
  // Takes the picture if there is room and gives what stays; else null, and it is left alone.
  const Picture* Keep(size_t index, Picture& picture) {
    const int64_t bytes = BytesOf(picture);
    if (bytes_.fetch_add(bytes, std::memory_order_relaxed) > most_bytes_ - bytes) {
      bytes_.fetch_sub(bytes, std::memory_order_relaxed);
      return nullptr;
    }
    auto kept = std::make_unique<const Picture>(std::move(picture));
    const Picture* expected = nullptr;
    if (entries_[index].compare_exchange_strong(expected, kept.get(), std::memory_order_acq_rel))
      return kept.release();
    bytes_.fetch_sub(bytes, std::memory_order_relaxed);  // another thread came first
    return expected;
  }

 private:
  const int64_t most_bytes_;
  std::atomic<int64_t> bytes_{0};
  std::vector<std::atomic<const Picture*>> entries_;
};

Status CheckDecoded(const std::string& path, const Picture& picture) {
  const auto elements = static_cast<uint64_t>(picture.height * picture.width * picture.channels);
  const size_t held = picture.white == 255 ? picture.bytes.size() : picture.words.size();
  if (picture.height > 0 && picture.width > 0 && picture.channels > 0 && held == elements)
    return Status::Ok();
  return Status::Corrupt(path + ": has no pixels");
}

uint64_t HashOf(const Picture& picture) {
  return Hasher()
      .AddNumber(static_cast<uint64_t>(picture.height))
      .AddNumber(static_cast<uint64_t>(picture.width))
      .Add(std::as_bytes(std::span(picture.bytes)))
      .Add(std::as_bytes(std::span(picture.words)))
      .Finish();
}

class PicturesInFiles final : public PictureSource {
 public:
  PicturesInFiles(PictureSourceInfo info, std::vector<std::string> paths, PictureReader reader,
                  std::shared_ptr<PictureCache> cache, std::vector<int64_t> places)
      : PictureSource(std::move(info)),
        paths_(std::move(paths)),
        reader_(std::move(reader)),
        cache_(std::move(cache)),
        places_(std::move(places)) {}

  Result<PictureView> Read(int64_t index, Picture& scratch) const override {
    const auto place = static_cast<size_t>(places_[static_cast<size_t>(index)]);
    if (const Picture* kept = cache_->Find(place)) return ViewOf(*kept);
    const std::string& path = paths_[static_cast<size_t>(index)];
    LOCKSTEP_TRY_ASSIGN(scratch, reader_(path));
    LOCKSTEP_TRY(CheckDecoded(path, scratch));
    const Picture* kept = cache_->Keep(place, scratch);
    return ViewOf(kept != nullptr ? *kept : scratch);
  }

 private:
  std::vector<std::string> paths_;
  PictureReader reader_;
  std::shared_ptr<PictureCache> cache_;
  std::vector<int64_t> places_;  // in the cache, which was filled before bad files were left out
};

Status CheckLabels(const std::vector<PictureFile>& files, const FilePicturesOptions& options) {
  if (options.classes < 0 || options.classes > kMostClasses) {
    return Status::Invalid(options.name + ": " + std::to_string(options.classes) +
                           " classes; 1 to " + std::to_string(kMostClasses) + " are supported");
  }
  const int64_t classes = options.classes == 0 ? kMostClasses : options.classes;
  for (const PictureFile& file : files) {
    if (file.label == kIgnoredTarget || (file.label >= 0 && file.label < classes)) continue;
    return Status::Invalid(file.path + ": class " + std::to_string(file.label) +
                           " is not in 0 to " + std::to_string(classes - 1));
  }
  return Status::Ok();
}

Status AllBad(const std::string& name, const std::vector<Status>& bad, size_t of) {
  std::string message = name + ": " + std::to_string(bad.size()) + " of " + std::to_string(of) +
                        " pictures cannot be read (repair or remove them, or have bad ones "
                        "skipped): ";
  for (size_t i = 0; i < std::min(bad.size(), kMostNamed); ++i)
    message += (i > 0 ? "; " : "") + bad[i].message();
  if (bad.size() > kMostNamed)
    message += "; and " + std::to_string(bad.size() - kMostNamed) + " more";
  return {bad.front().code(), message};
}

}  // namespace

Result<std::shared_ptr<const PictureSource>> MemoryPictures(
    std::shared_ptr<const InMemoryDataset> dataset) {
  const DatasetInfo& info = dataset->info();
  const Shape& shape = info.x_shape;
  if (info.size >= 1 && dataset->StoredX(0).dtype() == DType::kF32) {
    return Status::Invalid(info.name +
                           ": holds numbers (F32); only pictures of bytes can be resized or "
                           "augmented: save them with .astype(numpy.uint8), white being 255");
  }
  if (info.size < 1 || shape.rank() != 3 || info.task != Task::kClasses ||
      info.target_shape.rank() != 0 || dataset->StoredX(0).dtype() != DType::kU8) {
    return Status::Invalid(info.name +
                           ": pictures are bytes of shape (height, width, channels) "
                           "with one class each, not samples of shape " +
                           shape.ToString());
  }
  PictureSourceInfo pictures{.name = info.name,
                             .classes = info.classes,
                             .class_names = info.class_names,
                             .height = shape[0],
                             .width = shape[1],
                             .channels = shape[2],
                             .content = info.content};
  LOCKSTEP_TRY_ASSIGN(pictures.labels, ClassLabels(*dataset));
  return std::shared_ptr<const PictureSource>(
      std::make_shared<PicturesInMemory>(std::move(pictures), std::move(dataset)));
}

Result<FilePictures> OpenPictures(std::vector<PictureFile> files, PictureReader reader,
                                  FilePicturesOptions options) {
  if (files.empty()) return Status::Invalid(options.name + ": there are no pictures");
  if (options.threads < 1 || options.cache_bytes < 0) {
    return Status::Invalid(options.name +
                           ": pictures are checked by at least one thread, and what is kept of "
                           "them is at least 0 bytes");
  }
  LOCKSTEP_TRY(CheckLabels(files, options));

  const auto n = static_cast<int64_t>(files.size());
  const auto cache = std::make_shared<PictureCache>(files.size(), options.cache_bytes);
  struct Found {
    Status status;
    int64_t height, width, channels;
    uint64_t content;
  };
  std::vector<Found> found(files.size());
  ForEachWaiting(n, options.threads, [&](int64_t i) {
    const std::string& path = files[static_cast<size_t>(i)].path;
    Found& of = found[static_cast<size_t>(i)];
    Result<Picture> picture = reader(path);
    of.status = picture.ok() ? CheckDecoded(path, *picture) : picture.status();
    if (!of.status.ok()) return;
    of = {Status::Ok(), picture->height, picture->width, picture->channels, HashOf(*picture)};
    (void)cache->Keep(static_cast<size_t>(i), *picture);
  });

  FilePictures result;
  PictureSourceInfo info{.name = options.name, .class_names = std::move(options.class_names)};
  std::vector<std::string> paths;
  int64_t classes = 0;
  Hasher content;
  for (size_t i = 0; i < files.size(); ++i) {
    classes = std::max<int64_t>(classes, files[i].label + int64_t{1});
    if (!found[i].status.ok()) {
      result.bad.push_back(std::move(found[i].status));
      continue;
    }
    const bool first = paths.empty();
    const auto common = [first](int64_t so_far, int64_t one) {
      return first || so_far == one ? one : 0;
    };
    info.height = common(info.height, found[i].height);
    info.width = common(info.width, found[i].width);
    info.channels = common(info.channels, found[i].channels);
    info.labels.push_back(files[i].label);
    content.AddNumber(found[i].content).AddNumber(static_cast<uint64_t>(files[i].label));
    result.kept.push_back(static_cast<int64_t>(i));
    paths.push_back(std::move(files[i].path));
  }
  const bool none = paths.empty();
  if (!result.bad.empty() && (options.bad == BadPictures::kError || none))
    return AllBad(options.name, result.bad, files.size());
  info.content = content.Finish();
  info.classes = options.classes > 0 ? options.classes : std::max<int64_t>(1, classes);
  const auto names = static_cast<int64_t>(info.class_names.size());
  if (names != 0 && names != info.classes) {
    return Status::Invalid(options.name + ": " + std::to_string(names) +
                           " class names do not fit " + std::to_string(info.classes) + " classes");
  }
  result.source = std::make_shared<PicturesInFiles>(std::move(info), std::move(paths),
                                                    std::move(reader), cache, result.kept);
  return result;
}

}  // namespace lockstep
