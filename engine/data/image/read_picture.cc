#include "engine/data/image/read_picture.h"

#include <cstdint>
#include <span>

#include "engine/io/file.h"

namespace lockstep::inline v0_1 {

Result<Picture> ReadPicture(const std::string& path, const DecodeOptions& options) {
  LOCKSTEP_TRY_ASSIGN(const std::string file, ReadFile(path));
  const auto* bytes = reinterpret_cast<const uint8_t*>(file.data());
  return DecodePicture(std::span(bytes, file.size()), path, options);
}

}  // namespace lockstep
