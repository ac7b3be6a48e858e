// A convolution layer's numbers held against the scalar reference in double.
#ifndef LOCKSTEP_TESTS_LAYERS_CONV_CONV_CASE_H_
#define LOCKSTEP_TESTS_LAYERS_CONV_CONV_CASE_H_

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "engine/ops/conv.h"
#include "tests/layers/layer_runner.h"
#include "tests/layers/network_models.h"
#include "tests/reference/conv.h"

namespace lockstep::inline v0_1::testing {

// All that a layer gives for one batch, forward and backward.
struct ConvNumbers {
  std::vector<float> y, dx, dw, db;
  bool operator==(const ConvNumbers&) const = default;
};

struct ConvInputs {
  std::vector<float> x, dy;
};

// `layer` on a batch of `samples`, bound for `bound`.
template <class L>
ConvNumbers RunConv(const L& layer, const Shape& bound, int64_t samples, const ConvInputs& in,
                    int threads, int shards) {
  LayerRunner runner(std::make_unique<L>(layer), bound, {}, threads, shards);
  EXPECT_TRUE(runner.status().ok()) << runner.status().message();
  const Shape shape = bound.WithBatch(samples);
  ConvNumbers numbers;
  numbers.y = runner.Forward(in.x, shape);
  numbers.dx = runner.Backward(in.x, shape, in.dy);
  const auto copy = [&](const std::string& name) {
    const std::span<float> gradient = runner.gradient(name);
    return std::vector<float>(gradient.begin(), gradient.end());
  };
  numbers.dw = copy("weight");
  numbers.db = copy("bias");
  return numbers;
}

// Two fp32 sums of n terms of the sizes that `sizes` adds up lie within n 2^-24 of them; chains of
// at most 256 that merge as a tree, and shards, keep n below 300. One more for a bias.
inline void ExpectNear(const std::vector<float>& got, const std::vector<double>& want,
                       const std::vector<double>& sizes, const char* what) {
  ASSERT_EQ(got.size(), want.size()) << what;
  for (size_t i = 0; i < got.size(); ++i) {
    ASSERT_TRUE(std::abs(static_cast<double>(got[i]) - want[i]) <= 300 * 0x1p-24 * sizes[i])
        << what << "[" << i << "]: " << got[i] << " against " << want[i];
  }
}

// Holds y, dx, dw and db of `layer`, which is `shape` (gone transposed or not), against the
// reference; with any number of threads they are the same to the bit, and with shards the gradients
// of the data too.
template <class L>
void ExpectConvolves(const L& layer, const ops::ConvShape& shape, bool transposed, int64_t bound,
                     int64_t samples) {
  const int64_t of_in = shape.in_h * shape.in_w * shape.in_c;
  const int64_t of_out = shape.out_h * shape.out_w * shape.out_c;
  const Shape x_shape = transposed ? Shape{bound, shape.out_h, shape.out_w, shape.out_c}
                                   : Shape{bound, shape.in_h, shape.in_w, shape.in_c};
  const int64_t of_x = transposed ? of_out : of_in, of_y = transposed ? of_in : of_out;
  const ConvInputs in{networks::Normals(samples * of_x, 1), networks::Normals(samples * of_y, 2)};
  LayerRunner runner(std::make_unique<L>(layer), x_shape);
  ASSERT_TRUE(runner.status().ok()) << runner.status().message();
  ASSERT_EQ(runner.out().sample_size(), of_y) << runner.out();
  const std::span<float> weight = runner.value("weight"), bias = runner.value("bias");

  const auto widen = [](std::span<const float> values, bool absolute) {
    std::vector<double> wide(values.begin(), values.end());
    if (absolute) {
      for (double& v : wide) v = std::abs(v);
    }
    return wide;
  };
  struct Wide {
    std::vector<double> y, dx, dw, db;
  };
  const auto solve = [&](bool absolute) {
    const std::vector<double> x = widen(in.x, absolute), dy = widen(in.dy, absolute);
    const std::vector<double> w = widen(weight, absolute), b = widen(bias, absolute);
    const auto conv = [&](const std::vector<double>& from) {
      return reference::ConvForward(shape, samples, from.data(), w.data());
    };
    const auto spread = [&](const std::vector<double>& from) {
      return reference::ConvDataGradient(shape, samples, from.data(), w.data());
    };
    Wide wide{transposed ? spread(x) : conv(x), transposed ? conv(dy) : spread(dy),
              reference::ConvWeightGradient(shape, 0, samples, (transposed ? dy : x).data(),
                                            (transposed ? x : dy).data()),
              std::vector<double>(b.size(), 0.0)};
    for (size_t i = 0; i < wide.y.size() && !b.empty(); ++i) {
      wide.y[i] += b[i % b.size()];
      wide.db[i % b.size()] += dy[i];
    }
    return wide;
  };
  const Wide want = solve(false), sizes = solve(true);

  const ConvNumbers one = RunConv(layer, x_shape, samples, in, 1, 1);
  ExpectNear(one.y, want.y, sizes.y, "y");
  ExpectNear(one.dx, want.dx, sizes.dx, "dx");
  ExpectNear(one.dw, want.dw, sizes.dw, "dw");
  ExpectNear(one.db, want.db, sizes.db, "db");
  for (const int threads : {2, 3, 8})
    EXPECT_EQ(RunConv(layer, x_shape, samples, in, threads, 1), one) << threads << " threads";
  const ConvNumbers sharded = RunConv(layer, x_shape, samples, in, 1, 4);
  EXPECT_EQ(sharded.y, one.y);
  EXPECT_EQ(sharded.dx, one.dx);
  ExpectNear(sharded.dw, want.dw, sizes.dw, "dw of shards");
  ExpectNear(sharded.db, want.db, sizes.db, "db of shards");
  EXPECT_EQ(RunConv(layer, x_shape, samples, in, 3, 4), sharded);
}

}  // namespace lockstep::testing

#endif  // LOCKSTEP_TESTS_LAYERS_CONV_CONV_CASE_H_
