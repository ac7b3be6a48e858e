// The one thing in EXIF data that changes pixels: which way up the camera was held.
#ifndef LOCKSTEP_ENGINE_DATA_IMAGE_EXIF_H_
#define LOCKSTEP_ENGINE_DATA_IMAGE_EXIF_H_

#include <cstdint>
#include <span>

#include "engine/data/image/picture.h"

namespace lockstep::inline v0_1 {

// The orientation (1 to 8) of EXIF data, which begins with a TIFF header; 1 where there is none or
// the data is broken. Untrusted input.
int ExifOrientation(std::span<const uint8_t> tiff);

// Whether an orientation makes rows of columns.
inline bool SwapsSides(int orientation) { return orientation >= 5; }

// Turns and mirrors the picture so that it stands upright. REQUIRES: orientation in 1 to 8.
void ApplyOrientation(int orientation, Picture& picture);

}  // namespace lockstep

#endif  // LOCKSTEP_ENGINE_DATA_IMAGE_EXIF_H_
