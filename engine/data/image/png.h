// PNG files by libpng. decode.h says what comes out, and is what others include.
#ifndef LOCKSTEP_ENGINE_DATA_IMAGE_PNG_H_
#define LOCKSTEP_ENGINE_DATA_IMAGE_PNG_H_

#include <cstdint>
#include <span>
#include <string>

#include "engine/base/status.h"
#include "engine/data/image/decode.h"

namespace lockstep::inline v0_1 {

bool IsPng(std::span<const uint8_t> file);

// Errors say what is wrong, without the file's name. REQUIRES: IsPng(file).
Result<PictureInfo> InspectPng(std::span<const uint8_t> file);
// As stored: 1 or 3 channels, not yet turned upright; `info` gets what InspectPng gives.
Result<Picture> DecodePng(std::span<const uint8_t> file, int64_t max_pixels, PictureInfo& info);

}  // namespace lockstep

#endif  // LOCKSTEP_ENGINE_DATA_IMAGE_PNG_H_
