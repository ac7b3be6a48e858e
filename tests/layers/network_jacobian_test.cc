// Derivatives of every layer beside its neighbours, in evaluation mode.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <vector>

#include "engine/base/random.h"
#include "engine/train/jacobian.h"
#include "gtest/gtest.h"
#include "tests/layers/network_models.h"

namespace lockstep::inline v0_1::networks {
namespace {

// A network whose running statistics are no longer 0 and 1.
Network Trained(Context& ctx, const Model& model, bool share = true, Fusion fusion = Fusion::kAll) {
  Network net = Network::Bind(ctx, model.make(), MseLoss(),
                              {.input = Batched(model.sample, kBatch),
                               .seed = 31,
                               .share_memory = share,
                               .fusion = fusion})
                    .value();
  const std::vector<float> x = Normals(net.input_shape().size(), 32);
  const std::vector<float> t = Normals(net.output_shape().size(), 33);
  AdamW adam({.lr = 1e-3});
  for (int step = 0; step < 3; ++step) {
    EXPECT_TRUE(
        net.TrainStep({x.data(), net.input_shape()}, {t.data(), net.output_shape()}, adam).ok());
  }
  return net;
}

// J^T v along a random direction d against differences of v y(x + h d), as
// network_gradient_test.cc does with losses, and with its tolerance: y is what Predict gives, in
// which norms are folded.
TEST(NetworkJacobianTest, MatchesDifferencesOfPredictions) {
  constexpr int kDirections = 3;
  for (const Model& model : Models()) {
    SCOPED_TRACE(model.name);
    Context ctx({.threads = 1});
    Network net = Trained(ctx, model);
    const Shape in = net.input_shape(), out = net.output_shape();
    const std::vector<float> x = Normals(in.size(), 34), v = Normals(out.size(), 35);
    std::vector<float> dx(x.size(), NAN), y(v.size());
    Jacobian jacobian = Jacobian::Make(net).value();
    ASSERT_TRUE(jacobian.VectorProduct({x.data(), in}, {v.data(), out}, {dx.data(), in}).ok());
    double norm = 0.0;
    for (const float g : dx) norm += static_cast<double>(g) * static_cast<double>(g);
    norm = std::sqrt(norm);
    Random random(7, 0);
    for (int d = 0; d < kDirections; ++d) {
      std::vector<double> direction(x.size());
      double length = 0.0, want = 0.0, size = 0.0;
      for (double& one : direction) one = random.Normal(), length += one * one;
      for (size_t i = 0; i < direction.size(); ++i) {
        direction[i] /= std::sqrt(length);
        want += direction[i] * static_cast<double>(dx[i]);
      }
      const auto at = [&](double steps) {
        std::vector<float> moved(x.size());
        for (size_t i = 0; i < x.size(); ++i)
          moved[i] = static_cast<float>(static_cast<double>(x[i]) + steps * direction[i]);
        EXPECT_TRUE(net.Predict({moved.data(), in}, {y.data(), out}).ok());
        double sum = 0.0;
        size = 0.0;
        for (size_t k = 0; k < y.size(); ++k) {
          const double term = static_cast<double>(v[k]) * static_cast<double>(y[k]);
          sum += term, size += term * term;
        }
        return sum;
      };
      double best = std::numeric_limits<double>::infinity();
      for (const double h : {0.03, 0.01, 0.003, 0.001, 0.0003}) {
        const double slope = (8.0 * (at(h) - at(-h)) - (at(2.0 * h) - at(-2.0 * h))) / (12.0 * h);
        best = std::min(best, std::abs(slope - want) -
                                  (1.5 * 4e-7 * (1.0 + std::sqrt(size)) / h + 2e-3 * norm));
      }
      EXPECT_LE(best, 0.0) << "direction " << d << ": " << want << ", of length " << norm;
    }
  }
}

// Sharing memory, fusing, poison in what a pass may find, threads and passes change no bit.
TEST(NetworkJacobianTest, MemoryFusionAndThreadsChangeNoBit) {
  for (const Model& model : Models()) {
    SCOPED_TRACE(model.name);
    const int64_t inputs = model.sample.size();
    const std::vector<float> x = Normals(4 * inputs, 36);
    std::vector<float> first;
    const auto expect_same = [&](int threads, bool share, Fusion fusion, int64_t rows,
                                 const char* what) {
      Context ctx({.threads = threads});
      const Network net = Trained(ctx, model, share, fusion);
      Jacobian jacobian = Jacobian::Make(net, {.rows = rows}).value();
      std::vector<float> j(static_cast<size_t>(4 * jacobian.outputs() * inputs), NAN);
      ASSERT_TRUE(jacobian
                      .Full({x.data(), Batched(model.sample, 4)},
                            {j.data(), {4, jacobian.outputs(), inputs}})
                      .ok());
      if (first.empty()) first = j;
      // Bits of zeros have signs, which no one promises.
      EXPECT_TRUE(std::ranges::equal(j, first)) << what;
    };
    expect_same(1, true, Fusion::kAll, 0, "as it is");
    expect_same(1, false, Fusion::kAll, 0, "memory not shared");
    expect_same(1, true, Fusion::kNone, 0, "nothing fused");
    expect_same(2, true, Fusion::kAll, 5, "2 threads, 5 rows");
    expect_same(7, true, Fusion::kAll, 1, "7 threads, 1 row");
  }
}

}  // namespace
}  // namespace lockstep::networks
