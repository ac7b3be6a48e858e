#include "engine/data/image/cifar.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <filesystem>
#include <map>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/data/byte_source.h"
#include "engine/io/file.h"

namespace lockstep::inline v0_1 {
namespace {

constexpr int64_t kSide = 32;
constexpr size_t kPlane = size_t{kSide * kSide};
constexpr size_t kPicture = 3 * kPlane;
constexpr int64_t kLongestNameFile = int64_t{1} << 16;

struct Format {
  size_t labels;  // bytes before the pixels
  size_t label;   // which of them is the class
  uint8_t classes;
  const char* names;  // the file with a class name on each line
};

Format FormatOf(CifarKind kind) {
  if (kind == CifarKind::kCifar10) return {1, 0, 10, "batches.meta.txt"};
  return {2, 1, 100, "fine_label_names.txt"};
}

struct Samples {
  std::vector<uint8_t> x;
  std::vector<int32_t> targets;
};

Status ReadFileInto(const Format& format, const std::string& path, int64_t max_bytes,
                    Samples& samples) {
  LOCKSTEP_TRY_ASSIGN(const std::unique_ptr<ByteSource> source, OpenFile(path));
  std::vector<uint8_t> record(format.labels + kPicture);
  const size_t before = samples.targets.size();
  if (source->size() > 0) {  // plain: the size is no mere claim
    const auto records = static_cast<size_t>(source->size()) / record.size();
    const auto most = static_cast<size_t>(max_bytes) / kPicture;
    if (before + records <= most) samples.x.reserve((before + records) * kPicture);
  }
  for (;;) {
    const size_t number = samples.targets.size() - before;
    const auto where = [&] { return path + ": record " + std::to_string(number); };
    LOCKSTEP_TRY_ASSIGN(const size_t got, source->Read(record));
    if (got == 0) break;
    if (got < record.size()) {
      return Status::Corrupt(where() + " has only " + std::to_string(got) + " of " +
                             std::to_string(record.size()) +
                             " bytes; the file is cut off or of another kind");
    }
    const uint8_t label = record[format.label];
    if (label >= format.classes) {
      return Status::Corrupt(where() + " has the label " + std::to_string(label) +
                             ", not in 0 to " + std::to_string(format.classes - 1) +
                             "; the file is damaged or of another kind");
    }
    const size_t end = samples.x.size();
    if (static_cast<int64_t>(end + kPicture) > max_bytes) {
      return Status::Corrupt(where() + " exceeds the limit of " + std::to_string(max_bytes) +
                             " bytes in all; give fewer files, or raise the limit");
    }
    samples.targets.push_back(label);
    samples.x.resize(end + kPicture);
    const uint8_t* planes = record.data() + format.labels;
    uint8_t* pixel = samples.x.data() + end;
    for (size_t i = 0; i < kPlane; ++i, pixel += 3) {
      for (size_t c = 0; c < 3; ++c) pixel[c] = planes[c * kPlane + i];
    }
  }
  if (samples.targets.size() == before) {
    return Status::Corrupt(path + ": is empty; fetch the file again");
  }
  return Status::Ok();
}

Result<std::shared_ptr<const InMemoryDataset>> Load(CifarKind kind,
                                                    std::span<const std::string> paths,
                                                    std::vector<std::string> class_names,
                                                    const CifarOptions& options) {
  const Format format = FormatOf(kind);
  if (paths.empty()) return Status::Invalid("CIFAR: no files were given; give one at least");
  Samples samples;
  for (const std::string& path : paths) {
    LOCKSTEP_TRY(ReadFileInto(format, path, options.max_bytes, samples));
  }
  DatasetInfo info{.name = paths.front(),
                   .size = static_cast<int64_t>(samples.targets.size()),
                   .x_shape = {kSide, kSide, 3},
                   .classes = format.classes,
                   .class_names = std::move(class_names)};
  return InMemoryDataset::Make(std::move(info), std::move(samples.x), std::move(samples.targets),
                               options.byte_scale);
}

std::vector<std::string> NumbersAsNames(int64_t count) {
  std::vector<std::string> names;
  for (int64_t c = 0; c < count; ++c) names.push_back(std::to_string(c));
  return names;
}

// The lines of the file of class names, or numbers where there is none.
Result<std::vector<std::string>> ClassNames(const Format& format, const std::string& folder) {
  const std::string path = (std::filesystem::path(folder) / format.names).string();
  std::error_code ignored;
  if (!std::filesystem::exists(path, ignored)) return NumbersAsNames(format.classes);
  LOCKSTEP_TRY_ASSIGN(const std::string text, ReadFile(path, kLongestNameFile));
  std::vector<std::string> names;
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find('\n', at), text.size());
    std::string line = text.substr(at, end - at);
    if (!line.empty() && line.back() == '\r') line.pop_back();
    if (!line.empty()) names.push_back(std::move(line));
    at = end + 1;
  }
  if (names.size() != format.classes) {
    return Status::Corrupt(path + ": holds " + std::to_string(names.size()) + " names, not " +
                           std::to_string(format.classes) +
                           "; fetch the file again, or remove it to do without names");
  }
  return names;
}

