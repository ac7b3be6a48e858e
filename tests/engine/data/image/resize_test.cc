#include "engine/data/image/resize.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string_view>
#include <vector>

#include "engine/base/random.h"

namespace lockstep::inline v0_1 {
namespace {

std::vector<uint8_t> Noise(int64_t n, uint64_t seed) {
  Random random(seed, 1);
  std::vector<uint8_t> bytes(static_cast<size_t>(n));
  for (uint8_t& b : bytes) b = static_cast<uint8_t>(random.Below(256));
  return bytes;
}

// The formula of the header in double, every pixel of the box visited.
double Weighted(const PictureView& x, const PictureBox& box, int64_t out_h, int64_t out_w,
                int64_t oy, int64_t ox, int64_t c) {
  const auto weight = [](int64_t i, int64_t o, int64_t extent, int64_t out) {
    const double s = static_cast<double>(extent) / static_cast<double>(out);
    const double centre = (static_cast<double>(o) + 0.5) * s;
    return std::max(0.0, 1.0 - std::abs(static_cast<double>(i) + 0.5 - centre) / std::max(s, 1.0));
  };
  double sum = 0.0, weights = 0.0;
  for (int64_t i = 0; i < box.height; ++i) {
    for (int64_t j = 0; j < box.width; ++j) {
      const double w = weight(i, oy, box.height, out_h) * weight(j, ox, box.width, out_w);
      const int64_t place = ((box.top + i) * x.width + box.left + j) * x.channels + c;
      weights += w;
      sum += w * std::get<const uint8_t*>(x.pixels)[place];
    }
  }
  return sum / weights / 255.0;
}

TEST(ResizeTest, MatchesTheFormulaInDouble) {
  struct Size {
    int64_t h, w, out_h, out_w;
  };
  ResizeScratch scratch;
  for (const Size& s :
       {Size{1, 1, 1, 1}, Size{1, 1, 5, 3}, Size{5, 7, 1, 1}, Size{7, 5, 7, 5}, Size{13, 17, 5, 4},
        Size{5, 4, 13, 17}, Size{31, 2, 8, 8}, Size{37, 53, 36, 52}, Size{40, 40, 20, 10}}) {
    for (const int64_t channels : {1, 2, 3, 4}) {
      SCOPED_TRACE(testing::Message() << s.h << "x" << s.w << " to " << s.out_h << "x" << s.out_w);
      // A frame of other pixels around the box, which nothing may reach.
      const std::vector<uint8_t> bytes = Noise((s.h + 3) * (s.w + 5) * channels, 3);
      const PictureView x{s.h + 3, s.w + 5, channels, bytes.data()};
      const PictureBox box{1, 2, s.h, s.w};
      std::vector<float> y(static_cast<size_t>(s.out_h * s.out_w * channels), NAN);
      ResizePicture(x, box, s.out_h, s.out_w, scratch, y.data());
      size_t i = 0;
      for (int64_t oy = 0; oy < s.out_h; ++oy) {
        for (int64_t ox = 0; ox < s.out_w; ++ox) {
          for (int64_t c = 0; c < channels; ++c, ++i) {
            const double want = Weighted(x, box, s.out_h, s.out_w, oy, ox, c);
            // Weights that sum to 1, rounded once; a product and a sum for each of at most 2 x 64
            // taps: 2 (64 + 2) roundings of numbers up to 1, and a division.
            ASSERT_TRUE(std::abs(static_cast<double>(y[i]) - want) <= 140 * 0x1p-24)
                << y[i] << " " << want;
          }
        }
      }
    }
  }
}

TEST(ResizeTest, TheSameSizeAndAConstantStayWhatTheyAre) {
  ResizeScratch scratch;
  const std::vector<uint8_t> bytes = Noise(9 * 11 * 3, 5);
  std::vector<float> y(bytes.size());
  ResizePicture({9, 11, 3, bytes.data()}, {0, 0, 9, 11}, 9, 11, scratch, y.data());
  for (size_t i = 0; i < y.size(); ++i) ASSERT_EQ(y[i], static_cast<float>(bytes[i]) / 255.0f);

  const std::vector<uint8_t> white(50 * 40, 255);
  std::vector<float> small(7 * 9);
  ResizePicture({50, 40, 1, white.data()}, {0, 0, 50, 40}, 7, 9, scratch, small.data());
  for (const float v : small) ASSERT_NEAR(v, 1.0f, 140 * 0x1p-24);
}

TEST(ResizeTest, WordsAndFloatsGiveWhatBytesGive) {
  ResizeScratch scratch;
  const std::vector<uint8_t> bytes = Noise(12 * 10 * 3, 7);
  std::vector<uint16_t> words;
  std::vector<float> floats;
  for (const uint8_t b : bytes) {
    words.push_back(static_cast<uint16_t>(b * 257));
    floats.push_back(static_cast<float>(b) / 255.0f);
  }
  std::vector<float> y8(5 * 4 * 3), y16(5 * 4 * 3), yf(5 * 4 * 3);
  const PictureBox box{0, 0, 12, 10};
  ResizePicture({12, 10, 3, bytes.data()}, box, 5, 4, scratch, y8.data());
  ResizePicture({12, 10, 3, words.data()}, box, 5, 4, scratch, y16.data());
  ResizePicture({12, 10, 3, floats.data()}, box, 5, 4, scratch, yf.data());
  for (size_t i = 0; i < y8.size(); ++i) {
    EXPECT_NEAR(y16[i], y8[i], 40 * 0x1p-24);
    EXPECT_NEAR(yf[i], y8[i], 40 * 0x1p-24);
  }
}

TEST(ResizeTest, GreyIsLumaAndColourIsRepeated) {
  const std::vector<uint8_t> colour = {255, 0, 0, 0, 255, 0, 0, 0, 255, 255, 255, 255};
  std::vector<float> grey(4);
  ConvertPicture({2, 2, 3, colour.data()}, 1, grey.data());
  EXPECT_FLOAT_EQ(grey[0], 0.299f);
  EXPECT_FLOAT_EQ(grey[1], 0.587f);
  EXPECT_FLOAT_EQ(grey[2], 0.114f);
  EXPECT_FLOAT_EQ(grey[3], 1.0f);
  const std::vector<uint16_t> one = {65535, 0};
  std::vector<float> three(6);
  ConvertPicture({1, 2, 1, one.data()}, 3, three.data());
  EXPECT_EQ(three, (std::vector<float>{1, 1, 1, 0, 0, 0}));
}

// Written down once: a change here changes every run on pictures, and another machine must agree.
TEST(ResizeTest, BitsStayTheSame) {
  ResizeScratch scratch;
  const std::vector<uint8_t> bytes = Noise(61 * 47 * 3, 11);
  std::vector<float> y(24 * 32 * 3);
  ResizePicture({61, 47, 3, bytes.data()}, {3, 2, 57, 41}, 24, 32, scratch, y.data());
  EXPECT_EQ(StreamOf({reinterpret_cast<const char*>(y.data()), y.size() * sizeof(float)}),
            3165087963734434686u);
}

}  // namespace
}  // namespace lockstep
