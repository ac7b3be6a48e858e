#include "tools/command/run_folder.h"

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <filesystem>
#include <string_view>

#include "engine/io/file.h"

namespace lockstep::tools {

std::string RunFolder::checkpoint(int64_t step) const {
  char name[48];
  std::snprintf(name, sizeof name, "/step-%09lld.safetensors", static_cast<long long>(step));
  return path + name;
}

Result<std::vector<int64_t>> RunFolder::OlderCheckpoints() const {
  constexpr std::string_view kBefore = "step-", kAfter = ".safetensors";
  std::error_code error;
  std::vector<int64_t> steps;
  for (std::filesystem::directory_iterator entry(path, error), end; !error && entry != end;
       entry.increment(error)) {
    const std::string name = entry->path().filename().string();
    if (!name.starts_with(kBefore) || !name.ends_with(kAfter)) continue;
    const char* const digits_end = name.data() + name.size() - kAfter.size();
    int64_t step = 0;
    const auto read = std::from_chars(name.data() + kBefore.size(), digits_end, step);
    if (read.ec == std::errc() && read.ptr == digits_end) steps.push_back(step);
  }
  if (error) return FileError(path, "read", error.value());
  std::sort(steps.begin(), steps.end());
  return steps;
}

Result<RunFolder> RunFolder::Create(const std::string& wanted, const std::string& recipe_path) {
  namespace fs = std::filesystem;
  std::error_code ignored;
  RunFolder folder{wanted};
  if (wanted.empty()) {
    const std::string base = "runs/" + fs::path(recipe_path).stem().string();
    folder.path = base;
    for (int n = 2; fs::exists(folder.recipe(), ignored); ++n)
      folder.path = base + "-" + std::to_string(n);
  } else if (fs::exists(folder.recipe(), ignored)) {
    return Status::Invalid(
        wanted +
        " holds a run already; go on with it by --resume, or choose another output.folder");
  }
  LOCKSTEP_TRY(CreateFolders(folder.path));
  return folder;
}

std::string ModelFile(const std::string& run_folder_or_file) {
  std::error_code ignored;
  return std::filesystem::is_directory(run_folder_or_file, ignored)
             ? RunFolder{run_folder_or_file}.model()
             : run_folder_or_file;
}

}  // namespace lockstep::tools
