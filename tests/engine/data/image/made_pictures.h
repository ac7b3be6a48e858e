// Pictures made up by tests, as files.
#ifndef LOCKSTEP_TESTS_ENGINE_DATA_IMAGE_MADE_PICTURES_H_
#define LOCKSTEP_TESTS_ENGINE_DATA_IMAGE_MADE_PICTURES_H_

// jpeglib.h uses size_t and FILE without including what declares them.
#include <cstddef>
#include <cstdio>
//
#include <jpeglib.h>
#include <zlib.h>

#include <cstdint>
#include <cstdlib>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace lockstep::inline v0_1 {

inline std::span<const uint8_t> BytesOf(std::string_view text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

// `size` bytes of `value`, the highest first, or (EXIF's other order) the lowest.
inline std::string Bytes(uint64_t value, int size, bool big_endian = true) {
  std::string text;
  for (int i = 0; i < size; ++i) {
    text += static_cast<char>(value >> (8 * (big_endian ? size - 1 - i : i)) & 0xFF);
  }
  return text;
}

// EXIF data with one entry.
inline std::string ExifData(int orientation, bool big_endian = true) {
  const auto number = [&](uint64_t value, int size) { return Bytes(value, size, big_endian); };
  return std::string(big_endian ? "MM" : "II") + number(42, 2) + number(8, 4) + number(1, 2) +
         number(0x0112, 2) + number(3, 2) + number(1, 4) +
         number(static_cast<uint64_t>(orientation), 2) + number(0, 2) + number(0, 4);
}

inline std::string PngChunk(const std::string& name, const std::string& body) {
  const std::string checked = name + body;
  const uLong sum = crc32(0, BytesOf(checked).data(), static_cast<uInt>(checked.size()));
  return Bytes(body.size(), 4) + checked + Bytes(sum, 4);
}

inline const std::string kPngSignature = "\x89PNG\r\n\x1A\n";

inline std::string PngHeader(uint32_t height, uint32_t width, int depth, int colours,
                             int interlaced = 0) {
  return PngChunk("IHDR", Bytes(width, 4) + Bytes(height, 4) +
                              Bytes(static_cast<uint64_t>(depth), 1) +
                              Bytes(static_cast<uint64_t>(colours), 1) + std::string(2, '\0') +
                              Bytes(static_cast<uint64_t>(interlaced), 1));
}

inline std::string Deflated(const std::string& bytes) {
  uLongf size = compressBound(bytes.size());
  std::string packed(size, '\0');
  compress(reinterpret_cast<Bytef*>(packed.data()), &size, BytesOf(bytes).data(), bytes.size());
  packed.resize(size);
  return packed;
}

// rows: each with its filter byte in front. `before` and `after`: chunks around the pixels.
inline std::string PngFile(uint32_t height, uint32_t width, int depth, int colours,
                           const std::string& rows, const std::string& before = "",
                           const std::string& after = "") {
  return kPngSignature + PngHeader(height, width, depth, colours) + before +
         PngChunk("IDAT", Deflated(rows)) + after + PngChunk("IEND", "");
}

struct JpegSettings {
  int quality = 90;
  J_COLOR_SPACE from = JCS_RGB;  // of the pixels given
  J_COLOR_SPACE stored = JCS_YCbCr;
  int horizontal = 1, vertical = 1;  // sampling of the first component: 2, 2 halves chroma
  bool progressive = false;
  bool adobe_marker = false;
  std::string exif = {};
};

// pixels: height * width * (1, 3 or 4) values.
inline std::string JpegFile(int height, int width, std::vector<uint8_t> pixels,
                            const JpegSettings& settings = {}) {
  jpeg_compress_struct jpeg{};
  jpeg_error_mgr errors{};
  jpeg.err = jpeg_std_error(&errors);
  jpeg_create_compress(&jpeg);
  unsigned char* memory = nullptr;
  unsigned long size = 0;  // NOLINT: libjpeg's type
  jpeg_mem_dest(&jpeg, &memory, &size);
  jpeg.image_height = static_cast<JDIMENSION>(height);
  jpeg.image_width = static_cast<JDIMENSION>(width);
  jpeg.in_color_space = settings.from;
  jpeg.input_components = settings.from == JCS_GRAYSCALE ? 1 : settings.from == JCS_CMYK ? 4 : 3;
  jpeg_set_defaults(&jpeg);
  jpeg_set_colorspace(&jpeg, settings.stored);
  jpeg_set_quality(&jpeg, settings.quality, TRUE);
  jpeg.dct_method = JDCT_ISLOW;
  for (int c = 0; c < jpeg.num_components; ++c) {
    jpeg.comp_info[c].h_samp_factor = c == 0 ? settings.horizontal : 1;
    jpeg.comp_info[c].v_samp_factor = c == 0 ? settings.vertical : 1;
  }
  jpeg.write_Adobe_marker = settings.adobe_marker ? TRUE : FALSE;
  if (settings.progressive) jpeg_simple_progression(&jpeg);
  jpeg_start_compress(&jpeg, TRUE);
  if (!settings.exif.empty()) {
    const std::string body = std::string("Exif\0\0", 6) + settings.exif;
    jpeg_write_marker(&jpeg, JPEG_APP0 + 1, BytesOf(body).data(),
                      static_cast<unsigned>(body.size()));
  }
  const size_t row_bytes = static_cast<size_t>(width) * static_cast<size_t>(jpeg.input_components);
  for (size_t y = 0; y < static_cast<size_t>(height); ++y) {
    uint8_t* row = pixels.data() + y * row_bytes;
    (void)jpeg_write_scanlines(&jpeg, &row, 1);
  }
  jpeg_finish_compress(&jpeg);
  std::string file(reinterpret_cast<const char*>(memory), size);
  jpeg_destroy_compress(&jpeg);
  std::free(memory);
  return file;
}

}  // namespace lockstep

#endif  // LOCKSTEP_TESTS_ENGINE_DATA_IMAGE_MADE_PICTURES_H_
