// Lstm and Gru, forward and backward, against the numbers PyTorch gives
// (tests/golden/make_recurrent.py).
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <vector>

#include "tests/layers/recurrent/nets.h"

namespace lockstep::inline v0_1 {
namespace {

using testing::LayerRunner;
using testing::Net;
using testing::NetLayer;
using testing::Numbers;
using testing::NumbersOf;
using testing::Values;
using Norm = RecurrentOptions::Norm;
using Json = nlohmann::ordered_json;

// The promise is 1e-5 relative to the largest value of a tensor.
void ExpectClose(std::span<const float> got, const Json& want, const std::string& what) {
  ASSERT_EQ(got.size(), want.size()) << what;
  double largest = 0.0;
  for (const auto& v : want) largest = std::max(largest, std::abs(v.get<double>()));
  for (size_t i = 0; i < got.size(); ++i) {
    const double error = std::abs(static_cast<double>(got[i]) - want[i].get<double>());
    EXPECT_TRUE(error <= 1e-5 * largest + 1e-7)
        << what << "[" << i << "]: " << got[i] << " against " << want[i].get<double>();
  }
}

TEST(RecurrentParityTest, ForwardAndBackwardArePyTorchs) {
  std::ifstream file(LOCKSTEP_SOURCE_DIR "/tests/golden/recurrent.json");
  const Json golden = Json::parse(file);
  EXPECT_GE(golden.at("cases").size(), 12u);
  for (const auto& [name, want] : golden.at("cases").items()) {
    SCOPED_TRACE(name);
    const auto dims = want.at("shape").get<std::vector<int64_t>>();
    const Shape in{std::span<const int64_t>(dims)};
    const Net net{.lstm = want.at("cell") == "lstm",
                  .hidden = want.at("hidden").get<int64_t>(),
                  .options = {.layers = want.at("layers").get<int64_t>(),
                              .bidirectional = want.at("bidirectional").get<bool>(),
                              .bias = want.at("bias").get<bool>(),
                              .norm = want.at("norm") == "layer" ? Norm::kLayer : Norm::kNone},
                  .segments = want.at("segments").get<std::vector<int32_t>>()};
    LayerRunner runner(std::make_unique<NetLayer>(net), in);
    ASSERT_TRUE(runner.status().ok()) << runner.status().message();
    ASSERT_EQ(runner.store().infos().size(), want.at("parameters").size());
    uint32_t stream = 99;
    for (const auto& [parameter, shape] : want.at("parameters").items()) {
      const std::span<float> to = runner.value(parameter);
      const std::vector<float> values = Values(++stream, static_cast<int64_t>(to.size()));
      const bool gamma = parameter.starts_with("norm") && parameter.ends_with(".weight");
      ASSERT_FALSE(to.empty()) << parameter;
      for (size_t i = 0; i < to.size(); ++i) to[i] = 0.5f * values[i] + (gamma ? 1.0f : 0.0f);
    }
    const std::vector<float> x = Values(1, in.size()), dy = Values(2, runner.out().size());
    const Numbers got = NumbersOf(runner, x, in, dy);
    ExpectClose(got.y, want.at("y"), "y");
    ExpectClose(got.dx, want.at("dx"), "dx");
    for (const auto& [parameter, gradient] : want.at("gradients").items())
      ExpectClose(got.gradients.at(parameter), gradient, parameter);
  }
}

}  // namespace
}  // namespace lockstep
