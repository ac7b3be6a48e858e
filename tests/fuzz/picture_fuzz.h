// What the targets for PNG and JPEG share: bytes are decoded in every way that is offered.
#ifndef LOCKSTEP_TESTS_FUZZ_PICTURE_FUZZ_H_
#define LOCKSTEP_TESTS_FUZZ_PICTURE_FUZZ_H_

#include <cstdint>
#include <span>
#include <string>

#include "engine/data/image/decode.h"
#include "tests/fuzz/require.h"

namespace lockstep::inline v0_1 {

inline void RequireOneLine(const Status& status) {
  Require(status.message().size() < 1000);
  Require(status.message().find('\n') == std::string::npos);
}

// What is accepted must have as many values as its size says, within the limit, and be what the
// look at its header promised.
inline void FuzzPicture(std::span<const uint8_t> file) {
  constexpr int64_t kMostPixels = 1 << 16;
  const Result<PictureInfo> info = InspectPicture(file, "fuzz");
  if (!info.ok()) RequireOneLine(info.status());
  for (const int64_t channels : {0, 1, 3}) {
    const Result<Picture> picture =
        DecodePicture(file, "fuzz", {.max_pixels = kMostPixels, .channels = channels});
    if (!picture.ok()) {
      RequireOneLine(picture.status());
      return;
    }
    Require(info.ok());
    Require(picture->height == info->height && picture->width == info->width);
    Require(picture->channels == (channels == 0 ? info->channels : channels));
    Require(picture->white == info->white);
    Require(picture->height >= 1 && picture->height <= kMostPixels / picture->width);
    const auto values = static_cast<size_t>(picture->height * picture->width * picture->channels);
    Require(picture->bytes.size() == (picture->white == 255 ? values : 0));
    Require(picture->words.size() == (picture->white == 255 ? 0 : values));
  }
}

}  // namespace lockstep

#endif  // LOCKSTEP_TESTS_FUZZ_PICTURE_FUZZ_H_
