#include "engine/data/image/decode.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <fstream>
#include <sstream>
#include <string>

#include "engine/base/random.h"
#include "tests/engine/data/data_files.h"
#include "tests/engine/data/image/made_pictures.h"
#include "tests/engine/io/temporary_folder.h"

namespace lockstep::inline v0_1 {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::StartsWith;

Result<Picture> Decode(const std::string& file, const DecodeOptions& options = {}) {
  return DecodePicture(BytesOf(file), "t.img", options);
}
std::string ErrorOf(const std::string& file, const DecodeOptions& options = {}) {
  const Result<Picture> picture = Decode(file, options);
  return picture.ok() ? "(no error)" : picture.status().message();
}

// What tests/golden/make_pictures.py found out with other programs.
TEST(DecodeTest, PicturesReadAsOtherProgramsReadThem) {
  LOCKSTEP_NEEDS_REAL_FILE("odd_images/README.md");
  std::ifstream golden(std::string(LOCKSTEP_SOURCE_DIR) + "/tests/golden/pictures.txt");
  int decoded = 0, refused = 0;
  for (std::string line; std::getline(golden, line);) {
    std::istringstream fields(line);
    std::string name, first;
    fields >> name >> first;
    if (name == "#") continue;
    SCOPED_TRACE(name);
    const std::string file = Slurp(RealFile("odd_images/" + name));
    const Result<Picture> picture = DecodePicture(BytesOf(file), name);
    const Result<PictureInfo> info = InspectPicture(BytesOf(file), name);
    if (first == "refused") {
      ++refused;
      ASSERT_FALSE(picture.ok());
      EXPECT_THAT(picture.status().message(), StartsWith(name + ": "));
      continue;
    }
    ++decoded;
    ASSERT_TRUE(picture.ok()) << picture.status().message();
    int64_t width = 0, channels = 0, white = 0;
    std::string sum;
    fields >> width >> channels >> white >> sum;
    EXPECT_EQ(picture->height, std::stoll(first));
    EXPECT_EQ(picture->width, width);
    EXPECT_EQ(picture->channels, channels);
    EXPECT_EQ(picture->white, white);
    uLong crc = 0;
    if (white == 255) {
      crc = crc32(0, picture->bytes.data(), static_cast<uInt>(picture->bytes.size()));
    }
    for (const uint16_t word : picture->words) {
      crc = crc32(crc, BytesOf(Bytes(word, 2, false)).data(), 2);
    }
    EXPECT_EQ(crc, std::stoul(sum, nullptr, 16));
    ASSERT_TRUE(info.ok());
    EXPECT_EQ(info->height, picture->height);
    EXPECT_EQ(info->width, picture->width);
    EXPECT_EQ(info->channels, picture->channels);
    EXPECT_EQ(info->white, picture->white);
  }
  EXPECT_EQ(decoded, 93);
  EXPECT_EQ(refused, 12);
}

TEST(DecodeTest, GreyAndColourOnDemand) {
  const std::string rgb = PngFile(1, 2, 8, 2, std::string("\0\xFF\0\0\x0A\x14\x1E", 7));
  EXPECT_THAT(Decode(rgb)->bytes, ElementsAre(255, 0, 0, 10, 20, 30));
  // (19595 * 255 + 32768) / 65536 and (195950 + 769400 + 224130 + 32768) / 65536.
  const Picture grey = *Decode(rgb, {.channels = 1});
  EXPECT_EQ(grey.channels, 1);
  EXPECT_THAT(grey.bytes, ElementsAre(76, 18));
  const std::string one = PngFile(1, 2, 16, 0, std::string("\0\x01\x02\xFF\xFF", 5));
  const Picture words = *Decode(one, {.channels = 3});
  EXPECT_EQ(words.channels, 3);
  EXPECT_THAT(words.words, ElementsAre(0x102, 0x102, 0x102, 65535, 65535, 65535));
  const std::string white = PngFile(1, 1, 16, 2, std::string("\0\xFF\xFF\xFF\xFF\xFF\xFF", 7));
  EXPECT_THAT(Decode(white, {.channels = 1})->words, ElementsAre(65535));
}

TEST(DecodeTest, OtherFilesAreCalledByTheirNames) {
  EXPECT_THAT(ErrorOf(""), AllOf(StartsWith("t.img: "), HasSubstr("is empty")));
  EXPECT_THAT(ErrorOf("\x1F\x8B\x08"), HasSubstr("gzip"));
  EXPECT_THAT(ErrorOf("RIFF....WEBPVP8 "), HasSubstr("WebP"));
  EXPECT_THAT(ErrorOf("GIF89a"), HasSubstr("GIF"));
  EXPECT_THAT(ErrorOf("BM"), HasSubstr("BMP"));
  EXPECT_THAT(ErrorOf(std::string("II*\0", 4)), HasSubstr("TIFF"));
  EXPECT_THAT(ErrorOf(std::string("\0\0\0\x18", 4) + "ftypheic"), HasSubstr("HEIC"));
  EXPECT_THAT(ErrorOf(std::string("\0\0\0\x18", 4) + "ftypavif"), HasSubstr("AVIF"));
  EXPECT_THAT(ErrorOf("<!DOCTYPE html>"), HasSubstr("web page"));
  EXPECT_THAT(ErrorOf("\x89PNG\n\x1A\n"), HasSubstr("sent as text"));
  EXPECT_THAT(ErrorOf("hello"), HasSubstr("is not a picture"));
  EXPECT_THAT(ErrorOf("\xFF\xD8"), HasSubstr("is not a picture"));
}

TEST(DecodeTest, AGzippedJpegIsSaidToBeOne) {
  const TemporaryFolder folder;
  SpillGzip(folder / "t.jpg", JpegFile(2, 2, std::vector<uint8_t>(12, 100)));
  EXPECT_THAT(ErrorOf(Slurp(folder / "t.jpg")), HasSubstr("compressed with gzip; unpack it"));
}

std::vector<std::string> SomeFiles() {
  std::vector<uint8_t> pixels(17 * 9 * 3);
  for (size_t i = 0; i < pixels.size(); ++i) pixels[i] = static_cast<uint8_t>(i * 37);
  std::string rows;
  for (int y = 0; y < 9; ++y)
    rows += std::string(1, '\x04') + std::string(17, static_cast<char>(y));
  return {JpegFile(9, 17, pixels), JpegFile(9, 17, pixels, {.progressive = true}),
          JpegFile(9, 17, pixels, {.horizontal = 2, .vertical = 2, .exif = ExifData(6)}),
          PngFile(9, 17, 8, 0, rows, PngChunk("tEXt", "a\0b"), PngChunk("eXIf", ExifData(8)))};
}

TEST(DecodeTest, EveryTruncationIsRefused) {
  for (const std::string& file : SomeFiles()) {
    ASSERT_EQ(ErrorOf(file), "(no error)");
    for (size_t length = 0; length < file.size(); ++length) {
      EXPECT_THAT(ErrorOf(file.substr(0, length)), StartsWith("t.img: ")) << length;
    }
    EXPECT_THAT(ErrorOf(file.substr(0, file.size() - 1)), HasSubstr("is cut off"));
    EXPECT_EQ(ErrorOf(file + "what follows is not the picture's"), "(no error)");
  }
}

TEST(DecodeTest, RandomDamageEndsInAPictureOrAnError) {
  Random random(4, StreamOf("damage"));
  for (const std::string& file : SomeFiles()) {
    for (int i = 0; i < 500; ++i) {
      const std::string error = ErrorOf(Damaged(file, random), {.max_pixels = 1 << 16});
      EXPECT_EQ(error.find('\n'), std::string::npos);
    }
  }
}

TEST(DecodeTest, MorePixelsThanTheLimitAreRefusedBeforeMemoryIsTaken) {
  for (const std::string& file : SomeFiles()) {
    EXPECT_EQ(ErrorOf(file, {.max_pixels = 153}), "(no error)");
    EXPECT_THAT(ErrorOf(file, {.max_pixels = 152}), HasSubstr("more than the limit of 152"));
  }
  rusage before{}, after{};
  getrusage(RUSAGE_SELF, &before);
  // 2^31 - 1 squared pixels; then as many as are allowed, in a hundred bytes.
  const std::string nothing = Deflated("");
  for (const auto& [height, width] :
       {std::pair{0x7FFFFFFFu, 0x7FFFFFFFu}, std::pair{8192u, 8192u}}) {
    EXPECT_THAT(ErrorOf(kPngSignature + PngHeader(height, width, 16, 6) +
                        PngChunk("IDAT", nothing) + PngChunk("IEND", "")),
                AllOf(StartsWith("t.img: "),
                      testing::AnyOf(HasSubstr("more than the limit"), HasSubstr("is cut off"))));
  }
  std::string jpeg = JpegFile(1, 1, {1, 2, 3});
  const size_t frame = jpeg.find("\xFF\xC0");
  ASSERT_NE(frame, std::string::npos);
  jpeg.replace(frame + 5, 4, Bytes(8192 << 16 | 8192, 4));
  EXPECT_THAT(ErrorOf(jpeg), HasSubstr("is cut off"));
  EXPECT_EQ(InspectPicture(BytesOf(jpeg), "t")->width, 8192);
  getrusage(RUSAGE_SELF, &after);
  EXPECT_LT(after.ru_maxrss - before.ru_maxrss, 64 * 1024);  // kilobytes
}

}  // namespace
}  // namespace lockstep
