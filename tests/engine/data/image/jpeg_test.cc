#include "engine/data/image/jpeg.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <string>

#include "tests/engine/data/image/made_pictures.h"

namespace lockstep::inline v0_1 {
namespace {

using ::testing::ElementsAreArray;
using ::testing::HasSubstr;

Picture Decode(const std::string& file) {
  Result<Picture> picture = DecodePicture(BytesOf(file), "t.jpg");
  EXPECT_TRUE(picture.ok()) << picture.status().message();
  return picture.ok() ? *picture : Picture{};
}
std::string ErrorOf(const std::string& file) {
  const Result<Picture> picture = DecodePicture(BytesOf(file), "t.jpg");
  return picture.ok() ? "(no error)" : picture.status().message();
}

// Smooth and sharp parts, by formula: the same everywhere.
std::vector<uint8_t> Pattern(int height, int width, int channels) {
  std::vector<uint8_t> pixels;
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) {
      for (int c = 0; c < channels; ++c) {
        const int smooth = (x * 5 + y * 3 * (c + 1)) % 256;
        pixels.push_back(
            static_cast<uint8_t>((x / 8 + y / 8) % 2 == 0 ? smooth : x * y * 31 + c * 80));
      }
    }
  }
  return pixels;
}

std::vector<uint8_t> ByLibjpeg(const std::string& file, J_DCT_METHOD method) {
  jpeg_decompress_struct jpeg{};
  jpeg_error_mgr errors{};
  jpeg.err = jpeg_std_error(&errors);
  jpeg_create_decompress(&jpeg);
  jpeg_mem_src(&jpeg, BytesOf(file).data(), file.size());
  jpeg_read_header(&jpeg, TRUE);
  jpeg.dct_method = method;
  jpeg_start_decompress(&jpeg);
  const auto row_bytes = static_cast<size_t>(jpeg.output_width) * 3;
  std::vector<uint8_t> pixels(jpeg.output_height * row_bytes);
  while (jpeg.output_scanline < jpeg.output_height) {
    uint8_t* row = pixels.data() + jpeg.output_scanline * row_bytes;
    jpeg_read_scanlines(&jpeg, &row, 1);
  }
  jpeg_finish_decompress(&jpeg);
  jpeg_destroy_decompress(&jpeg);
  return pixels;
}

TEST(JpegTest, TheAccurateIntegerTransformIsUsed) {
  const std::string file =
      JpegFile(37, 53, Pattern(37, 53, 3), {.quality = 60, .horizontal = 2, .vertical = 2});
  const std::vector<uint8_t> pixels = Decode(file).bytes;
  EXPECT_EQ(pixels, ByLibjpeg(file, JDCT_ISLOW));
  EXPECT_NE(pixels, ByLibjpeg(file, JDCT_IFAST));
  // The same bits with every version: those that Pillow 13 with libjpeg-turbo 3.1.3 reads from
  // this file, which has this checksum.
  EXPECT_EQ(crc32(0, BytesOf(file).data(), static_cast<uInt>(file.size())), 0x49DD9B50u);
  EXPECT_EQ(crc32(0, pixels.data(), static_cast<uInt>(pixels.size())), 0x2E1BE886u);
}

TEST(JpegTest, ProgressiveFilesReadAsBaselineOnesDo) {
  const std::vector<uint8_t> pixels = Pattern(19, 23, 3);
  EXPECT_EQ(Decode(JpegFile(19, 23, pixels)).bytes,
            Decode(JpegFile(19, 23, pixels, {.progressive = true})).bytes);
}

TEST(JpegTest, GreyAndStoredRgb) {
  const std::vector<uint8_t> grey = Pattern(9, 11, 1);
  const Picture one = Decode(
      JpegFile(9, 11, grey, {.quality = 100, .from = JCS_GRAYSCALE, .stored = JCS_GRAYSCALE}));
  EXPECT_EQ(one.channels, 1);
  EXPECT_EQ(one.white, 255);
  // Quality 100 divides by 1: what is left is rounding, of 64 coefficients by half a unit each, in
  // an orthonormal transform.
  for (size_t i = 0; i < grey.size(); ++i) EXPECT_LE(std::abs(one.bytes[i] - grey[i]), 4) << i;
  const std::vector<uint8_t> rgb = Pattern(9, 11, 3);
  const Picture three =
      Decode(JpegFile(9, 11, rgb, {.quality = 100, .stored = JCS_RGB, .adobe_marker = true}));
  ASSERT_EQ(three.channels, 3);
  for (size_t i = 0; i < rgb.size(); ++i) EXPECT_LE(std::abs(three.bytes[i] - rgb[i]), 4) << i;
}