std::string WithOrWithoutGz(const std::string& path) {
  std::error_code ignored;
  for (const char* end : {"", ".gz"}) {
    if (std::filesystem::exists(path + end, ignored)) return path + end;
  }
  return {};
}

// The files NAME.bin and NAME.bin.gz of a folder whose NAME begins so, in order. What would hold
// the same records twice is left out: NAME.bin.gz beside NAME.bin, and parts NAME.x beside the NAME
// that was put together from them.
std::vector<std::string> FilesThatBegin(const std::string& folder, std::string_view begin) {
  std::map<std::string, std::string> files;  // path by NAME
  std::error_code error;
  for (std::filesystem::directory_iterator it(folder, error), end; !error && it != end;
       it.increment(error)) {
    const std::string name = it->path().filename().string();
    for (const std::string_view end_of_name : {".bin", ".bin.gz"}) {
      if (!name.starts_with(begin) || !name.ends_with(end_of_name)) continue;
      std::string& path = files[name.substr(0, name.size() - end_of_name.size())];
      if (path.empty() || end_of_name == ".bin") path = it->path().string();
    }
  }
  std::vector<std::string> paths;
  for (const auto& one : files) {
    const bool is_part = std::any_of(files.begin(), files.end(), [&](const auto& other) {
      return one.first.starts_with(other.first + ".");
    });
    if (!is_part) paths.push_back(one.second);
  }
  return paths;
}

std::string Names(const std::vector<std::string>& paths) {
  std::string all;
  for (const std::string& path : paths)
    all += (all.empty() ? "" : ", ") + std::filesystem::path(path).filename().string();
  return all;
}

}  // namespace

Result<std::shared_ptr<const InMemoryDataset>> LoadCifarFiles(CifarKind kind,
                                                              std::span<const std::string> paths,
                                                              const CifarOptions& options) {
  return Load(kind, paths, NumbersAsNames(FormatOf(kind).classes), options);
}

Result<CifarData> LoadCifar(CifarKind kind, const std::string& folder,
                            const CifarOptions& options) {
  std::vector<std::string> train = {"train.bin"}, test = {"test.bin"};
  std::string train_begins = "train", test_begins = "test";
  if (kind == CifarKind::kCifar10) {
    train.clear();
    for (int i = 1; i <= 5; ++i) train.push_back("data_batch_" + std::to_string(i) + ".bin");
    test = {"test_batch.bin"};
    train_begins = "data_batch", test_begins = "test_batch";
  }
  std::string missing;
  for (std::vector<std::string>* part : {&train, &test}) {
    for (std::string& name : *part) {
      std::string path = WithOrWithoutGz((std::filesystem::path(folder) / name).string());
      if (path.empty()) missing += (missing.empty() ? "" : ", ") + name;
      name = std::move(path);
    }
  }
  CifarData data;
  if (!missing.empty()) {
    train = FilesThatBegin(folder, train_begins);
    test = FilesThatBegin(folder, test_begins);
    if (train.empty() || test.empty()) {
      return Status::NotFound(folder + ": CIFAR's files are not all there, with or without .gz: " +
                              missing + "; give the folder that holds the binary version");
    }
    data.remark = folder + " holds a part of CIFAR (" + missing + " are missing): trains on " +
                  Names(train) + "; tests on " + Names(test);
  }
  LOCKSTEP_TRY_ASSIGN(const std::vector<std::string> names, ClassNames(FormatOf(kind), folder));
  LOCKSTEP_TRY_ASSIGN(data.train, Load(kind, train, names, options));
  LOCKSTEP_TRY_ASSIGN(data.test, Load(kind, test, names, options));
  return data;
}

}  // namespace lockstep
