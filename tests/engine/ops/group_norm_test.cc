#include "engine/ops/group_norm.h"

#include <cmath>
#include <complex>
#include <cstdint>
#include <vector>

#include "gtest/gtest.h"
#include "tests/engine/kernels/arrays.h"
#include "tests/engine/ops/ranks.h"
#include "tests/reference/group_norm.h"

namespace lockstep::inline v0_1::ops {
namespace {

using testing_arrays::kFloatEps;
using testing_arrays::kNan;
using testing_arrays::Normals;
using testing_ranks::AllReduce;
using testing_ranks::Division;
using testing_ranks::Divisions;
using testing_ranks::kSamples;
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
  std::vector<float> y, mean, mean_low, inv_std, dx, dgamma, dbeta;
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

// The step of a rank that holds the part `cut` of the problem's samples; the other samples stay as
// they are in `out`.
void ComputePart(const Problem& p, const BatchCut& cut, const Inputs& in, int threads, bool affine,
                 bool accumulate, Results& out) {
  Context context({.threads = threads});
  std::vector<double> partials(static_cast<size_t>(GroupNormPartialsSize(p.shape(), cut.samples())),
                               NAN);
  const int64_t row = cut.first_sample() * p.channels, at = row * p.positions;
  out.dgamma.assign(in.gamma.size(), accumulate ? kBefore : kNan);
  out.dbeta = out.dgamma;
  GroupNormForward(context, cut, p.shape(),
                   {.x = in.x.data() + at,
                    .gamma = affine ? in.gamma.data() : nullptr,
                    .beta = affine ? in.beta.data() : nullptr,
                    .y = out.y.data() + at,
                    .mean = out.mean.data() + row,
                    .mean_low = out.mean_low.data() + row,
                    .inv_std = out.inv_std.data() + row,
                    .partials = partials.data()});
  GroupNormBackward(context, cut, p.shape(),
                    {.x = in.x.data() + at,
                     .dy = in.dy.data() + at,
                     .mean = out.mean.data() + row,
                     .mean_low = out.mean_low.data() + row,
                     .inv_std = out.inv_std.data() + row,
                     .gamma = affine ? in.gamma.data() : nullptr,
                     .dx = out.dx.data() + at,
                     .dgamma = out.dgamma.data(),
                     .dbeta = out.dbeta.data(),
                     .accumulate = accumulate,
                     .partials = partials.data()});
}

Results EmptyResults(const Problem& p) {
  Results out;
  out.y.assign(static_cast<size_t>(p.size()), kNan);
  out.dx = out.y;
  out.mean.assign(static_cast<size_t>(p.samples * p.channels), kNan);
  out.mean_low = out.inv_std = out.mean;
  return out;
}

Results Compute(const Problem& p, const Inputs& in, int threads, bool affine, bool accumulate) {
  Results out = EmptyResults(p);
  ComputePart(p, BatchCut::Whole(p.samples, p.shards), in, threads, affine, accumulate, out);
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

TEST(GroupNormOpTest, RanksTogetherHaveTheBitsOfOneProcess) {
  for (const int64_t samples : kSamples) {
    for (const Division& division : Divisions()) {
      SCOPED_TRACE(testing::Message() << samples << " samples, shards " << division.shards
                                      << ", ranks " << division.ranks);
      const Problem p = {samples, /*positions=*/11, /*channels=*/6, /*groups=*/3, division.shards};
      const Inputs in = MakeInputs(p);
      const Results whole = Compute(p, in, 1, /*affine=*/true, /*accumulate=*/false);
      Results got = EmptyResults(p);
      std::vector<std::vector<float>> dgamma, dbeta;
      for (int rank = 0; rank < division.ranks; ++rank) {
        ComputePart(p, BatchCut::OfRank(samples, division.shards, rank, division.ranks), in, 1,
                    /*affine=*/true, /*accumulate=*/false, got);
        dgamma.push_back(got.dgamma);
        dbeta.push_back(got.dbeta);
      }
      got.dgamma = AllReduce(dgamma);
      got.dbeta = AllReduce(dbeta);
      EXPECT_TRUE(got == whole);
    }
  }
}

// At mean / sd = 1e4 the rounding of the mean to one float alone would move xhat by up to 5e-4.
TEST(GroupNormOpTest, NormalisesUnderALargeMean) {
  const Problem p = {.samples = 2, .positions = 1500, .channels = 4, .groups = 2};
  Inputs in = MakeInputs(p);
  in.x = Normals(p.size(), 6, /*mean=*/1e4);
  // Such that the means of dy and of dy xhat over a group are about 1.
  in.dy = Normals(p.size(), 7, /*mean=*/1.0);
  for (size_t i = 0; i < in.x.size(); ++i) in.dy[i] += in.x[i] - 1e4f;
  const Results got = Compute(p, in, 1, /*affine=*/false, /*accumulate=*/false);
  const size_t sample_size = static_cast<size_t>(p.positions * p.channels);
  const std::vector<double> ones(4, 1.0), zeros(4, 0.0);
  std::vector<double> dgamma(4, 0.0);
  for (size_t n = 0; n < 2; ++n) {
    const auto first = static_cast<std::ptrdiff_t>(n * sample_size);
    const std::vector<double> x(in.x.begin() + first,
                                in.x.begin() + first + static_cast<std::ptrdiff_t>(sample_size));
    const std::vector<double> y = reference::GroupNorm(x, 4, 2, ones, zeros, 1e-5);
    double c1[2] = {}, c2[2] = {};
    const auto dy = [&](size_t i) { return static_cast<double>(in.dy[n * sample_size + i]); };
    for (size_t i = 0; i < sample_size; ++i) {
      c1[i % 4 / 2] += dy(i) / 3000.0;
      c2[i % 4 / 2] += dy(i) * y[i] / 3000.0;
      dgamma[i % 4] += dy(i) * y[i];
    }
    for (size_t i = 0; i < sample_size; ++i) {
      const size_t at = n * sample_size + i, g = i % 4 / 2;
      ASSERT_TRUE(std::abs(static_cast<double>(got.y[at]) - y[i]) <= 1e-6);
      const auto inv_std = static_cast<double>(got.inv_std[n * 4 + i % 4]);
      const double want_dx = inv_std * (dy(i) - c1[g] - y[i] * c2[g]);
      // Four roundings of terms below 10.
      ASSERT_TRUE(std::abs(static_cast<double>(got.dx[at]) - want_dx) <= 4 * 10 * kFloatEps);
    }
  }
  for (size_t c = 0; c < 4; ++c) {
    EXPECT_TRUE(std::abs(static_cast<double>(got.dgamma[c]) - dgamma[c]) <= 1e-6 * 3000.0);
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

// Its own mean: xhat is 0 whatever x is, and so is dx, to the bit.
TEST(GroupNormOpTest, AGroupOfOneValueHasNoGradient) {
  for (const int64_t channels : {1, 7, 16, 19}) {
    const Problem p = {.samples = 5, .positions = 1, .channels = channels, .groups = channels};
    Inputs in = MakeInputs(p);
    for (float& dy : in.dy) dy *= 1e4f;
    for (const bool affine : {true, false}) {
      const Results got = Compute(p, in, 2, affine, /*accumulate=*/false);
      EXPECT_EQ(got.dx, std::vector<float>(in.x.size(), 0.0f));
      EXPECT_EQ(got.dgamma, std::vector<float>(in.gamma.size(), 0.0f));
    }
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
