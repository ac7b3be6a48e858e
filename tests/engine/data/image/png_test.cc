#include "engine/data/image/png.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "tests/engine/data/image/made_pictures.h"

namespace lockstep::inline v0_1 {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

Picture Decode(const std::string& file) {
  Result<Picture> picture = DecodePicture(BytesOf(file), "t.png");
  EXPECT_TRUE(picture.ok()) << picture.status().message();
  return picture.ok() ? *picture : Picture{};
}
std::string ErrorOf(const std::string& file) {
  const Result<Picture> picture = DecodePicture(BytesOf(file), "t.png");
  return picture.ok() ? "(no error)" : picture.status().message();
}
// One row, with its filter byte.
std::string Row(std::initializer_list<int> bytes) {
  std::string row(1, '\0');
  for (const int byte : bytes) row += static_cast<char>(byte);
  return row;
}

TEST(PngTest, FewBitsAreSpreadToWhite) {
  EXPECT_THAT(Decode(PngFile(1, 3, 1, 0, Row({0b01000000}))).bytes, ElementsAre(0, 255, 0));
  EXPECT_THAT(Decode(PngFile(1, 4, 2, 0, Row({0b00011011}))).bytes, ElementsAre(0, 85, 170, 255));
  EXPECT_THAT(Decode(PngFile(1, 2, 4, 0, Row({0x1F}))).bytes, ElementsAre(17, 255));
}

TEST(PngTest, SixteenBitsStaySixteen) {
  const Picture picture = Decode(PngFile(1, 3, 16, 0, Row({0, 1, 1, 0, 255, 255})));
  EXPECT_EQ(picture.white, 65535);
  EXPECT_TRUE(picture.bytes.empty());
  EXPECT_THAT(picture.words, ElementsAre(1, 256, 65535));
}

TEST(PngTest, PalettesAreLookedUp) {
  const std::string palette = PngChunk("PLTE", std::string("\1\2\3\4\5\6", 6));
  const Picture picture = Decode(PngFile(1, 2, 8, 3, Row({1, 0}), palette));
  EXPECT_EQ(picture.channels, 3);
  EXPECT_THAT(picture.bytes, ElementsAre(4, 5, 6, 1, 2, 3));
}

// round((a v + (255 - a) 255) / 255), whatever bKGD says.
TEST(PngTest, AlphaIsComposedOnWhite) {
  const Picture grey = Decode(PngFile(1, 4, 8, 4, Row({100, 255, 100, 0, 0, 128, 99, 1}),
                                      PngChunk("bKGD", std::string(2, '\0'))));
  EXPECT_EQ(grey.channels, 1);
  EXPECT_THAT(grey.bytes, ElementsAre(100, 255, 127, 254));
  const Picture rgb = Decode(PngFile(1, 1, 16, 6, Row({0, 0, 255, 255, 0, 1, 128, 0})));
  // 65535 - 32768, 65535, (32768 + 32767 * 65535) / 65535 = 32767.5 to nearest.
  EXPECT_THAT(rgb.words, ElementsAre(32767, 65535, 32768));
}

TEST(PngTest, TransparentColoursBecomeWhite) {
  EXPECT_THAT(
      Decode(PngFile(1, 2, 8, 0, Row({7, 8}), PngChunk("tRNS", std::string("\0\7", 2)))).bytes,
      ElementsAre(255, 8));
  // All 16 bits are compared.
  EXPECT_THAT(
      Decode(PngFile(1, 2, 16, 0, Row({7, 1, 7, 2}), PngChunk("tRNS", std::string("\7\1", 2))))
          .words,
      ElementsAre(65535, 0x702));
  const std::string palette = PngChunk("PLTE", std::string("\0\0\0\4\5\6", 6));
  EXPECT_THAT(Decode(PngFile(1, 2, 8, 3, Row({0, 1}), palette + PngChunk("tRNS", "\x33"))).bytes,
              ElementsAre(204, 204, 204, 4, 5, 6));
}

TEST(PngTest, GammaIsNotApplied) {
  const std::string file = PngFile(1, 1, 8, 0, Row({100}), PngChunk("gAMA", Bytes(100000, 4)));
  EXPECT_THAT(Decode(file).bytes, ElementsAre(100));
}

TEST(PngTest, ExifBeforeOrAfterThePixelsTurnsThePicture) {
  const std::string exif = PngChunk("eXIf", ExifData(6));
  for (const bool before : {true, false}) {
    const std::string file = PngFile(2, 3, 8, 0, Row({1, 2, 3}) + Row({4, 5, 6}),
                                     before ? exif : "", before ? "" : exif);
    const Picture picture = Decode(file);
    EXPECT_EQ(picture.height, 3);
    EXPECT_THAT(picture.bytes, ElementsAre(4, 1, 5, 2, 6, 3));
  }
  EXPECT_THAT(Decode(PngFile(1, 2, 8, 0, Row({1, 2}), PngChunk("eXIf", "MM"))).bytes,
              ElementsAre(1, 2));
}

// A text that fails its checksum changes no pixel, but says that the file was damaged on its way.
TEST(PngTest, AWrongChecksumIsDamageInAnyChunk) {
  std::string text = PngChunk("tEXt", std::string("a\0b", 3));
  EXPECT_EQ(ErrorOf(PngFile(1, 1, 8, 0, Row({1}), text)), "(no error)");
  text.back() ^= 1;
  EXPECT_THAT(ErrorOf(PngFile(1, 1, 8, 0, Row({1}), text)), HasSubstr("is damaged"));
}

TEST(PngTest, PixelsThatAreMissingAreNoticed) {
  EXPECT_THAT(ErrorOf(PngFile(2, 2, 8, 0, Row({1, 2}))), HasSubstr("t.png: is damaged"));
  EXPECT_THAT(ErrorOf(kPngSignature + PngHeader(1, 1, 8, 0) + PngChunk("IEND", "")),
              HasSubstr("t.png: is damaged"));
}

TEST(PngTest, HeadersThatDoNotFitAreRefused) {
  EXPECT_THAT(ErrorOf(PngFile(0, 1, 8, 0, "")), HasSubstr("claims 0 x 1 pixels"));
  EXPECT_THAT(ErrorOf(PngFile(0x80000000, 1, 8, 0, "")), HasSubstr("claims 2147483648 x 1"));
  EXPECT_THAT(ErrorOf(PngFile(1, 1, 3, 0, Row({1}))), HasSubstr("is damaged"));
  EXPECT_THAT(ErrorOf(PngFile(1, 1, 16, 3, Row({1, 1}))), HasSubstr("is damaged"));
  EXPECT_THAT(ErrorOf(kPngSignature + PngChunk("IDAT", "abcdefghijklmnop")),
              HasSubstr("header is not the first chunk"));
}

}  // namespace
}  // namespace lockstep
