#include "engine/data/image/exif.h"

#include <gtest/gtest.h>

#include <string>

#include "engine/base/random.h"
#include "tests/engine/data/data_files.h"
#include "tests/engine/data/image/made_pictures.h"

namespace lockstep::inline v0_1 {
namespace {

TEST(ExifTest, AllOrientationsInBothByteOrders) {
  for (int orientation = 1; orientation <= 8; ++orientation) {
    EXPECT_EQ(ExifOrientation(BytesOf(ExifData(orientation, true))), orientation);
    EXPECT_EQ(ExifOrientation(BytesOf(ExifData(orientation, false))), orientation);
  }
}

TEST(ExifTest, BrokenDataIsUpright) {
  const std::string exif = ExifData(6);
  for (size_t length = 0; length < 22; ++length) {
    EXPECT_EQ(ExifOrientation(BytesOf(exif.substr(0, length))), 1) << length;
  }
  EXPECT_EQ(ExifOrientation(BytesOf(ExifData(0))), 1);
  EXPECT_EQ(ExifOrientation(BytesOf(ExifData(9))), 1);
  const auto with = [&](size_t offset, const std::string& bytes) {
    return std::string(exif).replace(offset, bytes.size(), bytes);
  };
  EXPECT_EQ(ExifOrientation(BytesOf(with(0, "II"))), 1);
  EXPECT_EQ(ExifOrientation(BytesOf(with(4, "\xFF\xFF\xFF\xFF"))), 1);  // the directory's place
  EXPECT_EQ(ExifOrientation(BytesOf(with(12, Bytes(2, 2)))), 1);        // text
  EXPECT_EQ(ExifOrientation(BytesOf(with(14, Bytes(2, 4)))), 1);        // two values
  Random random(2, StreamOf("exif"));
  for (int i = 0; i < 2000; ++i) {
    const int orientation = ExifOrientation(BytesOf(Damaged(exif, random)));
    EXPECT_TRUE(orientation >= 1 && orientation <= 8);
  }
}

TEST(ExifTest, TheEntryIsFoundBehindOthers) {
  std::string exif = ExifData(3);
  exif.replace(8, 2, Bytes(2, 2));
  exif.insert(10, Bytes(0x0110, 2) + Bytes(2, 2) + Bytes(1, 4) + Bytes(0, 4));
  EXPECT_EQ(ExifOrientation(BytesOf(exif)), 3);
}

// What must be shown is ab above cd above ef; each orientation stores it in another way.
TEST(ExifTest, AllOrientationsEndUpright) {
  const std::vector<std::string> stored = {"ab/cd/ef", "ba/dc/fe", "fe/dc/ba", "ef/cd/ab",
                                           "ace/bdf",  "bdf/ace",  "fdb/eca",  "eca/fdb"};
  for (int orientation = 1; orientation <= 8; ++orientation) {
    for (const int64_t white : {255, 65535}) {
      Picture picture{.height = orientation < 5 ? 3 : 2,
                      .width = orientation < 5 ? 2 : 3,
                      .channels = 3,
                      .white = white};
      for (const char c : stored[static_cast<size_t>(orientation - 1)]) {
        if (c == '/') continue;
        for (int i = 0; i < 3; ++i) {
          if (white == 255) picture.bytes.push_back(static_cast<uint8_t>(c + i));
          if (white != 255) picture.words.push_back(static_cast<uint16_t>(256 * c + i));
        }
      }
      ApplyOrientation(orientation, picture);
      EXPECT_EQ(picture.height, 3);
      EXPECT_EQ(picture.width, 2);
      std::string shown;
      for (size_t i = 0; i < 18; i += 3) {
        shown += static_cast<char>(white == 255 ? picture.bytes.at(i) : picture.words.at(i) / 256);
      }
      EXPECT_EQ(shown, "abcdef") << orientation;
    }
  }
}

}  // namespace
}  // namespace lockstep
