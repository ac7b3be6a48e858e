#include "engine/data/image/idx_names.h"

#include <algorithm>
#include <array>
#include <filesystem>
#include <map>
#include <optional>
#include <string_view>
#include <utility>

namespace lockstep::inline v0_1 {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kGz = ".gz";
constexpr std::array<const char*, 4> kMnistNames = {
    "train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte"};

struct Name {
  std::string set;  // what it begins with: "", "emnist-letters-"
  size_t place;     // among kMnistNames
  bool packed;
};

bool IsBetween(char c) { return c == '-' || c == '.' || c == '_'; }

// "-idx3-ubyte": the number of dimensions and the type, whichever they are.
bool IsEnding(std::string_view text) {
  constexpr std::string_view kIdx = "idx";
  if (text.empty() || !IsBetween(text.front())) return false;
  text.remove_prefix(1);
  if (!text.starts_with(kIdx)) return false;
  text.remove_prefix(kIdx.size());
  if (text.size() < 3 || text[0] < '1' || text[0] > '9' || !IsBetween(text[1])) return false;
  return text.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789", 2) ==
         std::string_view::npos;
}

std::optional<Name> NameOf(std::string_view file) {
  const bool packed = file.ends_with(kGz);
  if (packed) file.remove_suffix(kGz.size());
  constexpr std::array<std::pair<const char*, size_t>, 6> kWords = {{{"train-images", 0},
                                                                     {"train-labels", 1},
                                                                     {"t10k-images", 2},
                                                                     {"t10k-labels", 3},
                                                                     {"test-images", 2},
                                                                     {"test-labels", 3}}};
  for (const auto& [word, place] : kWords) {
    const size_t at = file.rfind(word);
    if (at == std::string_view::npos || (at > 0 && !IsBetween(file[at - 1]))) continue;
    if (!IsEnding(file.substr(at + std::string_view(word).size()))) continue;
    return Name{.set = std::string(file.substr(0, at)), .place = place, .packed = packed};
  }
  return std::nullopt;
}

using Set = std::array<std::string, 4>;  // paths, as kMnistNames; empty: not there

std::map<std::string, Set> SetsIn(const fs::path& folder) {
  std::map<std::string, Set> sets;
  std::error_code error;
  for (fs::directory_iterator entry(folder, error), end; !error && entry != end;
       entry.increment(error)) {
    const std::optional<Name> name = NameOf(entry->path().filename().string());
    if (!name) continue;
    std::string& path = sets[name->set][name->place];
    if (path.empty() || !name->packed) path = entry->path().string();
  }
  return sets;
}

bool IsWhole(const Set& set) {
  return std::none_of(set.begin(), set.end(), [](const std::string& path) { return path.empty(); });
}

// "emnist-letters" of "emnist-letters-".
std::string WithoutDash(const std::string& set) {
  return set.empty() ? set : set.substr(0, set.size() - 1);
}

Status Missing(const std::string& path, const std::string& begin, const Set& set) {
  std::string missing;
  for (size_t i = 0; i < set.size(); ++i) {
    if (set[i].empty()) missing += (missing.empty() ? "" : ", ") + begin + kMnistNames[i];
  }
  return Status::NotFound(path + ": MNIST's files are not all there, with or without .gz: " +
                          missing + "; give the folder that holds them");
}

}  // namespace

Result<IdxFiles> FindIdxFiles(const std::string& path) {
  std::error_code ignored;
  const bool is_folder = fs::is_directory(path, ignored);
  const fs::path parent = fs::path(path).parent_path();
  const fs::path folder = is_folder ? fs::path(path) : parent.empty() ? fs::path(".") : parent;
  std::map<std::string, Set> sets = SetsIn(folder);
  if (!is_folder) {
    const std::string wanted = fs::path(path).filename().string();
    std::erase_if(sets, [&](const auto& one) {
      return one.first.empty() || (WithoutDash(one.first) != wanted && one.first != wanted);
    });
  }
  if (sets.empty()) return Missing(path, "", {});
  const auto* chosen = &*sets.begin();  // the one without a beginning, if there is one
  size_t whole = 0;
  std::string names;
  for (const auto& one : sets) {
    if (!IsWhole(one.second)) continue;
    names += (names.empty() ? "" : ", ") + WithoutDash(one.first);
    if (whole++ == 0) chosen = &one;
  }
  if (whole == 0) return Missing(path, chosen->first, chosen->second);
  if (whole > 1 && !chosen->first.empty()) {
    return Status::Invalid(path + ": holds several sets: " + names + "; name one, as " +
                           (folder / WithoutDash(chosen->first)).string());
  }
  const Set& set = chosen->second;
  return IdxFiles{set[0], set[1], set[2], set[3]};
}

Result<std::string> FindIdxLabels(const std::string& images) {
  const fs::path path(images);
  const std::optional<Name> name = NameOf(path.filename().string());
  if (!name || name->place % 2 != 0) {
    return Status::Invalid(images +
                           ": the file of its labels is looked for by names as MNIST's, "
                           "train-images-idx3-ubyte and train-labels-idx1-ubyte; rename both");
  }
  const fs::path parent = path.parent_path();
  const std::map<std::string, Set> sets = SetsIn(parent.empty() ? fs::path(".") : parent);
  const auto found = sets.find(name->set);
  if (found != sets.end() && !found->second[name->place + 1].empty())
    return found->second[name->place + 1];
  return Status::NotFound(images + ": there is no " + name->set + kMnistNames[name->place + 1] +
                          " beside it, with or without .gz: its labels are needed to measure");
}

}  // namespace lockstep
