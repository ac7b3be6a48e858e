// Folders of pictures. The input tells what to make: two bytes an entry, the place it lies in and
// what it is. What is listed must be sorted, numbered, and there.
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "engine/data/image/folder.h"
#include "tests/engine/io/temporary_folder.h"
#include "tests/fuzz/require.h"

using namespace lockstep;  // NOLINT: a program of one file

namespace {

namespace fs = std::filesystem;

constexpr std::array<const char*, 16> kNames = {
    "train",  "test",    "val",       "valid", "cats",  "dogs",   "a.png", "b.JPG",
    "c.jpeg", ".hidden", "Thumbs.db", "d.gif", "notes", "\n.png", "e.jpe", "\xFF"};

void Make(const fs::path& root, const uint8_t* data, size_t size) {
  std::error_code ignored;
  std::vector<fs::path> folders = {root};
  for (size_t i = 0; i + 1 < size && i < 64; i += 2) {
    const fs::path parent = folders[data[i] % folders.size()];
    const fs::path path = parent / kNames[data[i + 1] % kNames.size()];
    switch (data[i + 1] / kNames.size() % 4) {
      case 0:
      case 1:
        if (fs::create_directory(path, ignored)) folders.push_back(path);
        break;
      case 2:
        if (!fs::exists(path, ignored)) Spill(path.string(), "x");
        break;
      default:
        fs::create_symlink(folders[data[i] / 16 % folders.size()], path, ignored);
        break;
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const TemporaryFolder folder;
  Make(folder.path(), data, size);
  const Result<PictureFolder> listed = ListPictureFolder(folder.path());
  if (!listed.ok()) {
    Require(listed.status().message().size() < 4000);  // names of up to three files
    Require(listed.status().message().find('\n') == std::string::npos);
    return 0;
  }
  const std::vector<std::string>& classes = listed->classes;
  Require(classes.size() >= 2 && std::is_sorted(classes.begin(), classes.end()));
  Require(listed->ignored.find('\n') == std::string::npos);
  Require(!listed->train.empty());
  for (const auto* files : {&listed->train, &listed->validation, &listed->test}) {
    int32_t label = 0;
    for (const PictureFile& file : *files) {
      Require(file.label >= label && file.label < static_cast<int32_t>(classes.size()));
      label = file.label;
      Require(fs::is_regular_file(file.path));
      Require(file.path.find("/" + classes[static_cast<size_t>(label)] + "/") != std::string::npos);
    }
    Require(std::is_sorted(files->begin(), files->end(), [](const auto& a, const auto& b) {
      return a.label != b.label ? a.label < b.label : a.path < b.path;
    }));
  }
  return 0;
}
