#include "engine/data/image/exif.h"

#include <cstddef>
#include <utility>

#include "engine/base/check.h"

namespace lockstep::inline v0_1 {
namespace {

// Numbers of either byte order in bytes that may end anywhere.
class TiffReader {
 public:
  explicit TiffReader(std::span<const uint8_t> bytes) : bytes_(bytes) {}

  void set_big_endian(bool big) { big_endian_ = big; }
  bool Has(size_t offset, size_t count) const {
    return offset <= bytes_.size() && count <= bytes_.size() - offset;
  }
  // REQUIRES: Has(offset, size).
  uint32_t Number(size_t offset, size_t size) const {
    uint32_t value = 0;
    for (size_t i = 0; i < size; ++i) {
      value = value << 8 | bytes_[offset + (big_endian_ ? i : size - 1 - i)];
    }
    return value;
  }

 private:
  std::span<const uint8_t> bytes_;
  bool big_endian_ = false;
};

// Pixel (y, x) of what comes out is pixel (row, column) of what was stored.
//
//   1  (y, x)           2  (y, W-1-x)       3  (H-1-y, W-1-x)   4  (H-1-y, x)
//   5  (x, y)           6  (H-1-x, y)       7  (H-1-x, W-1-y)   8  (x, W-1-y)
//
// H and W are those of what was stored; from 5 on, height and width change places.
template <class T>
std::vector<T> Turned(const std::vector<T>& from, int orientation, int64_t height, int64_t width,
                      int64_t channels) {
  const bool swaps = SwapsSides(orientation);
  const bool flips_rows =
      orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7;
  const bool flips_columns =
      orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8;
  std::vector<T> to(from.size());
  T* next = to.data();
  for (int64_t y = 0; y < (swaps ? width : height); ++y) {
    for (int64_t x = 0; x < (swaps ? height : width); ++x) {
      int64_t row = swaps ? x : y;
      int64_t column = swaps ? y : x;
      if (flips_rows) row = height - 1 - row;
      if (flips_columns) column = width - 1 - column;
      const T* pixel = from.data() + (row * width + column) * channels;
      for (int64_t c = 0; c < channels; ++c) *next++ = pixel[c];
    }
  }
  return to;
}

}  // namespace

// TIFF: "II" or "MM", 42, the offset of the first directory: a count, then entries of 12 bytes:
// tag, type, count, and the value itself where it fits into 4 bytes.
int ExifOrientation(std::span<const uint8_t> tiff) {
  constexpr uint32_t kOrientation = 0x0112, kShort = 3, kLong = 4;
  TiffReader reader(tiff);
  if (!reader.Has(0, 8) || tiff[0] != tiff[1] || (tiff[0] != 'I' && tiff[0] != 'M')) return 1;
  reader.set_big_endian(tiff[0] == 'M');
  if (reader.Number(2, 2) != 42) return 1;
  const size_t directory = reader.Number(4, 4);
  if (!reader.Has(directory, 2)) return 1;
  const size_t entries = reader.Number(directory, 2);
  for (size_t i = 0; i < entries; ++i) {
    const size_t entry = directory + 2 + 12 * i;
    if (!reader.Has(entry, 12)) return 1;
    if (reader.Number(entry, 2) != kOrientation) continue;
    const uint32_t type = reader.Number(entry + 2, 2);
    if (reader.Number(entry + 4, 4) != 1 || (type != kShort && type != kLong)) return 1;
    const uint32_t value = reader.Number(entry + 8, type == kShort ? 2 : 4);
    return value >= 1 && value <= 8 ? static_cast<int>(value) : 1;
  }
  return 1;
}

void ApplyOrientation(int orientation, Picture& picture) {
  LOCKSTEP_CHECK(orientation >= 1 && orientation <= 8, "an orientation is one of eight");
  if (orientation == 1) return;
  if (picture.white == 255) {
    picture.bytes =
        Turned(picture.bytes, orientation, picture.height, picture.width, picture.channels);
  } else {
    picture.words =
        Turned(picture.words, orientation, picture.height, picture.width, picture.channels);
  }
  if (SwapsSides(orientation)) std::swap(picture.height, picture.width);
}

}  // namespace lockstep