// ImageNet holds 320 files of four components: stored inverted, with Adobe's marker or without.
TEST(JpegTest, FourComponentsBecomeRgb) {
  // One colour over whole blocks keeps its values: ink (255 - stored) of 55, 155, 255 and 75.
  const std::vector<uint8_t> stored = {200, 100, 0, 180};
  std::vector<uint8_t> pixels, expected;
  for (int i = 0; i < 64; ++i) {
    pixels.insert(pixels.end(), stored.begin(), stored.end());
    // 200 * 180 / 255 = 141.2, 100 * 180 / 255 = 70.6, 0.
    for (const uint8_t v : {141, 71, 0}) expected.push_back(v);
  }
  JpegSettings settings{.quality = 100, .from = JCS_CMYK, .stored = JCS_CMYK};
  for (const bool marker : {true, false}) {
    settings.adobe_marker = marker;
    EXPECT_THAT(Decode(JpegFile(8, 8, pixels, settings)).bytes, ElementsAreArray(expected));
  }
  settings.stored = JCS_YCCK;
  settings.adobe_marker = true;
  const std::vector<uint8_t> ycck = Decode(JpegFile(8, 8, pixels, settings)).bytes;
  ASSERT_EQ(ycck.size(), expected.size());
  // By way of YCC, a unit or two may be lost.
  for (size_t i = 0; i < ycck.size(); ++i) EXPECT_LE(std::abs(ycck[i] - expected[i]), 2) << i;
}

TEST(JpegTest, ExifTurnsThePicture) {
  const std::vector<uint8_t> pixels = Pattern(8, 16, 3);
  const Picture plain = Decode(JpegFile(8, 16, pixels));
  const std::string file = JpegFile(8, 16, pixels, {.exif = ExifData(6)});
  const Picture turned = Decode(file);
  EXPECT_EQ(turned.height, 16);
  EXPECT_EQ(turned.width, 8);
  for (int64_t y = 0; y < 16; ++y) {
    for (int64_t x = 0; x < 8; ++x) {
      EXPECT_EQ(turned.bytes[static_cast<size_t>((y * 8 + x) * 3)],
                plain.bytes[static_cast<size_t>(((7 - x) * 16 + y) * 3)]);
    }
  }
  const PictureInfo info = *InspectPicture(BytesOf(file), "t");
  EXPECT_EQ(info.height, 16);
  EXPECT_EQ(info.orientation, 6);
}

TEST(JpegTest, BrokenExifIsIgnored) {
  const std::vector<uint8_t> pixels = Pattern(8, 8, 3);
  const std::vector<uint8_t> plain = Decode(JpegFile(8, 8, pixels)).bytes;
  for (const std::string& exif : {ExifData(9), ExifData(0), ExifData(6).substr(0, 15),
                                  std::string("MM"), std::string(40, '\xFF')}) {
    EXPECT_EQ(Decode(JpegFile(8, 8, pixels, {.exif = exif})).bytes, plain);
  }
}

TEST(JpegTest, DamagedPixelsAreRefusedAndStrayBytesAreNot) {
  std::string file = JpegFile(32, 32, Pattern(32, 32, 3));
  std::string stray = file;
  stray.insert(stray.size() - 2, std::string(9, '\x55'));
  EXPECT_EQ(ErrorOf(stray), "(no error)");
  // The pixels end early, by a marker of the end in their midst.
  file.replace(file.size() / 2, 2, "\xFF\xD9");
  EXPECT_THAT(ErrorOf(file), HasSubstr("t.jpg: is damaged"));
}

TEST(JpegTest, KindsThatAreNotReadAreNamed) {
  std::string file = JpegFile(8, 8, Pattern(8, 8, 3));
  const size_t frame = file.find("\xFF\xC0");
  ASSERT_NE(frame, std::string::npos);
  file[frame + 4] = 12;                               // bits
  EXPECT_THAT(ErrorOf(file), HasSubstr("recision"));  // "Unsupported JPEG data precision 12"
  file[frame + 4] = 8;
  file[frame + 1] = '\xC3';
  EXPECT_THAT(ErrorOf(file), HasSubstr("t.jpg: is damaged or of a kind that is not read"));
}

}  // namespace
}  // namespace lockstep
