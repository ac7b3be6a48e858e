#include "engine/kernels/norm/normalize.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <vector>

#include "engine/base/check.h"
#include "engine/kernels/targets.h"
#include "gtest/gtest.h"
#include "tests/engine/kernels/arrays.h"
#include "tests/reference/batch_norm.h"
// After targets.h.
#include <hwy/tests/hwy_gtest.h>

namespace lockstep::inline v0_1::kernels {
namespace {

using testing_arrays::Bits;
using testing_arrays::ExpectSameBitsOnFmaTargets;
using testing_arrays::Guarded;
using testing_arrays::HasFma;
using testing_arrays::kFloatEps;
using testing_arrays::kInf;
using testing_arrays::kNan;
using testing_arrays::Normals;

class NormalizeTest : public hwy::TestWithParamTarget {};
HWY_TARGET_INSTANTIATE_TEST_SUITE_P(NormalizeTest);

// A problem with given statistics; the kernels do not ask where they came from.
struct Problem {
  Problem(int64_t row_count, int64_t channel_count, double offset = 0.5, double sd = 2.0)
      : rows(row_count),
        channels(channel_count),
        x(Normals(rows * channels, 1, offset, sd)),
        add(Normals(rows * channels, 2)),
        dy(Normals(rows * channels, 3)),
        mean(Normals(channels, 4, offset, 0.1 * sd)),
        mean_low(Normals(channels, 8, 0.0, 1e-3 * sd)),
        inv_std(Normals(channels, 5, 1.0 / sd, 0.05 / sd)),
        gamma(Normals(channels, 6)),
        beta(Normals(channels, 7)) {}

  ChannelAffine Affine(bool with_parameters) const {
    return {.mean = mean.data(),
            .mean_low = mean_low.data(),
            .inv_std = inv_std.data(),
            .gamma = with_parameters ? gamma.data() : nullptr,
            .beta = with_parameters ? beta.data() : nullptr};
  }
  int64_t size() const { return rows * channels; }
  size_t Channel(int64_t i) const { return static_cast<size_t>(i % channels); }

