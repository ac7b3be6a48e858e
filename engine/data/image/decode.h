// Pictures out of PNG and JPEG files, by libpng and libjpeg-turbo.
//
// The same file gives the same pixels everywhere: JPEG's accurate integer transform, no gamma, no
// colour profile, no floating point.
//
//   PNG   1 to 16 bits, grey, RGB, palette, interlaced or not. Grey of 1, 2 and 4 bits is spread to
//         0..255; 16 bits stay 16 bits. Alpha and tRNS are composed on white: round((a v + (W - a)
//         W) / W) of the stored values, W being white. bKGD, gAMA, sBIT and iCCP are hints to a
//         screen and not applied.
//   JPEG  8 bits, grey, YCbCr, RGB, CMYK, YCCK, baseline, progressive or arithmetic. Halved chroma
//         is brought back by the triangle filter ("fancy"), whose integer arithmetic is the same in
//         the C code and all SIMD code of libjpeg-turbo, and which Pillow, OpenCV and PyTorch use.
//         Smoothing of unfinished progressive scans, which has changed between versions, is off.
//         CMYK is taken to be stored inverted, as Adobe does, with its marker and without: r =
//         round(c k / 255).
//   Both  An EXIF orientation is applied; EXIF data that is broken is ignored.
//   Grey from colour is (19595 r + 38470 g + 7471 b + 32768) >> 16 (ITU-R BT.601, as in Pillow).
//
// What is cut off or damaged is refused, not guessed at.
//
// Not part of the library, which does without libpng and libjpeg: what implements this is linked
// with the recipes, by the program and the C interface.
#ifndef LOCKSTEP_ENGINE_DATA_IMAGE_DECODE_H_
#define LOCKSTEP_ENGINE_DATA_IMAGE_DECODE_H_

#include <cstdint>
#include <span>
#include <string>

#include "engine/base/status.h"
#include "engine/data/image/picture.h"

namespace lockstep::inline v0_1 {

// What is known of a picture before it is decoded. Height and width are those of the picture
// upright, as DecodePicture gives it.
struct PictureInfo {
  enum class Kind { kPng, kJpeg };
  Kind kind = Kind::kPng;
  int64_t height = 0;
  int64_t width = 0;
  int64_t channels = 0;     // 1 or 3: as decoded
  int64_t white = 255;      // 255 or 65535
  int64_t orientation = 1;  // 1 to 8, as EXIF counts
};

struct DecodeOptions {
  // More height * width than this is refused before memory is taken.
  int64_t max_pixels = int64_t{1} << 27;
  // 1 or 3: the picture is made grey or RGB. 0: as in the file.
  int64_t channels = 0;
};

// `file` is the content of a whole file and may be hostile; `name` goes into messages. Errors, each
// naming the file: not a PNG or JPEG (with what it is instead, where that is known: gzip, WebP,
// GIF, BMP, ...), cut off, damaged, of a kind that is not read (12-bit JPEG), too large.
// Thread-safe: functions of their arguments.
Result<Picture> DecodePicture(std::span<const uint8_t> file, const std::string& name,
                              const DecodeOptions& options = {});

// Reads the header only: a damaged body goes unnoticed.
Result<PictureInfo> InspectPicture(std::span<const uint8_t> file, const std::string& name);

// The error of a picture with more than max_pixels pixels. For the decoders of single formats.
Status CheckPictureSize(int64_t height, int64_t width, int64_t max_pixels);

}  // namespace lockstep

#endif  // LOCKSTEP_ENGINE_DATA_IMAGE_DECODE_H_
