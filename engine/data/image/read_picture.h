// Picture files for OpenPictures (picture_source.h).
#ifndef LOCKSTEP_ENGINE_DATA_IMAGE_READ_PICTURE_H_
#define LOCKSTEP_ENGINE_DATA_IMAGE_READ_PICTURE_H_

#include <string>

#include "engine/base/status.h"
#include "engine/data/image/decode.h"
#include "engine/data/image/picture.h"

namespace lockstep::inline v0_1 {

// The PNG or JPEG file at `path`. Thread-safe. Errors name the path: those of ReadFile and of
// DecodePicture.
Result<Picture> ReadPicture(const std::string& path, const DecodeOptions& options = {});

}  // namespace lockstep

#endif  // LOCKSTEP_ENGINE_DATA_IMAGE_READ_PICTURE_H_
