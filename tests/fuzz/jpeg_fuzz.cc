// JPEG files, EXIF data among them.
#include <cstddef>
#include <cstdint>
#include <span>

#include "tests/fuzz/picture_fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  lockstep::FuzzPicture(std::span(data, size));
  return 0;
}
