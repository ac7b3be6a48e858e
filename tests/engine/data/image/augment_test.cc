#include "engine/data/image/augment.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

namespace lockstep::inline v0_1 {
namespace {

using ::testing::HasSubstr;

// Pixel (i, j), channel c: a number that says where it stood.
std::vector<uint8_t> Numbered(int64_t h, int64_t w, int64_t channels) {
  std::vector<uint8_t> bytes;
  for (int64_t i = 0; i < h * w * channels; ++i) bytes.push_back(static_cast<uint8_t>(i % 251));
  return bytes;
}

int64_t Mirrored(int64_t i, int64_t n) {  // by walking
  int64_t place = 0, step = n > 1 ? 1 : 0;
  for (int64_t k = 0; k < std::abs(i); ++k) {
    if (place + step < 0 || place + step >= n) step = -step;
    place += step;
  }
  return place;
}

TEST(CropTest, EveryPixelComesFromItsPlace) {
  constexpr float kFill[4] = {0.5f, 0.25f, 0.75f, 0.125f};
  for (const int64_t channels : {1, 2, 3, 4}) {
    for (const PictureSize from : {PictureSize{1, 1}, PictureSize{4, 7}, PictureSize{9, 3}}) {
      const std::vector<uint8_t> bytes = Numbered(from.height, from.width, channels);
      const PictureView x{from.height, from.width, channels, bytes.data()};
      for (const PictureSize out : {PictureSize{1, 1}, PictureSize{4, 7}, PictureSize{6, 12}}) {
        for (int64_t top = -14; top <= 14; top += 3) {
          for (int64_t left = -14; left <= 14; left += 2) {
            for (int k = 0; k < 12; ++k) {
              const bool flip = k % 2 != 0, vertical = k / 2 % 2 != 0;
              const auto edge = static_cast<PictureEdge>(k / 4);
              std::vector<float> y(static_cast<size_t>(out.height * out.width * channels), NAN);
              CropPicture(x, top, left, flip, vertical, edge, kFill, out, y.data());
              size_t n = 0;
              for (int64_t i = 0; i < out.height; ++i) {
                for (int64_t j = 0; j < out.width; ++j) {
                  int64_t row = top + (vertical ? out.height - 1 - i : i);
                  int64_t column = left + (flip ? out.width - 1 - j : j);
                  const bool within =
                      row >= 0 && row < from.height && column >= 0 && column < from.width;
                  if (edge == PictureEdge::kNearest) {
                    row = std::clamp<int64_t>(row, 0, from.height - 1);
                    column = std::clamp<int64_t>(column, 0, from.width - 1);
                  } else if (edge == PictureEdge::kReflect) {
                    row = Mirrored(row, from.height);
                    column = Mirrored(column, from.width);
                  }
                  for (int64_t c = 0; c < channels; ++c, ++n) {
                    const bool filled = edge == PictureEdge::kFill && !within;
                    const int64_t at = (row * from.width + column) * channels + c;
                    const float want =
                        filled ? kFill[c]
                               : static_cast<float>(bytes[static_cast<size_t>(at)]) / 255.0f;
                    ASSERT_EQ(y[n], want) << top << " " << left << " " << k;
                  }
                }
              }
            }
          }
        }
      }
    }
  }
}

TEST(CropTest, MirrorsOnBothSides) {
  const std::vector<uint8_t> bytes = {0, 51, 102};
  std::vector<float> y(9);
  CropPicture({1, 3, 1, bytes.data()}, 0, -3, false, false, PictureEdge::kReflect, nullptr, {1, 9},
              y.data());
  std::vector<float> fifths;
  for (const float v : y) fifths.push_back(std::round(v * 5.0f));
  EXPECT_EQ(fifths, (std::vector<float>{1, 2, 1, 0, 1, 2, 1, 0, 1}));
}

TEST(CropTest, CentresAsTorchvisionRounds) {
  EXPECT_EQ(CentreStart(10, 10), 0);
  EXPECT_EQ(CentreStart(11, 10), 0);  // half to even
  EXPECT_EQ(CentreStart(12, 10), 1);
  EXPECT_EQ(CentreStart(13, 10), 2);
  EXPECT_EQ(CentreStart(15, 10), 2);
  EXPECT_EQ(CentreStart(7, 10), -1);
  EXPECT_EQ(CentreStart(1, 10), -4);
}

TEST(RotateTest, QuarterTurnsMovePixelsAndTheRestIsFilled) {
  const std::vector<float> x = {1, 2, 3, 4, 5, 6, 7, 8, 9};
  const float fill = 0.0f;
  std::vector<float> y(9);
  const auto turned = [&](double turns) {
    RotatePicture(x.data(), {3, 3}, 1, turns, &fill, y.data());
    return y;
  };
  EXPECT_EQ(turned(0.0), x);
  EXPECT_EQ(turned(0.25), (std::vector<float>{3, 6, 9, 2, 5, 8, 1, 4, 7}));  // counter-clockwise
  EXPECT_EQ(turned(-0.25), (std::vector<float>{7, 4, 1, 8, 5, 2, 9, 6, 3}));
  EXPECT_EQ(turned(0.5), (std::vector<float>{9, 8, 7, 6, 5, 4, 3, 2, 1}));
  turned(0.125);
  EXPECT_EQ(y[4], 5.0f);
  EXPECT_TRUE(y[0] < 5.0f);  // its source lies 0.41 pixels above the picture: part fill
}

TEST(RotateTest, MatchesBilinearInDouble) {
  const int64_t h = 7, w = 10;
  std::vector<float> x, y(static_cast<size_t>(h * w * 3));
  for (int64_t i = 0; i < h * w * 3; ++i) x.push_back(static_cast<float>(i * 37 % 101) / 101.0f);
  const float fill[3] = {0.25f, 0.5f, 1.0f};
  for (const double degrees : {-170.0, -31.0, 0.5, 12.0, 45.0, 77.0}) {
    RotatePicture(x.data(), {h, w}, 3, degrees / 360.0, fill, y.data());
    const double a = degrees * 3.14159265358979323846 / 180.0;
    for (int64_t i = 0; i < h; ++i) {
      for (int64_t j = 0; j < w; ++j) {
        const double dy = static_cast<double>(i) - 3.0, dx = static_cast<double>(j) - 4.5;
        const double sy = 3.0 + std::sin(a) * dx + std::cos(a) * dy;
        const double sx = 4.5 + std::cos(a) * dx - std::sin(a) * dy;
        for (int64_t c = 0; c < 3; ++c) {
          double want = 0.0;
          for (int64_t p = -12; p < 24; ++p) {
            for (int64_t q = -12; q < 24; ++q) {
              const double v = std::max(0.0, 1.0 - std::abs(sy - static_cast<double>(p))) *
                               std::max(0.0, 1.0 - std::abs(sx - static_cast<double>(q)));
              const bool within = p >= 0 && p < h && q >= 0 && q < w;
              want += v * static_cast<double>(within ? x[static_cast<size_t>((p * w + q) * 3 + c)]
                                                     : fill[c]);
            }
          }
          // Three blends of numbers up to 1, each of at most five roundings.
          const double got = static_cast<double>(y[static_cast<size_t>((i * w + j) * 3 + c)]);
          ASSERT_TRUE(std::abs(got - want) <= 15 * 0x1p-24) << degrees << " " << i << " " << j;
        }
      }
    }
  }
}

TEST(ColourTest, BrightnessAndContrastSaturate) {
  std::vector<float> x = {0.0f, 0.25f, 0.5f, 1.0f};
  ScaleBrightness({2, 2}, 1, 1.5f, x.data());
  EXPECT_EQ(x, (std::vector<float>{0.0f, 0.375f, 0.75f, 1.0f}));
  x = {0.0f, 0.25f, 0.75f, 1.0f};  // mean grey 1/2
  ScaleContrast({2, 2}, 1, 1.5f, x.data());
  EXPECT_EQ(x, (std::vector<float>{0.0f, 0.125f, 0.875f, 1.0f}));
  ScaleContrast({2, 2}, 1, 0.0f, x.data());
  EXPECT_EQ(x, (std::vector<float>(4, 0.5f)));
  std::vector<float> colour = {1.0f, 0.0f, 0.0f};
  ScaleContrast({1, 1}, 3, 0.0f, colour.data());
  EXPECT_EQ(colour, (std::vector<float>(3, 0.299f)));
}

TEST(CutOutTest, OnlyTheSquareWithinThePictureIsFilled) {
  const float fill[2] = {0.25f, 0.75f};
  for (const int64_t side : {1, 2, 3, 8, 40}) {
    for (int64_t cy = 0; cy < 5; ++cy) {
      for (int64_t cx = 0; cx < 6; ++cx) {
        std::vector<float> x(5 * 6 * 2, 0.5f);
        CutOut({5, 6}, 2, side, cy, cx, fill, x.data());
        for (int64_t i = 0; i < 60; ++i) {
          const int64_t dy = i / 12 - cy + side / 2, dx = i / 2 % 6 - cx + side / 2;
          const bool cut = dy >= 0 && dy < side && dx >= 0 && dx < side;
          ASSERT_EQ(x[static_cast<size_t>(i)], cut ? fill[i % 2] : 0.5f);
        }
      }
    }
  }
}

// A count of n draws with probability p has standard deviation sqrt(n p (1 - p)); five of them are
// exceeded once in 1.7 million counts.
void ExpectShare(int64_t count, int64_t n, double p) {
  const double nd = static_cast<double>(n);
  EXPECT_NEAR(static_cast<double>(count), nd * p, 5.0 * std::sqrt(nd * p * (1.0 - p)));
}

TEST(DrawTest, RandomCropsStandEverywhereAlike) {
  const AugmentOptions options{
      .seed = 3, .crop = PictureCrop::kRandom, .pad = 4, .flip = 0.3, .vertical_flip = 0.5};
  constexpr int64_t kDraws = 40000;
  std::vector<int64_t> tops(9), lefts(9), both(81);
  int64_t flips = 0, verticals = 0, flips_both = 0;
  for (int64_t i = 0; i < kDraws; ++i) {
    const Augmentation drawn = DrawAugmentation(options, i / 100, i % 100, {32, 32}, {32, 32});
    ASSERT_TRUE(drawn.top >= -4 && drawn.top <= 4 && drawn.left >= -4 && drawn.left <= 4);
    ++tops[static_cast<size_t>(drawn.top + 4)];
    ++lefts[static_cast<size_t>(drawn.left + 4)];
    ++both[static_cast<size_t>((drawn.top + 4) * 9 + drawn.left + 4)];
    flips += drawn.flip;
    verticals += drawn.vertical_flip;
    flips_both += drawn.flip && drawn.vertical_flip;
  }
  for (const int64_t count : tops) ExpectShare(count, kDraws, 1.0 / 9.0);
  for (const int64_t count : lefts) ExpectShare(count, kDraws, 1.0 / 9.0);
  for (const int64_t count : both) ExpectShare(count, kDraws, 1.0 / 81.0);
  ExpectShare(flips, kDraws, 0.3);
  ExpectShare(verticals, kDraws, 0.5);
  ExpectShare(flips_both, kDraws, 0.15);  // independent
}

TEST(DrawTest, APictureSmallerThanTheCropStandsAnywhereWithin) {
  const AugmentOptions options{.crop = PictureCrop::kRandom, .pad = 1};
  int64_t low = 100, high = -100;
  for (int64_t i = 0; i < 2000; ++i) {
    const Augmentation drawn = DrawAugmentation(options, 0, i, {4, 20}, {10, 10});
    low = std::min(low, drawn.top);
    high = std::max(high, drawn.top);
    ASSERT_TRUE(drawn.left >= -1 && drawn.left <= 11);
  }
  EXPECT_EQ(low, -5 - 0);  // 6 rows with the padding, 4 missing on either side
  EXPECT_EQ(high, -1);
}

TEST(DrawTest, ResizedCropsHaveTheirAreaAndProportions) {
  const AugmentOptions options{.crop = PictureCrop::kRandomResized,
                               .scale_low = 0.2,
                               .ratio_low = 0.75,
                               .ratio_high = 4.0 / 3.0};
  constexpr int64_t kDraws = 20000;
  int64_t wide = 0, small = 0;
  for (int64_t i = 0; i < kDraws; ++i) {
    const PictureBox box = DrawAugmentation(options, 1, i, {2000, 2000}, {10, 10}).box;
    ASSERT_TRUE(box.top >= 0 && box.left >= 0 && box.top + box.height <= 2000 &&
                box.left + box.width <= 2000);
    const double area = static_cast<double>(box.height * box.width) / 4e6;
    const double ratio = static_cast<double>(box.width) / static_cast<double>(box.height);
    // Both sides are rounded by half a pixel, of at least 700.
    ASSERT_TRUE(area > 0.2 - 0.002 && area <= 1.0);
    ASSERT_TRUE(ratio > 0.75 - 0.002 && ratio < 4.0 / 3.0 + 0.003);
    wide += box.width > box.height;
    small += area < 0.4;
  }
  // A quarter of [0.2, 1], and more: large areas of extreme proportions do not fit and are drawn
  // again.
  EXPECT_GT(small, kDraws / 4);
  EXPECT_LT(small, kDraws / 3);
  ExpectShare(wide, kDraws, 0.5);
}

TEST(DrawTest, PicturesOfExtremeProportionsGiveTheirCentralPart) {
  const AugmentOptions options{.crop = PictureCrop::kRandomResized, .scale_low = 1.0};
  const auto box = [&](PictureSize from) {
    return DrawAugmentation(options, 0, 0, from, {8, 8}).box;
  };
  EXPECT_EQ(box({10, 1000}), (PictureBox{0, 493, 10, 13}));
  EXPECT_EQ(box({1000, 9}), (PictureBox{494, 0, 12, 9}));
  EXPECT_EQ(box({1, 1}), (PictureBox{0, 0, 1, 1}));
}

TEST(DrawTest, AnglesAndFactorsFillTheirRanges) {
  const AugmentOptions options{.rotation = 90.0, .brightness = 0.4, .contrast = 1.0, .cutout = 3};
  constexpr int64_t kDraws = 20000;
  std::vector<int64_t> angle(10), bright(10), contrast(10), rows(5), columns(8);
  for (int64_t i = 0; i < kDraws; ++i) {
    const Augmentation drawn = DrawAugmentation(options, 7, i, {5, 8}, {5, 8});
    const auto count = [](std::vector<int64_t>& bins, double in_unit) {
      ++bins.at(static_cast<size_t>(std::min(in_unit * 10.0, 9.5)));
    };
    count(angle, drawn.turns * 2.0 + 0.5);
    count(bright, (static_cast<double>(drawn.brightness) - 0.6) / 0.8);
    count(contrast, static_cast<double>(drawn.contrast) / 2.0);
    ++rows.at(static_cast<size_t>(drawn.cutout_y));
    ++columns.at(static_cast<size_t>(drawn.cutout_x));
  }
  for (const auto* bins : {&angle, &bright, &contrast})
    for (const int64_t n : *bins) ExpectShare(n, kDraws, 0.1);
  for (const int64_t n : rows) ExpectShare(n, kDraws, 0.2);
  for (const int64_t n : columns) ExpectShare(n, kDraws, 0.125);
}

// Beta(a, a) has mean 1/2 and variance 1 / (4 (2 a + 1)); the square of a deviation has at most
// variance (1/4) times its mean. Beta(1, 1) is uniform.
TEST(DrawTest, SharesOfAMixtureAreBetaDistributed) {
  constexpr int64_t kDraws = 20000;
  for (const double a : {0.05, 0.2, 1.0, 2.5, 40.0}) {
    SCOPED_TRACE(a);
    const AugmentOptions options{.mixup = a};
    double sum = 0.0, squares = 0.0;
    std::vector<int64_t> partners(7);
    int64_t low = 0;
    for (int64_t i = 0; i < kDraws; ++i) {
      const Mixing mixing = DrawMixing(options, 2, i, 7);
      ASSERT_TRUE(mixing.share >= 0.0f && mixing.share <= 1.0f);
      const double d = static_cast<double>(mixing.share) - 0.5;
      sum += d;
      squares += d * d;
      low += mixing.share < 0.25f;
      ++partners.at(static_cast<size_t>(mixing.partner));
    }
    const double variance = 1.0 / (4.0 * (2.0 * a + 1.0)), n = kDraws;
    EXPECT_NEAR(sum / n, 0.0, 5.0 * std::sqrt(variance / n));
    EXPECT_NEAR(squares / n, variance, 5.0 * std::sqrt(variance / 4.0 / n));
    if (a == 1.0) ExpectShare(low, kDraws, 0.25);
    for (const int64_t count : partners) ExpectShare(count, kDraws, 1.0 / 7.0);
  }
}

TEST(DrawTest, OneKindOfChangeLeavesTheOthersAlone) {
  AugmentOptions options{.seed = 5, .crop = PictureCrop::kRandom, .pad = 4, .rotation = 20.0};
  const Augmentation before = DrawAugmentation(options, 3, 4, {32, 32}, {32, 32});
  options.flip = options.vertical_flip = 0.5;
  options.brightness = options.contrast = 0.5;
  options.cutout = 8;
  const Augmentation after = DrawAugmentation(options, 3, 4, {32, 32}, {32, 32});
  EXPECT_EQ(after.top, before.top);
  EXPECT_EQ(after.left, before.left);
  EXPECT_EQ(after.turns, before.turns);
  const Augmentation other = DrawAugmentation(options, 4, 4, {32, 32}, {32, 32});
  EXPECT_NE(other.turns, after.turns);
}

TEST(AugmentOptionsTest, ImpossibleOnesSayWhy) {
  EXPECT_TRUE(CheckAugmentOptions({}).ok());
  const auto error = [](const AugmentOptions& o) { return CheckAugmentOptions(o).message(); };
  EXPECT_THAT(error({.crop = PictureCrop::kRandom, .pad = -1}), HasSubstr("0 to 65536"));
  EXPECT_THAT(error({.pad = 4}), HasSubstr("random crops"));
  EXPECT_THAT(error({.scale_low = 0.0}), HasSubstr("scale"));
  EXPECT_THAT(error({.scale_high = 1.5}), HasSubstr("scale"));
  EXPECT_THAT(error({.ratio_low = 2.0}), HasSubstr("ratio"));
  EXPECT_THAT(error({.flip = NAN}), HasSubstr("flip"));
  EXPECT_THAT(error({.vertical_flip = -0.1}), HasSubstr("vertical"));
  EXPECT_THAT(error({.rotation = 200.0}), HasSubstr("rotation"));
  EXPECT_THAT(error({.brightness = 2.0}), HasSubstr("brightness"));
  EXPECT_THAT(error({.contrast = NAN}), HasSubstr("contrast"));
  EXPECT_THAT(error({.cutout = -2}), HasSubstr("cutout"));
  EXPECT_THAT(error({.mixup = -1.0}), HasSubstr("mixup"));
  EXPECT_THAT(error({.mixup = INFINITY}), HasSubstr("mixup"));
  EXPECT_THAT(error({.fill = {0.5f, 2.0f}}), HasSubstr("fill"));
}

}  // namespace
}  // namespace lockstep
