#include "engine/data/image/folder.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <filesystem>
#include <limits>
#include <map>
#include <set>
#include <system_error>
#include <utility>

#include "engine/base/characters.h"
#include "engine/io/file.h"

namespace lockstep::inline v0_1 {
namespace {

namespace fs = std::filesystem;

constexpr int kDeepest = 16;  // folders within each other, from the root
constexpr size_t kMostNamed = 3;

// Paths come from a file system, where any byte but 0 and '/' is a letter.
std::string Shown(const std::string& path) {
  const bool plain = std::none_of(path.begin(), path.end(), [](char c) {
    return static_cast<unsigned char>(c) < 0x20 || c == 0x7F;
  });
  return plain ? path : Quoted(path);
}

// With its dot, in small letters; empty where there is none.
std::string ExtensionOf(std::string_view name) {
  const size_t dot = name.rfind('.');
  return dot == std::string_view::npos ? std::string() : Lower(name.substr(dot));
}

template <size_t kCount>
bool IsAmong(const std::array<std::string_view, kCount>& list, std::string_view text) {
  return std::find(list.begin(), list.end(), text) != list.end();
}

constexpr std::array<std::string_view, 5> kRead = {".png", ".jpg", ".jpeg", ".jpe", ".jfif"};
constexpr std::array<std::string_view, 14> kOtherPictures = {
    ".webp", ".gif", ".bmp", ".tif", ".tiff", ".heic", ".heif",
    ".avif", ".jxl", ".jp2", ".ppm", ".pgm",  ".tga",  ".ico"};
constexpr std::array<std::string_view, 3> kValidationNames = {"val", "valid", "validation"};

bool IsHidden(std::string_view name) { return !name.empty() && name.front() == '.'; }

struct Entry {
  std::string path, name;
  bool is_folder = false;
};

class Lister {
 public:
  // What lies in a folder, sorted by name, without what is passed over: that is counted. Symbolic
  // links are followed.
  Result<std::vector<Entry>> Entries(const std::string& folder) {
    LOCKSTEP_TRY(Enter(folder));
    std::error_code error;
    fs::directory_iterator next(folder, error);
    std::vector<Entry> entries;
    for (; !error && next != fs::directory_iterator(); next.increment(error)) {
      Entry entry{.path = next->path().string(), .name = next->path().filename().string()};
      LOCKSTEP_TRY_ASSIGN(const bool kept, Classify(entry));
      if (kept) entries.push_back(std::move(entry));
    }
    if (error) {
      return Status::Io(Shown(folder) + ": cannot be listed: " + error.message() +
                        "; check its permissions");
    }
    std::sort(entries.begin(), entries.end(),
              [](const Entry& a, const Entry& b) { return a.name < b.name; });
    return entries;
  }

  // All pictures in `folder` and the folders in it.
  Status Collect(const std::string& folder, int32_t label, int depth,
                 std::vector<PictureFile>& files) {
    if (depth > kDeepest) {
      return Status::Invalid(Shown(folder) + ": lies more than " + std::to_string(kDeepest) +
                             " folders deep; give a folder of class folders");
    }
    LOCKSTEP_TRY_ASSIGN(std::vector<Entry> entries, Entries(folder));
    for (Entry& entry : entries) {
      if (entry.is_folder) {
        LOCKSTEP_TRY(Collect(entry.path, label, depth + 1, files));
      } else {
        files.push_back({.path = std::move(entry.path), .label = label});
      }
    }
    return Status::Ok();
  }

  // The error of all files that may not be read.
  Status CheckReadable() const {
    if (unreadable_ == 0) return Status::Ok();
    return Status::Io(unreadable_names_ + (unreadable_ > kMostNamed ? ", ..." : "") + ": " +
                      std::to_string(unreadable_) +
                      (unreadable_ == 1 ? " file may not" : " files may not") +
                      " be read; check the permissions");
  }

  std::string Ignored() const {
    std::string text;
    const auto add = [&](int64_t count, const std::string& what) {
      text += (text.empty() ? "" : ", ") + std::to_string(count) + " " + what;
    };
    if (hidden_ > 0) add(hidden_, hidden_ == 1 ? "hidden file" : "hidden files");
    for (const auto& [what, count] : others_) {
      const bool picture = IsAmong(kOtherPictures, what);
      add(count, Shown(what) + (picture ? " (pictures of a kind that is not read: convert them to "
                                          "PNG or JPEG)"
                                        : ""));
    }
    return text;
  }

 private:
  Status Enter(const std::string& folder) {
    struct stat info {};
    if (stat(folder.c_str(), &info) != 0) return FileError(Shown(folder), "be listed", errno);
    const auto [seen, is_new] = seen_.try_emplace({info.st_dev, info.st_ino}, folder);
    if (is_new) return Status::Ok();
    return Status::Invalid(Shown(folder) + ": is the same folder as " + Shown(seen->second) +
                           ", by a symbolic link; remove the link");
  }

