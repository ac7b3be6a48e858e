// What says of which release this is says the same everywhere: the headers' macros, and the inline
// namespace that keeps the code of two releases in one process apart.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <regex>
#include <string>
#include <vector>

#include "engine/base/version.h"

namespace lockstep::inline v0_1 {
namespace {

namespace fs = std::filesystem;

const fs::path kRoot = LOCKSTEP_SOURCE_DIR;

std::string ReadText(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  EXPECT_TRUE(in) << path;
  return {std::istreambuf_iterator<char>(in), {}};
}

// Major, minor and patch, from CMakeLists.txt.
std::vector<int> ProjectVersion() {
  static const std::regex kVersion(R"(project\(lockstep VERSION (\d+)\.(\d+)\.(\d+) )");
  const std::string text = ReadText(kRoot / "CMakeLists.txt");
  std::smatch match;
  if (!std::regex_search(text, match, kVersion)) return {};
  return {std::stoi(match[1]), std::stoi(match[2]), std::stoi(match[3])};
}

TEST(ReleaseTest, TheMacrosAreThoseOfTheProject) {
  const std::vector<int> version = ProjectVersion();
  ASSERT_EQ(version, (std::vector<int>{LOCKSTEP_VERSION_MAJOR, LOCKSTEP_VERSION_MINOR,
                                       LOCKSTEP_VERSION_PATCH}));
  EXPECT_EQ(LOCKSTEP_VERSION, version[0] * 10000 + version[1] * 100 + version[2]);
  EXPECT_EQ(LOCKSTEP_VERSION_TEXT, std::to_string(version[0]) + "." + std::to_string(version[1]) +
                                       "." + std::to_string(version[2]));
}

// Two headers, since C programs may have nothing but theirs.
TEST(ReleaseTest, TheHeaderOfCHasTheSameMacros) {
  static const std::regex kMacro(R"(#define (LOCKSTEP_VERSION\w*) ("?[0-9.]+"?))");
  const auto macros_of = [](const char* path) {
    const std::string text = ReadText(kRoot / path);
    std::vector<std::string> macros;
    for (std::sregex_iterator macro(text.begin(), text.end(), kMacro), end; macro != end; ++macro)
      macros.push_back((*macro)[1].str() + " " + (*macro)[2].str());
    return macros;
  };
  EXPECT_EQ(macros_of("engine/base/version.h").size(), 5u);
  EXPECT_EQ(macros_of("engine/base/version.h"), macros_of("tools/capi/lockstep.h"));
}

// A name in `namespace lockstep` alone would be the same in every release, and a forward declaration
// there declares another class than the one that is meant.
TEST(ReleaseTest, EveryNamespaceIsThatOfTheRelease) {
  const std::vector<int> version = ProjectVersion();
  ASSERT_EQ(version.size(), 3u);
  const std::string inner = "v" + std::to_string(version[0]) + "_" + std::to_string(version[1]);
  static const std::regex kOpening(R"((?:^|\n)(?:inline )?namespace lockstep\b([^\n]*))");
  int found = 0;
  for (const char* folder : {"engine", "layers", "models", "tools", "bench", "tests"}) {
    for (const auto& entry : fs::recursive_directory_iterator(kRoot / folder)) {
      const std::string extension = entry.path().extension().string();
      if (extension != ".h" && extension != ".cc" && extension != ".cmake") continue;
      const std::string text = ReadText(entry.path());
      for (std::sregex_iterator opening(text.begin(), text.end(), kOpening), end; opening != end;
           ++opening) {
        EXPECT_TRUE((*opening)[1].str().starts_with("::inline " + inner))
            << entry.path() << ":" << opening->str();
        ++found;
      }
    }
  }
  EXPECT_GE(found, 900);
}

// The pages of the API name things as programs do, and group them by room.
TEST(ReleaseTest, PagesAreMadeOfTheNamespaceThatProgramsWrite) {
  const std::string root = LOCKSTEP_SOURCE_DIR;
  const std::string command =
      "cd '" + root + "' && awk -f tools/doxygen/comments.awk engine/base/status.h";
  std::FILE* const pipe = popen(command.c_str(), "r");
  ASSERT_NE(pipe, nullptr);
  std::string text;
  char buffer[4096];
  while (const size_t size = std::fread(buffer, 1, sizeof(buffer), pipe)) text.append(buffer, size);
  EXPECT_EQ(pclose(pipe), 0);
  const size_t begins = text.find("/// @{\nnamespace lockstep {\n"), ends = text.find("/// @}\n");
  EXPECT_NE(begins, std::string::npos);
  EXPECT_NE(ends, std::string::npos);
  EXPECT_LT(begins, ends);
}

}  // namespace
}  // namespace lockstep
