// JPEG files by libjpeg-turbo. decode.h says what comes out, and is what others include.
#ifndef LOCKSTEP_ENGINE_DATA_IMAGE_JPEG_H_
#define LOCKSTEP_ENGINE_DATA_IMAGE_JPEG_H_

#include <cstdint>
#include <span>
#include <string>

#include "engine/base/status.h"
#include "engine/data/image/decode.h"

namespace lockstep::inline v0_1 {

bool IsJpeg(std::span<const uint8_t> file);

// Errors say what is wrong, without the file's name. REQUIRES: IsJpeg(file).
Result<PictureInfo> InspectJpeg(std::span<const uint8_t> file);
// As stored: 1 or 3 channels, not yet turned upright; `info` gets what InspectJpeg gives.
Result<Picture> DecodeJpeg(std::span<const uint8_t> file, int64_t max_pixels, PictureInfo& info);

}  // namespace lockstep

#endif  // LOCKSTEP_ENGINE_DATA_IMAGE_JPEG_H_
