// One picture in memory, as a decoder leaves it.
#ifndef LOCKSTEP_ENGINE_DATA_IMAGE_PICTURE_H_
#define LOCKSTEP_ENGINE_DATA_IMAGE_PICTURE_H_

#include <cstdint>
#include <vector>

namespace lockstep::inline v0_1 {

// Rows from the top, pixels from the left, channels last and interleaved: 1 grey, 3 RGB. Alpha has
// been composed away, palettes looked up, EXIF orientation applied.
struct Picture {
  int64_t height = 0;
  int64_t width = 0;
  int64_t channels = 0;
  // The value of white: 255, or 65535 where the file held 16 bits.
  int64_t white = 255;
  std::vector<uint8_t> bytes{};   // height * width * channels where white is 255; else empty
  std::vector<uint16_t> words{};  // where white is 65535; else empty
};

}  // namespace lockstep

#endif  // LOCKSTEP_ENGINE_DATA_IMAGE_PICTURE_H_
