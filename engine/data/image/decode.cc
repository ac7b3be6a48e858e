#include "engine/data/image/decode.h"

#include <algorithm>
#include <cstddef>
#include <string_view>
#include <utility>

#include "engine/base/check.h"
#include "engine/data/image/exif.h"
#include "engine/data/image/jpeg.h"
#include "engine/data/image/png.h"
#include "engine/io/file_kind.h"

namespace lockstep::inline v0_1 {
namespace {

using namespace std::string_view_literals;

struct KnownStart {
  size_t offset;
  std::string_view bytes;
  const char* what;
};
// What is often found where a picture should be.
constexpr KnownStart kKnownStarts[] = {
    {0, "\x1F\x8B"sv, "is compressed with gzip; unpack it first (gunzip)"},
    {0, "PK\x03\x04"sv, "is a ZIP archive; unpack it first"},
    {8, "WEBP"sv, "is a WebP picture; convert it to PNG or JPEG"},
    {0, "GIF8"sv, "is a GIF picture; convert it to PNG or JPEG"},
    {0, "BM"sv, "is a BMP picture; convert it to PNG or JPEG"},
    {0, "II*\0"sv, "is a TIFF picture; convert it to PNG or JPEG"},
    {0, "MM\0*"sv, "is a TIFF picture; convert it to PNG or JPEG"},
    {4, "ftypavi"sv, "is an AVIF picture; convert it to PNG or JPEG"},
    {4, "ftyphe"sv, "is a HEIC picture; convert it to PNG or JPEG"},
    {4, "ftypmif1"sv, "is a HEIC picture; convert it to PNG or JPEG"},
    {4, "ftypmsf1"sv, "is a HEIC picture; convert it to PNG or JPEG"},
    {0, "\0\0\0\x0CjP  "sv, "is a JPEG 2000 picture; convert it to PNG or JPEG"},
    {0, "\xFF\x4F\xFF\x51"sv, "is a JPEG 2000 picture; convert it to PNG or JPEG"},
    {0, "\xFF\x0A"sv, "is a JPEG XL picture; convert it to PNG or JPEG"},
    {0, "\0\0\0\x0CJXL "sv, "is a JPEG XL picture; convert it to PNG or JPEG"},
    {0, "8BPS"sv, "is a Photoshop file; convert it to PNG or JPEG"},
    {0, "%PDF"sv, "is a PDF document; convert it to PNG or JPEG"},
    {0, "<svg"sv, "is an SVG drawing; convert it to PNG or JPEG"},
    {0, "<!DOCTYPE"sv, "is a web page, not a picture: was the download refused?"},
    {0, "<!doctype"sv, "is a web page, not a picture: was the download refused?"},
    {0, "<html"sv, "is a web page, not a picture: was the download refused?"},
};

Status NotAPicture(std::span<const uint8_t> file) {
  if (file.empty()) return Status::Corrupt("is empty; fetch the file again");
  const std::string_view text(reinterpret_cast<const char*>(file.data()),
                              std::min<size_t>(file.size(), 64));
  for (const KnownStart& known : kKnownStarts) {
    if (text.size() < known.offset + known.bytes.size()) continue;
    if (text.substr(known.offset, known.bytes.size()) == known.bytes) {
      return Status::Corrupt(known.what);
    }
  }
  if (text.substr(0, 8).find("PNG") != std::string_view::npos) {
    return Status::Corrupt(
        "is a PNG with damaged first bytes, as when it was sent as text; fetch the file again");
  }
  if (const std::string kind(FileKind({reinterpret_cast<const char*>(file.data()), file.size()}));
      !kind.empty()) {
    return Status::Corrupt("is " + kind + ", not a picture");
  }
  return Status::Corrupt("is not a picture: it begins neither as PNG nor as JPEG do");
}

template <class T>
std::vector<T> Grey(const std::vector<T>& rgb) {
  std::vector<T> grey(rgb.size() / 3);
  for (size_t i = 0; i < grey.size(); ++i) {
    // The weights add to 65536: at most 65535 * 65536 + 32768, which fits 32 bits.
    const uint32_t r = rgb[3 * i], g = rgb[3 * i + 1], b = rgb[3 * i + 2];
    grey[i] = static_cast<T>((19595 * r + 38470 * g + 7471 * b + 32768) >> 16);
  }
  return grey;
}

template <class T>
std::vector<T> Rgb(const std::vector<T>& grey) {
  std::vector<T> rgb(3 * grey.size());
  for (size_t i = 0; i < rgb.size(); ++i) rgb[i] = grey[i / 3];
  return rgb;
}

// One of the two vectors is empty and stays so.
void SetChannels(int64_t channels, Picture& picture) {
  if (picture.channels == channels) return;
  const bool to_grey = channels == 1;
  picture.bytes = to_grey ? Grey(picture.bytes) : Rgb(picture.bytes);
  picture.words = to_grey ? Grey(picture.words) : Rgb(picture.words);
  picture.channels = channels;
}

Result<Picture> Decode(std::span<const uint8_t> file, const DecodeOptions& options) {
  PictureInfo info;
  const auto decode = IsPng(file) ? DecodePng : IsJpeg(file) ? DecodeJpeg : nullptr;
  if (decode == nullptr) return NotAPicture(file);
  LOCKSTEP_TRY_ASSIGN(Picture picture, decode(file, options.max_pixels, info));
  if (options.channels != 0) SetChannels(options.channels, picture);
  ApplyOrientation(static_cast<int>(info.orientation), picture);
  return picture;
}

Result<PictureInfo> Inspect(std::span<const uint8_t> file) {
  if (IsPng(file)) return InspectPng(file);
  if (IsJpeg(file)) return InspectJpeg(file);
  return NotAPicture(file);
}

}  // namespace

Status CheckPictureSize(int64_t height, int64_t width, int64_t max_pixels) {
  if (height <= max_pixels / width) return Status::Ok();
  return Status::Corrupt("claims " + std::to_string(height) + " x " + std::to_string(width) +
                         " pixels, more than the limit of " + std::to_string(max_pixels) +
                         "; the file is damaged, or the limit too low");
}

Result<Picture> DecodePicture(std::span<const uint8_t> file, const std::string& name,
                              const DecodeOptions& options) {
  LOCKSTEP_CHECK(options.channels == 0 || options.channels == 1 || options.channels == 3,
                 "pictures have 1 or 3 channels");
  Result<Picture> picture = Decode(file, options);
  if (!picture.ok()) return picture.status().At(name);
  return picture;
}

Result<PictureInfo> InspectPicture(std::span<const uint8_t> file, const std::string& name) {
  Result<PictureInfo> info = Inspect(file);
  if (!info.ok()) return info.status().At(name);
  return info;
}

}  // namespace lockstep