  // False: passed over.
  Result<bool> Classify(Entry& entry) {
    if (IsHidden(entry.name)) {
      ++hidden_;
      return false;
    }
    struct stat info {};
    if (stat(entry.path.c_str(), &info) != 0) {
      const int error = errno;
      if (error == ENOENT) {
        return Status::NotFound(Shown(entry.path) + ": is a symbolic link to nothing; remove it");
      }
      if (error == ELOOP) {
        return Status::Invalid(Shown(entry.path) +
                               ": is a symbolic link that leads back to itself; remove it");
      }
      return FileError(Shown(entry.path), "be looked at", error);
    }
    entry.is_folder = S_ISDIR(info.st_mode);
    if (entry.is_folder) return true;
    if (!S_ISREG(info.st_mode)) {
      ++others_["that are no files (devices, pipes)"];
      return false;
    }
    if (!HasPictureName(entry.name)) {
      const std::string extension = ExtensionOf(entry.name);
      ++others_[Lower(entry.name) == "thumbs.db" ? "Thumbs.db"
                : extension.empty()              ? "without extension"
                                                 : extension];
      return false;
    }
    if (access(entry.path.c_str(), R_OK) != 0) {
      if (unreadable_++ < kMostNamed) {
        unreadable_names_ += (unreadable_names_.empty() ? "" : ", ") + Shown(entry.path);
      }
    }
    return true;
  }

  std::map<std::pair<dev_t, ino_t>, std::string> seen_;
  std::map<std::string, int64_t> others_;
  int64_t hidden_ = 0;
  size_t unreadable_ = 0;
  std::string unreadable_names_;
};

std::string ButIgnored(const Lister& lister) {
  const std::string ignored = lister.Ignored();
  return ignored.empty() ? "" : " (passed over: " + ignored + ")";
}

// The error of pictures among class folders.
Status CheckOnlyFolders(const std::string& folder, const std::vector<Entry>& entries) {
  const auto file = std::find_if(entries.begin(), entries.end(),
                                 [](const Entry& entry) { return !entry.is_folder; });
  if (file == entries.end()) return Status::Ok();
  const bool any_folder = std::any_of(entries.begin(), entries.end(),
                                      [](const Entry& entry) { return entry.is_folder; });
  if (!any_folder) {
    return Status::Invalid(Shown(folder) +
                           ": holds pictures, but no class folders; put the pictures of each class "
                           "into a folder of its name");
  }
  return Status::Invalid(Shown(file->path) +
                         ": lies beside class folders; put it into one of them");
}

// The class folders of one part of the data, with their pictures. `classes` is filled by the part
// that comes first; later parts must have no others.
Status ListPart(const std::string& folder, std::vector<Entry> entries, Lister& lister,
                std::vector<std::string>& classes, std::vector<PictureFile>& files) {
  LOCKSTEP_TRY(CheckOnlyFolders(folder, entries));
  const bool is_first = classes.empty();
  if (entries.empty()) {
    return Status::Invalid(Shown(folder) + ": holds no class folders" + ButIgnored(lister));
  }
  for (const Entry& entry : entries) {
    if (is_first) classes.push_back(entry.name);
    const auto place = std::lower_bound(classes.begin(), classes.end(), entry.name);
    if (place == classes.end() || *place != entry.name) {
      return Status::Invalid(Shown(entry.path) +
                             ": is a class that the training pictures lack; remove it, or give it "
                             "training pictures");
    }
    const size_t before = files.size();
    LOCKSTEP_TRY(
        lister.Collect(entry.path, static_cast<int32_t>(place - classes.begin()), 1, files));
    if (files.size() == before) {
      return Status::Invalid(Shown(entry.path) + ": is a class without pictures" +
                             ButIgnored(lister) + "; add some, or remove the folder");
    }
    std::sort(files.begin() + static_cast<std::ptrdiff_t>(before), files.end(),
              [](const PictureFile& a, const PictureFile& b) { return a.path < b.path; });
  }
  if (classes.size() == 1) {
    return Status::Invalid(Shown(folder) + ": holds only one class, " + Shown(classes.front()) +
                           "; there is nothing to tell apart");
  }
  return Status::Ok();
}

}  // namespace

bool HasPictureName(std::string_view file_name) {
  return !IsHidden(file_name) && IsAmong(kRead, ExtensionOf(file_name));
}

Result<PictureFolder> ListPictureFolder(const std::string& root) {
  std::error_code ignored;
  const fs::file_status status = fs::status(root, ignored);
  if (status.type() == fs::file_type::not_found) {
    return Status::NotFound(Shown(root) + ": there is no such folder; check the path");
  }
  if (fs::exists(status) && !fs::is_directory(status)) {
    return Status::Invalid(Shown(root) + ": is a file; give a folder that holds class folders");
  }
  Lister lister;
  PictureFolder result;
  LOCKSTEP_TRY_ASSIGN(std::vector<Entry> entries, lister.Entries(root));
  const auto train = std::find_if(entries.begin(), entries.end(), [](const Entry& entry) {
    return entry.is_folder && entry.name == "train";
  });
  // A class may be called "train"; it is not alone with parts then.
  const bool only_parts = std::all_of(entries.begin(), entries.end(), [](const Entry& entry) {
    return entry.name == "train" || entry.name == "test" || IsAmong(kValidationNames, entry.name);
  });
  result.is_split = train != entries.end() && only_parts;
  if (!result.is_split) {
    LOCKSTEP_TRY(ListPart(root, std::move(entries), lister, result.classes, result.train));
  } else {
    // Training first: it says which classes there are.
    std::rotate(entries.begin(), train, train + 1);
    for (const Entry& part : entries) {
      std::vector<PictureFile>& files = part.name == "train"  ? result.train
                                        : part.name == "test" ? result.test
                                                              : result.validation;
      if (!files.empty()) {
        return Status::Invalid(Shown(part.path) + ": is a second folder of validation pictures");
      }
      LOCKSTEP_TRY_ASSIGN(std::vector<Entry> inside, lister.Entries(part.path));
      LOCKSTEP_TRY(ListPart(part.path, std::move(inside), lister, result.classes, files));
    }
  }
  LOCKSTEP_TRY(lister.CheckReadable());
  result.ignored = lister.Ignored();
  return result;
}

}  // namespace lockstep
