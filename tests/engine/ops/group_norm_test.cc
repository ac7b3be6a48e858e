#include "engine/ops/group_norm.h"

#include <cmath>
#include <complex>
#include <cstdint>
#include <vector>

#include "gtest/gtest.h"
#include "tests/engine/kernels/arrays.h"
#include "tests/reference/group_norm.h"

namespace lockstep::ops {
namespace {

using testing_arrays::kFloatEps;
using testing_arrays::kNan;
using testing_arrays::Normals;
using Complex = std::complex<double>;

struct Problem {
  int64_t samples, positions, channels, groups;
  int64_t shards = 1;

  int64_t size() const { return samples * positions * channels; }
  GroupNormShape shape() const {
    return {.positions = positions, .channels = channels, .groups = groups};
  }
};

struct Results {
  std::vector<float> y, mean, inv_std, dx, dgamma, dbeta;
  bool operator==(const Results&) const = default;
};

struct Inputs {
  std::vector<float> x, dy, gamma, beta;
};

Inputs MakeInputs(const Problem& p) {
  return {Normals(p.size(), 1, 2.0), Normals(p.size(), 2), Normals(p.channels, 3),
          Normals(p.channels, 4)};
}

constexpr float kBefore = 3.0f;  // what dgamma and dbeta hold when they are added to

Results Compute(const Problem& p, const Inputs& in, int threads, bool affine, bool accumulate) {
  Context context({.threads = threads});
  std::vector<double> partials(static_cast<size_t>(GroupNormPartialsSize(p.shape(), p.samples)),
                               NAN);
  Results out;
  out.y.assign(in.x.size(), kNan);
  out.dx = out.y;
  out.mean.assign(static_cast<size_t>(p.samples * p.channels), kNan);
  out.inv_std = out.mean;
  out.dgamma.assign(in.gamma.size(), accumulate ? kBefore : kNan);
  out.dbeta = out.dgamma;
  GroupNormForward(context, BatchCut::Whole(p.samples, p.shards), p.shape(),
                   {.x = in.x.data(),
                    .gamma = affine ? in.gamma.data() : nullptr,
                    .beta = affine ? in.beta.data() : nullptr,
                    .y = out.y.data(),
                    .mean = out.mean.data(),
                    .inv_std = out.inv_std.data(),
                    .partials = partials.data()});
  GroupNormBackward(context, BatchCut::Whole(p.samples, p.shards), p.shape(),
                    {.x = in.x.data(),
                     .dy = in.dy.data(),
                     .mean = out.mean.data(),
                     .inv_std = out.inv_std.data(),
                     .gamma = affine ? in.gamma.data() : nullptr,
                     .dx = out.dx.data(),
                     .dgamma = out.dgamma.data(),
                     .dbeta = out.dbeta.data(),
                     .accumulate = accumulate,
                     .partials = partials.data()});
  return out;
}

TEST(GroupNormOpTest, MatchesReferenceAndComplexStep) {
  const std::vector<Problem> problems = {
      {.samples = 3, .positions = 5, .channels = 6, .groups = 2, .shards = 2},
      {.samples = 2, .positions = 4, .channels = 9, .groups = 9, .shards = 1},  // instance norm
      {.samples = 2, .positions = 3, .channels = 8, .groups = 1, .shards = 4},
      {.samples = 1, .positions = 1, .channels = 10, .groups = 2, .shards = 1},
  };
  for (const Problem& p : problems) {
    for (const bool affine : {true, false}) {
      SCOPED_TRACE(testing::Message() << p.channels << " channels, " << p.groups << " groups"
                                      << (affine ? ", affine" : ""));
      const Inputs in = MakeInputs(p);
      const Results got = Compute(p, in, 2, affine, /*accumulate=*/true);
      const auto channels = static_cast<size_t>(p.channels);
      const auto groups = static_cast<size_t>(p.groups);
      const auto sample_size = static_cast<size_t>(p.positions) * channels;
      std::vector<double> gamma(in.gamma.begin(), in.gamma.end());
      std::vector<double> beta(in.beta.begin(), in.beta.end());
      if (!affine) gamma.assign(channels, 1.0), beta.assign(channels, 0.0);
      std::vector<double> dgamma(channels, 0.0), dbeta(channels, 0.0);
      const double eps = 1e-5;
      for (size_t n = 0; n < static_cast<size_t>(p.samples); ++n) {
        const size_t first = n * sample_size;
        std::vector<Complex> x;
        for (size_t i = 0; i < sample_size; ++i)
          x.emplace_back(static_cast<double>(in.x[first + i]));
        const auto y = reference::GroupNorm(x, channels, groups, gamma, beta, eps);
        const auto xhat = reference::GroupNorm(x, channels, groups, std::vector(channels, 1.0),
                                               std::vector(channels, 0.0), eps);
        for (size_t i = 0; i < sample_size; ++i) {
          const double error = std::abs(static_cast<double>(got.y[first + i]) - y[i].real());
          ASSERT_TRUE(error <= 100.0 * kFloatEps) << n << " " << i;
          const auto dy = static_cast<double>(in.dy[first + i]);
          dgamma[i % channels] += dy * xhat[i].real();
          dbeta[i % channels] += dy;

          x[i] += Complex(0.0, 1e-50);
          const auto moved = reference::GroupNorm(x, channels, groups, gamma, beta, eps);
          x[i] = x[i].real();
          double want = 0.0;
          for (size_t k = 0; k < sample_size; ++k)
            want += static_cast<double>(in.dy[first + k]) * moved[k].imag() * 1e50;
          const double dx_error = std::abs(static_cast<double>(got.dx[first + i]) - want);
          // inv_std times a difference of terms of size |gamma dy| xhat^2.
          const auto inv_std = static_cast<double>(got.inv_std[n * channels + i % channels]);
          ASSERT_TRUE(dx_error <= 100.0 * kFloatEps * (1.0 + inv_std)) << n << " " << i;
        }
      }
      for (size_t c = 0; c < channels; ++c) {
        const auto before = static_cast<double>(kBefore);
        EXPECT_TRUE(std::abs(static_cast<double>(got.dgamma[c]) - before - dgamma[c]) <=
                    200.0 * kFloatEps);
        EXPECT_TRUE(std::abs(static_cast<double>(got.dbeta[c]) - before - dbeta[c]) <=
                    200.0 * kFloatEps);
      }
    }
  }
}

TEST(GroupNormOpTest, SameBitsOnAnyNumberOfThreadsHoweverSamplesAreShared) {
  const std::vector<Problem> problems = {
      // Several stretches and few samples (shared), several and many, one stretch, empty shards.
      {.samples = 3, .positions = 2500, .channels = 12, .groups = 3, .shards = 2},
      {.samples = 9, .positions = 1025, .channels = 6, .groups = 6, .shards = 4},
      {.samples = 11, .positions = 49, .channels = 33, .groups = 11, .shards = 3},
      {.samples = 2, .positions = 7, .channels = 40, .groups = 1, .shards = 8},
  };
  for (const Problem& p : problems) {
    const Inputs in = MakeInputs(p);
    const Results one = Compute(p, in, 1, true, false);
    for (const int threads : {2, 3, 8}) {
      SCOPED_TRACE(testing::Message() << threads << " threads, " << p.samples << " samples");
      EXPECT_TRUE(Compute(p, in, threads, true, false) == one);
    }
  }
}

TEST(GroupNormOpTest, TortureValues) {
  const Problem p = {.samples = 4, .positions = 1500, .channels = 4, .groups = 2};
  const std::vector<float> noise = Normals(p.size(), 5);
  Inputs in = MakeInputs(p);
  const int64_t sample_size = p.positions * p.channels;
  for (int64_t i = 0; i < p.size(); ++i) {
    float& v = in.x[static_cast<size_t>(i)];
    const float z = noise[static_cast<size_t>(i)];
    switch (i / sample_size) {
      case 0:
        v = 1e4f + z;  // large offset
        break;
      case 1:
        v = 0.1f;  // constant
        break;
      case 2:
        v = 1e30f * z;
        break;
      default:
        v = i % 4 < 2 ? z : kNan;  // a NaN in the second group
    }
  }
  const Results got = Compute(p, in, 2, false, false);
  const auto at = [&](int64_t sample, int64_t channel) {
    return static_cast<size_t>(sample * p.channels + channel);
  };
  double sum = 0.0, squares = 0.0;
  for (int64_t i = 0; i < sample_size; ++i) {
    if (i % 4 >= 2) continue;
    const double d = static_cast<double>(in.x[static_cast<size_t>(i)]) - 1e4;
    sum += d / 3000.0;
    squares += d * d / 3000.0;
  }
  const double want = 1.0 / std::sqrt(squares - sum * sum + 1e-5);
  EXPECT_TRUE(std::abs(static_cast<double>(got.inv_std[at(0, 0)]) - want) <= 1e-5 * want);
  EXPECT_EQ(got.mean[at(1, 0)], 0.1f);
  EXPECT_EQ(got.inv_std[at(1, 0)], static_cast<float>(1.0 / std::sqrt(1e-5)));
  for (int64_t i = 0; i < sample_size; ++i) {
    EXPECT_EQ(got.y[static_cast<size_t>(sample_size + i)], 0.0f);
    ASSERT_TRUE(std::abs(got.y[static_cast<size_t>(2 * sample_size + i)]) < 10.0f);
    ASSERT_TRUE(std::isfinite(got.dx[static_cast<size_t>(2 * sample_size + i)]));
    EXPECT_EQ(std::isnan(got.y[static_cast<size_t>(3 * sample_size + i)]), i % 4 >= 2);
  }
}

TEST(GroupNormOpTest, AnEmptyBatchLeavesGradientsOfZero) {
  const Problem p = {.samples = 0, .positions = 3, .channels = 4, .groups = 2};
  const Results empty = Compute(p, MakeInputs(p), 2, true, false);
  EXPECT_EQ(empty.dgamma, std::vector<float>(4, 0.0f));
  EXPECT_EQ(empty.dbeta, std::vector<float>(4, 0.0f));
}

}  // namespace
}  // namespace lockstep::ops
