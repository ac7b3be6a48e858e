// Files for the tests of readers: real data sets where they are to be found, and made-up bytes.
#ifndef LOCKSTEP_TESTS_ENGINE_DATA_DATA_FILES_H_
#define LOCKSTEP_TESTS_ENGINE_DATA_DATA_FILES_H_

#include <zlib.h>

#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <string>

#include "engine/base/random.h"

namespace lockstep::inline v0_1 {

// Where `file` lies: under $LOCKSTEP_DATA, or in shared/data beside the source tree; empty if it is
// in neither.
inline std::string RealFile(const std::string& file) {
  const char* folder = std::getenv("LOCKSTEP_DATA");
  const std::filesystem::path path =
      (folder != nullptr ? std::filesystem::path(folder)
                         : std::filesystem::path(LOCKSTEP_SOURCE_DIR) / "../shared/data") /
      file;
  return std::filesystem::exists(path) ? path.string() : std::string();
}

#define LOCKSTEP_NEEDS_REAL_FILE(file)                                                     \
  if (RealFile(file).empty())                                                              \
  GTEST_SKIP() << file                                                                     \
               << " is neither in the folder that LOCKSTEP_DATA names nor in shared/data " \
                  "beside the source tree"

inline void SpillGzip(const std::string& path, const std::string& content) {
  gzFile file = gzopen(path.c_str(), "wb");
  gzwrite(file, content.data(), static_cast<unsigned>(content.size()));
  gzclose(file);
}

// `bytes` with one to eight changes: bytes set, removed, or repeated.
inline std::string Damaged(std::string bytes, Random& random) {
  const uint64_t changes = 1 + random.Below(8);
  for (uint64_t i = 0; i < changes && !bytes.empty(); ++i) {
    const auto place = static_cast<size_t>(random.Below(bytes.size()));
    const auto length = static_cast<size_t>(1 + random.Below(4));
    switch (random.Below(3)) {
      case 0:
        bytes[place] = static_cast<char>(random.Word());
        break;
      case 1:
        bytes.erase(place, length);
        break;
      default:
        bytes.insert(place, bytes.substr(place, length));
        break;
    }
  }
  return bytes;
}

}  // namespace lockstep

#endif  // LOCKSTEP_TESTS_ENGINE_DATA_DATA_FILES_H_