  int64_t rows, channels;
  Guarded x, add, dy;
  std::vector<float> mean, mean_low, inv_std, gamma, beta;
};

// Normalize as scalar code, in its order of operations.
float ForwardModel(const Problem& p, int64_t i, bool parameters, bool add, bool relu) {
  const size_t c = p.Channel(i);
  const float scale = parameters ? p.gamma[c] * p.inv_std[c] : p.inv_std[c];
  const float shift = std::fma(-p.mean_low[c], scale, parameters ? p.beta[c] : 0.0f);
  float v = std::fma(p.x[i] - p.mean[c], scale, shift);
  if (add) v += p.add[i];
  return relu && v <= 0.0f ? 0.0f : v;
}

constexpr int64_t kChannelCounts[] = {1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 20, 33, 64, 513};
constexpr int64_t kRowCounts[] = {1, 2, 3, 4, 5, 8, 31, 32, 33, 70};

TEST_P(NormalizeTest, MatchesTheScalarModelOnOddShapes) {
  for (const int64_t channels : kChannelCounts) {
    for (const int64_t rows : kRowCounts) {
      const Problem p(rows, channels);
      for (int variant = 0; variant < 8; ++variant) {
        const bool parameters = variant & 1, add = variant & 2, relu = variant & 4;
        Guarded y(p.size());
        Normalize(p.x.data(), rows, channels, p.Affine(parameters),
                  {.add = add ? p.add.data() : nullptr,
                   .add_stride = channels,
                   .activation = relu ? Activation::kRelu : Activation::kNone},
                  {}, y.data());
        ASSERT_TRUE(y.Intact());
        // Without fused multiply-add the product is rounded once more; values are below 16.
        const float tolerance = HasFma() ? 0.0f : static_cast<float>(16 * kFloatEps);
        for (int64_t i = 0; i < p.size(); ++i) {
          const float want = ForwardModel(p, i, parameters, add, relu);
          ASSERT_TRUE(std::abs(y[i] - want) <= tolerance)
              << rows << "x" << channels << " variant " << variant << ": " << y[i] << ", " << want;
        }
      }
    }
  }
}

TEST_P(NormalizeTest, StreamingAndInPlaceGiveTheSameBits) {
  for (const int64_t channels : {16, 20, 64}) {  // 20: rows are not aligned, so it cannot stream
    const Problem p(50, channels);
    const auto epilogue = [&](const float* add) -> Epilogue {
      return {.add = add, .add_stride = channels, .activation = Activation::kRelu};
    };
    const Epilogue relu = epilogue(p.add.data());
    Guarded want(p.size());
    Normalize(p.x.data(), 50, channels, p.Affine(true), relu, {}, want.data());

    std::vector<float> memory(static_cast<size_t>(p.size()) + 16, kNan);
    float* aligned = memory.data();
    while (reinterpret_cast<uintptr_t>(aligned) % 64 != 0) ++aligned;
    for (float* y : {aligned, memory.data() + (aligned == memory.data() ? 1 : 0)}) {
      Normalize(p.x.data(), 50, channels, p.Affine(true), relu, {.stream = true}, y);
      EXPECT_EQ(Bits({y, y + p.size()}), Bits(want.values()));
    }

    Guarded over_x = p.x;
    Normalize(over_x.data(), 50, channels, p.Affine(true), relu, {}, over_x.data());
    EXPECT_EQ(Bits(over_x.values()), Bits(want.values()));
    Guarded over_add = p.add;
    Normalize(p.x.data(), 50, channels, p.Affine(true), epilogue(over_add.data()), {},
              over_add.data());
    EXPECT_EQ(Bits(over_add.values()), Bits(want.values()));
  }
}

TEST(NormalizeEpilogueTest, IsAddAndActivationAlone) {
  const Problem p(2, 8);
  Guarded y(p.size());
  const auto run = [&](const Epilogue& epilogue) {
    Normalize(p.x.data(), 2, 8, p.Affine(true), epilogue, {}, y.data());
  };
  EXPECT_THROW(run({.scale = p.gamma.data()}), CheckFailure);
  EXPECT_THROW(run({.bias = p.beta.data()}), CheckFailure);
  EXPECT_THROW(run({.add = p.add.data(), .add_stride = 9}), CheckFailure);
}

TEST_P(NormalizeTest, EmptyInputTouchesNothing) {
  const Problem p(1, 8);
  Guarded y(8);
  Normalize(p.x.data(), 0, 8, p.Affine(true), {}, {}, y.data());
  Normalize(p.x.data(), 1, 0, p.Affine(true), {}, {}, y.data());
  for (int64_t i = 0; i < 8; ++i) EXPECT_TRUE(std::isnan(y[i]));
  double sums[] = {1.0, 1.0};
  NormalizeGradientSums(p.x.data(), nullptr, p.dy.data(), 0, 1, 1, p.Affine(true),
                        Activation::kNone, sums, sums + 1);
  EXPECT_EQ(sums[0], 0.0);
  EXPECT_EQ(sums[1], 0.0);
}

// x * scale + shift would lose four digits here.
TEST_P(NormalizeTest, KeepsItsDigitsUnderALargeMean) {
  const Problem p(64, 24, /*offset=*/1e4, /*sd=*/1.0);
  Guarded y(p.size());
  Normalize(p.x.data(), 64, 24, p.Affine(true), {}, {}, y.data());
  for (int64_t i = 0; i < p.size(); ++i) {
    const size_t c = p.Channel(i);
    const double xhat =
        (double{p.x[i]} - double{p.mean[c]} - double{p.mean_low[c]}) * double{p.inv_std[c]};
    const double want = xhat * double{p.gamma[c]} + double{p.beta[c]};
    // Four roundings: the difference, gamma * inv_std, the shift, the sum.
    const double size =
        std::abs(want) + 2 * std::abs(want - double{p.beta[c]}) + std::abs(double{p.beta[c]});
    EXPECT_TRUE(std::abs(double{y[i]} - want) <= 2 * kFloatEps * size);
  }
}

TEST_P(NormalizeTest, WithoutAMeanLowItIsZero) {
  const Problem p(10, 19);
  const std::vector<float> zeros(19, 0.0f), means = Normals(38, 9);
  std::vector<std::vector<float>> results;
  for (const float* low : std::initializer_list<const float*>{nullptr, zeros.data()}) {
    ChannelAffine affine = p.Affine(true);
    affine.mean_low = low;
    Guarded y(p.size()), dx(p.size());
    std::vector<double> sums(38);
    Normalize(p.x.data(), 10, 19, affine, {}, {}, y.data());
    NormalizeGradientSums(p.x.data(), nullptr, p.dy.data(), 10, 19, 19, affine, Activation::kRelu,
                          sums.data(), sums.data() + 19);
    NormalizeBackward(
        p.x.data(), nullptr, p.dy.data(), 10, 19, affine, Activation::kRelu, {},
        {.mean_dbeta = means.data(), .mean_dgamma = means.data() + 19, .dx = dx.data()});
    results.push_back(y.values());
    const std::vector<float> more = dx.values();
    results.back().insert(results.back().end(), more.begin(), more.end());
    results.back().insert(results.back().end(), sums.begin(), sums.end());
  }
  EXPECT_EQ(Bits(results[0]), Bits(results[1]));
}

TEST_P(NormalizeTest, ReluStopsZeroAndPassesNan) {
  const std::vector<float> x = {-1.0f, -0.0f, 0.0f, 1.0f, kNan, kInf, -kInf, 2.0f, -kNan};
  const std::vector<float> zero(9, 0.0f), one(9, 1.0f);
  const ChannelAffine affine = {.mean = zero.data(), .inv_std = one.data()};
  std::vector<float> y(9), dx(9, -1.0f);
  Normalize(x.data(), 1, 9, affine, {.activation = Activation::kRelu}, {}, y.data());
  const std::vector<bool> passes = {false, false, false, true, true, true, false, true, true};
  for (const float* mask : std::initializer_list<const float*>{nullptr, y.data()}) {
    NormalizeBackward(x.data(), mask, one.data(), 1, 9, affine, Activation::kRelu, {},
                      {.dx = dx.data()});
    for (size_t i = 0; i < 9; ++i) {
      if (std::isnan(x[i])) {
        EXPECT_TRUE(std::isnan(y[i]));
      } else {
        EXPECT_EQ(y[i], passes[i] ? x[i] : 0.0f);
        EXPECT_FALSE(std::signbit(y[i]));
      }
      EXPECT_EQ(dx[i], passes[i] ? 1.0f : 0.0f);
    }
  }
}

// The sums as scalar code, in their order of operations.
void SumsModel(const Problem& p, const std::vector<float>& dz, int64_t c, double* dbeta,
               double* dgamma) {
  *dbeta = *dgamma = 0.0;
  const auto i = static_cast<size_t>(c);
  for (int64_t r0 = 0; r0 < p.rows; r0 += 32) {
    const int64_t n = std::min<int64_t>(32, p.rows - r0);
    const auto z = [&](int64_t r) { return dz[static_cast<size_t>((r0 + r) * p.channels + c)]; };
    const auto xhat = [&](int64_t r) {
      return (p.x[(r0 + r) * p.channels + c] - p.mean[i]) * p.inv_std[i];
    };
    float s = 0.0f, t = 0.0f;
    int64_t r = 0;
    for (; r + 4 <= n; r += 4) {
      s += (z(r) + z(r + 1)) + (z(r + 2) + z(r + 3));
      float q = z(r) * xhat(r);
      for (int64_t k = 1; k < 4; ++k) q = std::fma(z(r + k), xhat(r + k), q);
      t += q;
    }
    for (; r < n; ++r) {
      s += z(r);
      t = std::fma(z(r), xhat(r), t);
    }
    *dbeta += static_cast<double>(s);
    *dgamma += static_cast<double>(t);
  }
  *dgamma = std::fma(-(double{p.mean_low[i]} * double{p.inv_std[i]}), *dbeta, *dgamma);
}

std::vector<float> MaskedDy(const Problem& p, const Guarded& y, bool relu) {
  std::vector<float> dz = p.dy.values();
  for (int64_t i = 0; i < p.size(); ++i) {
    if (relu && y[i] <= 0.0f) dz[static_cast<size_t>(i)] = 0.0f;
  }
  return dz;
}

TEST_P(NormalizeTest, GradientSumsMatchTheScalarModel) {
  for (const int64_t channels : kChannelCounts) {
    for (const int64_t rows : kRowCounts) {
      const Problem p(rows, channels);
      for (int variant = 0; variant < 8; ++variant) {
        const bool parameters = variant & 1, add = variant & 2, relu = variant & 4;
        const Activation activation = relu ? Activation::kRelu : Activation::kNone;
        Guarded y(p.size());
        Normalize(
            p.x.data(), rows, channels, p.Affine(parameters),
            {.add = add ? p.add.data() : nullptr, .add_stride = channels, .activation = activation},
            {}, y.data());
        const std::vector<float> dz = MaskedDy(p, y, relu);
        std::vector<double> dbeta(static_cast<size_t>(channels), NAN), dgamma = dbeta;
        NormalizeGradientSums(p.x.data(), add ? y.data() : nullptr, p.dy.data(), rows, channels,
                              channels, p.Affine(parameters), activation, dbeta.data(),
                              dgamma.data());
        // Without fused multiply-add the products are rounded once more each.
        const double tolerance = HasFma() ? 0.0 : static_cast<double>(rows) * 16 * kFloatEps;
        for (int64_t c = 0; c < channels; ++c) {
          double want_dbeta, want_dgamma;
          SumsModel(p, dz, c, &want_dbeta, &want_dgamma);
          const auto i = static_cast<size_t>(c);
          ASSERT_TRUE(std::abs(dbeta[i] - want_dbeta) <= tolerance) << rows << "x" << channels;
          ASSERT_TRUE(std::abs(dgamma[i] - want_dgamma) <= tolerance) << rows << "x" << channels;
        }
      }
    }
  }
}

TEST_P(NormalizeTest, GradientSumsAreAccurateOverManyRows) {
  constexpr int64_t kRows = 100000;
  const Problem p(kRows, 3);
  std::vector<double> dbeta(3), dgamma(3);
  NormalizeGradientSums(p.x.data(), nullptr, p.dy.data(), kRows, 3, 3, p.Affine(true),
                        Activation::kNone, dbeta.data(), dgamma.data());
  std::vector<double> mean(p.mean.begin(), p.mean.end());
  for (size_t c = 0; c < 3; ++c) mean[c] += double{p.mean_low[c]};
  const std::vector<double> inv_std(p.inv_std.begin(), p.inv_std.end());
  const auto want = reference::BatchNormBackward<double, float>(
      p.x.data(), nullptr, p.dy.data(), mean.data(), inv_std.data(), p.gamma.data(), kRows, 3,
      /*training=*/true);
  // Each tile rounds sums of size sqrt(32) a few times; the errors of 3,125 tiles add like a random
  // walk.
  const double tolerance = 8 * kFloatEps * std::sqrt(32.0) * std::sqrt(kRows / 32.0);
  for (size_t c = 0; c < 3; ++c) {
    EXPECT_TRUE(std::abs(dbeta[c] - want.dbeta[c]) <= tolerance);
    EXPECT_TRUE(std::abs(dgamma[c] - want.dgamma[c]) <= tolerance);
  }
}

TEST_P(NormalizeTest, GradientSumsOfColumnRangesAreTheSame) {
  const Problem p(45, 64);
  std::vector<double> whole(128), part(128);
  const ChannelAffine affine = p.Affine(true);
  NormalizeGradientSums(p.x.data(), nullptr, p.dy.data(), 45, 64, 64, affine, Activation::kRelu,
                        whole.data(), whole.data() + 64);
  for (int64_t c = 0; c < 64; c += 16) {
    const ChannelAffine shifted = {affine.mean + c, affine.mean_low + c, affine.inv_std + c,
                                   affine.gamma + c, affine.beta + c};
    NormalizeGradientSums(p.x.data() + c, nullptr, p.dy.data() + c, 45, 16, 64, shifted,
                          Activation::kRelu, part.data() + c, part.data() + 64 + c);
  }
  EXPECT_EQ(part, whole);
}

TEST_P(NormalizeTest, BackwardMatchesItsFormula) {
  for (const int64_t channels : kChannelCounts) {
    for (const int64_t rows : {1, 3, 4, 7, 33}) {
      const Problem p(rows, channels);
      const std::vector<float> mean_dbeta = Normals(channels, 8),
                               mean_dgamma = Normals(channels, 9);
      for (int variant = 0; variant < 16; ++variant) {
        const bool parameters = variant & 1, add = variant & 2, relu = variant & 4;
        const bool train = variant & 8;
        const Activation activation = relu ? Activation::kRelu : Activation::kNone;
        Guarded y(p.size());
        Normalize(
            p.x.data(), rows, channels, p.Affine(parameters),
            {.add = add ? p.add.data() : nullptr, .add_stride = channels, .activation = activation},
            {}, y.data());
        const std::vector<float> dz = MaskedDy(p, y, relu);
        Guarded dx(p.size()), d_add(p.size());
        NormalizeBackward(p.x.data(), add ? y.data() : nullptr, p.dy.data(), rows, channels,
                          p.Affine(parameters), activation, {},
                          {.mean_dbeta = train ? mean_dbeta.data() : nullptr,
                           .mean_dgamma = train ? mean_dgamma.data() : nullptr,
                           .dx = dx.data(),
                           .d_add = add ? d_add.data() : nullptr});
        ASSERT_TRUE(dx.Intact() && d_add.Intact());
        const float tolerance = HasFma() ? 0.0f : static_cast<float>(64 * kFloatEps);
        for (int64_t i = 0; i < p.size(); ++i) {
          const size_t c = p.Channel(i);
          const float scale = parameters ? p.gamma[c] * p.inv_std[c] : p.inv_std[c];
          float t = dz[static_cast<size_t>(i)];
          const float xhat = (p.x[i] - p.mean[c]) * p.inv_std[c];
          const float offset =
              std::fma(-(p.mean_low[c] * p.inv_std[c]), mean_dgamma[c], mean_dbeta[c]);
          if (train) t = std::fma(-xhat, mean_dgamma[c], t - offset);
          ASSERT_TRUE(std::abs(dx[i] - t * scale) <= tolerance)
              << rows << "x" << channels << " variant " << variant;
          if (add) {
            ASSERT_EQ(d_add[i], dz[static_cast<size_t>(i)]);
          } else {
            ASSERT_TRUE(std::isnan(d_add[i]));  // left alone
          }
        }
      }
    }
  }
}

TEST_P(NormalizeTest, BackwardMayOverwriteItsInputAndLeaveOutputsOut) {
  for (const int64_t channels : {16, 37}) {
    const Problem p(41, channels);
    const std::vector<float> means = Normals(2 * channels, 8);
    const ChannelAffine affine = p.Affine(true);
    const Activation relu = Activation::kRelu;
    NormalizeGradient gradient = {.mean_dbeta = means.data(),
                                  .mean_dgamma = means.data() + channels};
    Guarded dx(p.size()), dz(p.size());
    gradient.dx = dx.data();
    gradient.d_add = dz.data();
    NormalizeBackward(p.x.data(), nullptr, p.dy.data(), 41, channels, affine, relu, {}, gradient);

    Guarded over_dy = p.dy;
    gradient.dx = over_dy.data();
    gradient.d_add = nullptr;
    NormalizeBackward(p.x.data(), nullptr, over_dy.data(), 41, channels, affine, relu, {},
                      gradient);
    EXPECT_EQ(Bits(over_dy.values()), Bits(dx.values()));

    Guarded dz_over_dy = p.dy, streamed(p.size());
    gradient.dx = streamed.data();
    gradient.d_add = dz_over_dy.data();
    NormalizeBackward(p.x.data(), nullptr, dz_over_dy.data(), 41, channels, affine, relu,
                      {.stream = true}, gradient);
    EXPECT_EQ(Bits(streamed.values()), Bits(dx.values()));
    EXPECT_EQ(Bits(dz_over_dy.values()), Bits(dz.values()));

    Guarded only_dz(p.size());
    gradient.dx = nullptr;
    gradient.d_add = only_dz.data();
    NormalizeBackward(p.x.data(), nullptr, p.dy.data(), 41, channels, affine, relu, {}, gradient);
    EXPECT_EQ(Bits(only_dz.values()), Bits(dz.values()));
  }
}

// Statistics of values near 1e30: neither inv_std^2 nor the sum of (x - mean)^2 fits a float.
TEST_P(NormalizeTest, BackwardHoldsHugeInputs) {
  const Problem small(40, 9);
  Problem huge = small;
  for (int64_t i = 0; i < small.size(); ++i) huge.x.data()[i] *= 0x1p100f;
  for (size_t c = 0; c < 9; ++c) {
    huge.mean[c] *= 0x1p100f;
    huge.mean_low[c] *= 0x1p100f;
    huge.inv_std[c] *= 0x1p-100f;
  }
  std::vector<std::vector<float>> results;
  for (const Problem* p : std::initializer_list<const Problem*>{&small, &huge}) {
    std::vector<double> sums(18);
    NormalizeGradientSums(p->x.data(), nullptr, p->dy.data(), 40, 9, 9, p->Affine(true),
                          Activation::kRelu, sums.data(), sums.data() + 9);
    const std::vector<float> means(sums.begin(), sums.end());
    Guarded dx(p->size());
    NormalizeBackward(
        p->x.data(), nullptr, p->dy.data(), 40, 9, p->Affine(true), Activation::kRelu, {},
        {.mean_dbeta = means.data(), .mean_dgamma = means.data() + 9, .dx = dx.data()});
    results.push_back(dx.values());
    results.back().insert(results.back().end(), means.begin(), means.end());
  }
  for (int64_t i = 0; i < small.size(); ++i) {
    results[1][static_cast<size_t>(i)] *= 0x1p100f;  // dx alone scales with inv_std
  }
  EXPECT_EQ(Bits(results[0]), Bits(results[1]));
}

TEST_P(NormalizeTest, AddSumsAdds) {
  for (const int64_t n : {0, 1, 3, 4, 7, 8, 17}) {
    std::vector<double> into(static_cast<size_t>(n) + 1, 0.5), from(static_cast<size_t>(n), 0.25);
    AddSums(from.data(), n, into.data());
    for (size_t i = 0; i < into.size(); ++i) {
      EXPECT_EQ(into[i], i < static_cast<size_t>(n) ? 0.75 : 0.5);
    }
  }
}

TEST(NormalizeBitsTest, AreTheSameOnEveryTargetWithFma) {
  ExpectSameBitsOnFmaTargets([] {
    const Problem p(70, 45);
    std::vector<double> sums(90);
    NormalizeGradientSums(p.x.data(), nullptr, p.dy.data(), 70, 45, 45, p.Affine(true),
                          Activation::kRelu, sums.data(), sums.data() + 45);
    const std::vector<float> means(sums.begin(), sums.end());
    Guarded y(p.size()), dx(p.size());
    Normalize(p.x.data(), 70, 45, p.Affine(true), {.activation = Activation::kRelu}, {}, y.data());
    NormalizeBackward(
        p.x.data(), nullptr, p.dy.data(), 70, 45, p.Affine(true), Activation::kRelu, {},
        {.mean_dbeta = means.data(), .mean_dgamma = means.data() + 45, .dx = dx.data()});
    std::vector<float> all = y.values();
    for (const std::vector<float>& more : {dx.values(), means}) {
      all.insert(all.end(), more.begin(), more.end());
    }
    return all;
  });
}

}  // namespace
}  // namespace lockstep::kernels
