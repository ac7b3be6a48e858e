// Pooling, resizing and padding against the numbers PyTorch gives
// (tests/golden/make_picture_layers.py made pictures.json).
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <fstream>
#include <functional>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <vector>

#include "layers/picture/adaptive_pool.h"
#include "layers/picture/pad.h"
#include "layers/picture/pool.h"
#include "layers/picture/upsample.h"
#include "tests/layers/layer_runner.h"

namespace lockstep::inline v0_1 {
namespace {

using testing::LayerRunner;
using testing::Values;
using Json = nlohmann::ordered_json;
constexpr auto kLinear = UpsampleOptions::Mode::kLinear;

struct Case {
  std::function<std::unique_ptr<Layer>()> make;
  float steps = 0.0f;  // x is rounded down to multiples of 1 / steps
};

const std::map<std::string, Case>& Cases() {
  const auto of = [](auto layer, float steps = 0.0f) {
    return Case{[layer] { return std::make_unique<decltype(layer)>(layer); }, steps};
  };
  static const std::map<std::string, Case> cases = {
      {"max_pool", of(MaxPool2d(2))},
      {"max_pool_stem", of(MaxPool2d(3, {.stride = 2, .padding = 1}), 3)},
      {"max_pool_ceil",
       of(MaxPool2d({3, 2}, {.stride = Window(2, 3), .padding = {1, 1}, .ceil_mode = true}), 3)},
      {"max_pool_dilated",
       of(MaxPool2d(2, {.stride = Window(1, 2), .padding = 1, .dilation = {2, 3}}), 3)},
      {"max_pool_1d", of(MaxPool1d(3, {.stride = 2, .padding = 1, .ceil_mode = true}), 3)},
      {"avg_pool", of(AvgPool2d(3, {.stride = 2, .padding = 1}))},
      {"avg_pool_ceil",
       of(AvgPool2d({3, 2}, {.stride = Window(2, 3), .padding = {1, 0}, .ceil_mode = true}))},
      {"avg_pool_inside",
       of(AvgPool2d(3,
                    {.stride = 2, .padding = 1, .ceil_mode = true, .count_include_pad = false}))},
      {"avg_pool_divisor", of(AvgPool2d(2, {.stride = 1, .padding = 1, .divisor_override = 3}))},
      {"avg_pool_1d", of(AvgPool1d(3, {.stride = 2, .padding = 1, .ceil_mode = true}))},
      {"adaptive", of(AdaptiveAvgPool2d({3, 5}))},
      {"adaptive_more", of(AdaptiveAvgPool2d({0, 7}))},
      {"adaptive_global", of(AdaptiveAvgPool2d(1))},
      {"adaptive_1d", of(AdaptiveAvgPool1d(3))},
      {"nearest", of(Upsample({.scale_factor = 2.0}))},
      {"nearest_factor", of(Upsample({.scale_factor = UpsampleOptions::Factor(1.7, 0.6)}))},
      {"nearest_size", of(Upsample({.size = Window(7, 4)}))},
      {"nearest_1d", of(Upsample({.scale_factor = 2.5}))},
      {"bilinear", of(Upsample({.scale_factor = 2.0, .mode = kLinear}))},
      {"bilinear_factor",
       of(Upsample({.scale_factor = UpsampleOptions::Factor(1.7, 0.6), .mode = kLinear}))},
      {"bilinear_size", of(Upsample({.size = Window(7, 4), .mode = kLinear}))},
      {"bilinear_corners",
       of(Upsample({.size = Window(7, 1), .mode = kLinear, .align_corners = true}))},
      {"bilinear_corners_factor",
       of(Upsample({.scale_factor = 1.5, .mode = kLinear, .align_corners = true}))},
      {"linear_1d", of(Upsample({.scale_factor = 2.5, .mode = kLinear}))},
      {"zero_pad", of(ZeroPad2d({1, 2, 3, 0}))},
      {"zero_pad_cut", of(ZeroPad2d({-1, 2, 1, -2}))},
      {"reflection_pad", of(ReflectionPad2d({1, 3, 2, 0}))},
      {"replication_pad", of(ReplicationPad2d({1, 5, 4, 0}))},
  };
  return cases;
}

Shape ShapeOf(const Json& dims) {
  const auto extents = dims.get<std::vector<int64_t>>();
  return Shape(std::span(extents));
}

// Sums of at most twenty values below 1, in another order; PyTorch has positions between pixels in
// single precision, some 1e-6 of up to 10 of them.
void ExpectClose(const std::vector<float>& got, const Json& want, const std::string& what) {
  ASSERT_EQ(got.size(), want.size()) << what;
  for (size_t i = 0; i < got.size(); ++i) {
    const auto expected = want[i].get<double>();
    EXPECT_TRUE(std::abs(static_cast<double>(got[i]) - expected) <= 5e-6)
        << what << "[" << i << "]: " << got[i] << " against " << expected;
  }
}

TEST(PictureParityTest, EveryCaseIsPyTorchs) {
  std::ifstream in(std::string(LOCKSTEP_SOURCE_DIR) + "/tests/golden/pictures.json");
  const Json golden = Json::parse(in).at("cases");
  EXPECT_EQ(golden.size(), Cases().size());
  for (const auto& [name, one] : Cases()) {
    SCOPED_TRACE(name);
    const Json& want = golden.at(name);
    const Shape shape = ShapeOf(want.at("shape"));
    LayerRunner runner(one.make(), shape);
    ASSERT_TRUE(runner.status().ok()) << runner.status().message();
    ASSERT_EQ(runner.out(), ShapeOf(want.at("out")));
    std::vector<float> x = Values(1, shape.size());
    if (one.steps > 0.0f) {
      for (float& v : x) v = std::floor(v * one.steps) / one.steps;
    }
    ExpectClose(runner.Forward(x, shape), want.at("y"), "y");
    const std::vector<float> dy = Values(2, runner.out().size());
    ExpectClose(runner.Backward(x, shape, dy), want.at("dx"), "dx");
  }
}

}  // namespace
}  // namespace lockstep
