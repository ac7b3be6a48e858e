// What a report shows of pictures: the pixels themselves, the right samples, the worst mistakes.
#include "tools/report/picture_samples.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "engine/data/image/decode.h"
#include "layers/container/sequential.h"
#include "layers/flatten.h"
#include "layers/linear.h"
#include "layers/loss/cross_entropy.h"
#include "models/resnet.h"
#include "tools/report/png_uri.h"

namespace lockstep::inline v0_1::tools {
namespace {

std::span<const uint8_t> BytesOf(const std::string& text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

TEST(PngUri, Base64IsThatOfRfc4648) {
  const std::pair<const char*, const char*> kVectors[] = {{"", ""},
                                                          {"f", "Zg=="},
                                                          {"fo", "Zm8="},
                                                          {"foo", "Zm9v"},
                                                          {"foob", "Zm9vYg=="},
                                                          {"fooba", "Zm9vYmE="},
                                                          {"foobar", "Zm9vYmFy"}};
  for (const auto& [plain, coded] : kVectors) EXPECT_EQ(Base64(BytesOf(plain)), coded);
  EXPECT_EQ(Base64(BytesOf("\xFB\xFF\xFE")), "+//+");
}

std::string Unbase64(const std::string& text) {
  const std::string digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string bytes;
  uint32_t bits = 0;
  int count = 0;
  for (const char c : text) {
    if (c == '=') break;
    bits = bits << 6 | static_cast<uint32_t>(digits.find(c));
    if ((count += 6) >= 8) bytes += static_cast<char>(bits >> (count -= 8) & 255);
  }
  return bytes;
}

TEST(PngUri, PixelsComeBack) {
  for (const int64_t channels : {1, 3}) {
    for (const auto& [height, width] : {std::pair<int64_t, int64_t>{1, 1}, {1, 7}, {31, 17}}) {
      std::vector<uint8_t> pixels(static_cast<size_t>(height * width * channels));
      for (size_t i = 0; i < pixels.size(); ++i) pixels[i] = static_cast<uint8_t>(i * 37 + 11);
      const std::string uri = PngUri(pixels, height, width, channels);
      const std::string head = "data:image/png;base64,";
      ASSERT_TRUE(uri.starts_with(head));
      const std::string file = Unbase64(uri.substr(head.size()));
      const Result<Picture> picture = DecodePicture(BytesOf(file), "uri");
      ASSERT_TRUE(picture.ok()) << picture.status().message();
      EXPECT_EQ(picture->height, height);
      EXPECT_EQ(picture->width, width);
      EXPECT_EQ(picture->channels, channels);
      EXPECT_EQ(picture->bytes, pixels);
    }
  }
}

TEST(ShowInput, UndoesWhatStandardisedIt) {
  const std::vector<float> mean = {0.5f, 0.4f, 0.1f}, sd = {0.2f, 0.0f, 0.3f};
  std::vector<float> x;
  std::vector<uint8_t> want;
  for (int i = 0; i < 5 * 4; ++i) {
    for (size_t c = 0; c < 3; ++c) {
      const auto u = static_cast<uint8_t>(sd[c] == 0.0f ? 102 : (i * 13 + 5) % 256);
      want.push_back(u);
      const float v = static_cast<float>(u) / 255.0f;
      x.push_back(sd[c] == 0.0f ? 0.0f : (v - mean[c]) / sd[c]);
    }
  }
  const ShownPicture shown = ShowInput(ConstTensor(x.data(), {5, 4, 3}), {mean, sd}, 72);
  EXPECT_EQ(shown.height, 5);
  EXPECT_EQ(shown.width, 4);
  EXPECT_EQ(shown.channels, 3);
  EXPECT_EQ(shown.pixels, want);
}

TEST(ShowInput, LargePicturesShrinkAndOthersAreSpread) {
  std::vector<float> x(200 * 50, 0.5f);
  const ShownPicture small = ShowInput(ConstTensor(x.data(), {200, 50, 1}), {}, 72);
  EXPECT_EQ(small.height, 72);
  EXPECT_EQ(small.width, 18);
  EXPECT_EQ(small.pixels, std::vector<uint8_t>(72 * 18, 128));
  const ShownPicture line = ShowInput(ConstTensor(x.data(), {1, 10000, 1}), {}, 72);
  EXPECT_EQ(line.height, 1);
  EXPECT_EQ(line.width, 72);
  const std::vector<float> wide = {-10.0f, 0.0f, 10.0f};
  EXPECT_EQ(ShowInput(ConstTensor(wide.data(), {1, 3, 1}), {}, 72).pixels,
            (std::vector<uint8_t>{0, 128, 255}));
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const std::vector<float> odd = {nan, 1.0f};
  EXPECT_EQ(ShowInput(ConstTensor(odd.data(), {1, 2, 1}), {}, 72).pixels[0], 0);
}

// A network whose logits are its input's pixels: sample i has the logit a_i for class 0 and 0 for
// class 1, and all are of class 1 but every fifth.
class Looking : public ::testing::Test {
 protected:
  static constexpr int64_t kSamples = 103;

  void SetUp() override {
    std::vector<float> x;
    std::vector<int32_t> y;
    for (int64_t i = 0; i < kSamples; ++i) {
      logits_.push_back(static_cast<float>(i * 29 % kSamples) / 10.0f - 3.0f);
      for (int k = 0; k < 9; ++k) x.push_back(k == 4 ? logits_.back() : 0.0f);
      y.push_back(i % 5 == 0 ? 0 : 1);
    }
    DatasetInfo info{.name = "made", .size = kSamples, .x_shape = {3, 3, 1}};
    info.classes = 2;
    auto made = InMemoryDataset::Make(std::move(info), x, y);
    ASSERT_TRUE(made.ok()) << made.status().message();
    all_ = {*made, AllIndices(kSamples)};
    auto bound = Network::Bind(ctx_, Sequential(Flatten(), Linear(2)), CrossEntropyLoss(),
                               {.input = {8, 3, 3, 1}});
    ASSERT_TRUE(bound.ok()) << bound.status().message();
    net_ = std::make_unique<Network>(std::move(*bound));
    ParameterWriter writer = net_->Write();
    for (size_t p = 0; p < net_->parameters().infos.size(); ++p) {
      for (float& v : writer->value(p).span<float>()) v = 0.0f;
    }
    writer->value(0).f32()[4] = 1.0f;
  }

  Context ctx_{{.threads = 2}};
  std::vector<float> logits_;
  Subset all_;
  std::unique_ptr<Network> net_;
};

TEST_F(Looking, TheWorstMistakesComeFirst) {
  const Result<PictureSamples> seen =
      LookAtPictures(*net_, all_, {}, {.samples = 10, .mistakes = 7});
  ASSERT_TRUE(seen.ok()) << seen.status().message();
  EXPECT_EQ(seen->looked_at, kSamples);
  // In double, straight from the definition.
  std::vector<double> wrong;
  for (int64_t i = 0; i < kSamples; ++i) {
    const double p0 = 1.0 / (1.0 + std::exp(-static_cast<double>(logits_[static_cast<size_t>(i)])));
    const bool says0 = logits_[static_cast<size_t>(i)] >= 0.0f, is0 = i % 5 == 0;
    if (says0 != is0) wrong.push_back(is0 ? p0 : 1.0 - p0);
  }
  std::sort(wrong.begin(), wrong.end());
  ASSERT_EQ(seen->mistakes.size(), 7u);
  for (size_t i = 0; i < 7; ++i) {
    const SeenSample& one = seen->mistakes[i];
    EXPECT_NE(one.predicted, one.truth);
    EXPECT_NEAR(one.truth_probability, wrong[i], 1e-6) << i;
    EXPECT_NEAR(one.probability + one.truth_probability, 1.0, 1e-9);
  }
  ASSERT_EQ(seen->samples.size(), 10u);
  for (size_t k = 0; k < 10; ++k) {
    // At or behind k 103 / 10, rounded down.
    const auto i = static_cast<int64_t>(k) * kSamples / 10;
    EXPECT_EQ(seen->samples[k].truth, i % 5 == 0 ? 0 : 1);
    EXPECT_EQ(seen->samples[k].predicted, logits_[static_cast<size_t>(i)] >= 0.0f ? 0 : 1);
  }
}

TEST_F(Looking, FewOrNoSamplesAndALimit) {
  Subset few{all_.dataset, {5, 6}};
  Result<PictureSamples> seen = LookAtPictures(*net_, few, {});
  ASSERT_TRUE(seen.ok());
  EXPECT_EQ(seen->samples.size(), 2u);
  seen = LookAtPictures(*net_, all_, {}, {.values = 9 * 20});
  ASSERT_TRUE(seen.ok());
  EXPECT_EQ(seen->looked_at, 20);
  EXPECT_EQ(seen->samples.size(), 20u);
  seen = LookAtPictures(*net_, all_, {}, {.samples = 0, .mistakes = 0});
  ASSERT_TRUE(seen.ok());
  EXPECT_TRUE(seen->samples.empty() && seen->mistakes.empty());
}

TEST_F(Looking, FiltersAreShownWhereTheyArePictures) {
  const std::vector<ShownPicture> rows = FirstFilters(*net_, {3, 3, 1}, 64, 72);
  ASSERT_EQ(rows.size(), 2u);
  EXPECT_EQ(rows[0].pixels, (std::vector<uint8_t>{128, 128, 128, 128, 255, 128, 128, 128, 128}));
  EXPECT_EQ(rows[1].pixels, std::vector<uint8_t>(9, 128));
  EXPECT_TRUE(FirstFilters(*net_, {9}, 64, 72).empty()) << "a table has no pictures";
  Result<Network> resnet = Network::Bind(ctx_, ResNet18(4), {.input = {1, 32, 32, 3}});
  ASSERT_TRUE(resnet.ok());
  const std::vector<ShownPicture> filters = FirstFilters(*resnet, {32, 32, 3}, 10, 72);
  ASSERT_EQ(filters.size(), 10u);
  EXPECT_EQ(filters[0].height, 7);
  EXPECT_EQ(filters[0].channels, 3);
}

}  // namespace
}  // namespace lockstep::tools
