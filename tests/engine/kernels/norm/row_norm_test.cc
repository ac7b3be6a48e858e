#include "engine/kernels/norm/row_norm.h"

#include <cmath>
#include <complex>
#include <cstdint>
#include <vector>

#include "engine/base/float_mode.h"
#include "engine/kernels/targets.h"
#include "gtest/gtest.h"
#include "tests/engine/kernels/arrays.h"
#include "tests/reference/row_norm.h"
// After targets.h.
#include <hwy/tests/hwy_gtest.h>

namespace lockstep::inline v0_1::kernels {
namespace {

using testing_arrays::Bits;
using testing_arrays::Guarded;
using testing_arrays::kFloatEps;
using testing_arrays::kInf;
using testing_arrays::kNan;
using testing_arrays::Normals;
using Complex = std::complex<double>;

struct Norm {
  bool centred;
  bool gamma;
  bool beta;
};
const std::vector<Norm> kNorms = {{true, true, true},   {true, true, false},
                                  {true, false, true},  {true, false, false},
                                  {false, true, false}, {false, false, false}};

void Forward(bool centred, const RowNormForwardArgs& args) {
  centred ? LayerNormForward(args) : RmsNormForward(args);
}
void Backward(bool centred, const RowNormBackwardArgs& args) {
  centred ? LayerNormBackward(args) : RmsNormBackward(args);
}

std::vector<double> Wide(const float* x, int64_t n) { return {x, x + n}; }

class RowNormTest : public hwy::TestWithParamTarget {
 protected:
  ScopedFloatMode flush_;
};
HWY_TARGET_INSTANTIATE_TEST_SUITE_P(RowNormTest);

// y is of size |gamma| |xhat| + |beta| < 20 and comes from six roundings; mean and deviation carry
// the error of sums of up to 128 terms in a lane, rounding at random.
constexpr double kTolerance = 20.0 * 20.0 * kFloatEps;

TEST_P(RowNormTest, ForwardMatchesReferenceAtAnyWidthAndNothingBeyondTheEnds) {
  const double eps = 1e-5;
  for (const int64_t columns : {2, 3, 8, 15, 16, 17, 33, 64, 768, 2047, 2049, 5003}) {
    for (const Norm& norm : kNorms) {
      SCOPED_TRACE(testing::Message()
                   << columns << (norm.centred ? " layer" : " rms") << norm.gamma << norm.beta);
      const int64_t rows = 3;
      const Guarded x(Normals(rows * columns, /*seed=*/1, 3.0, 2.0));
      const Guarded gamma(Normals(columns, /*seed=*/2)), beta(Normals(columns, /*seed=*/3));
      Guarded y(rows * columns), mean(rows), inv_std(rows), in_place(x.values());
      RowNormForwardArgs args = {.x = x.data(),
                                 .rows = rows,
                                 .columns = columns,
                                 .gamma = norm.gamma ? gamma.data() : nullptr,
                                 .beta = norm.beta ? beta.data() : nullptr,
                                 .y = y.data(),
                                 .mean = mean.data(),
                                 .inv_std = inv_std.data()};
      Forward(norm.centred, args);
      args.x = args.y = in_place.data();
      args.mean = args.inv_std = nullptr;
      Forward(norm.centred, args);
      EXPECT_EQ(Bits(in_place.values()), Bits(y.values()));
      EXPECT_TRUE(y.Intact() && mean.Intact() && inv_std.Intact() && in_place.Intact());

      const auto n = static_cast<size_t>(columns);
      const std::vector<double> g =
          norm.gamma ? Wide(gamma.data(), columns) : std::vector<double>(n, 1.0);
      const std::vector<double> b =
          norm.beta ? Wide(beta.data(), columns) : std::vector<double>(n, 0.0);
      for (int64_t r = 0; r < rows; ++r) {
        const auto want =
            reference::RowNorm(Wide(x.data() + r * columns, columns), g, b, eps, norm.centred);
        if (norm.centred) {
          EXPECT_TRUE(std::abs(static_cast<double>(mean[r]) - want.mean) <= 10.0 * kFloatEps * 6.0);
        }
        EXPECT_TRUE(std::abs(static_cast<double>(inv_std[r]) - want.inv_std) <=
                    20.0 * kFloatEps * want.inv_std);
        for (int64_t c = 0; c < columns; ++c) {
          const double error =
              std::abs(static_cast<double>(y[r * columns + c]) - want.y[static_cast<size_t>(c)]);
          ASSERT_TRUE(error <= kTolerance) << r << " " << c;
        }
      }
    }
  }
}

// Its own mean: xhat is 0 whatever x is, and so is what dx gains, to the bit.
TEST_P(RowNormTest, ARowOfOneValueHasNoGradientOfItsOwn) {
  const int64_t rows = 11;
  const Guarded x(Normals(rows, /*seed=*/1, 3.0, 2.0)), dy(Normals(rows, /*seed=*/2, 1e4));
  const Guarded gamma(Normals(1, /*seed=*/3));
  Guarded y(rows), mean(rows), mean_low(rows), inv_std(rows);
  LayerNormForward({.x = x.data(),
                    .rows = rows,
                    .columns = 1,
                    .y = y.data(),
                    .mean = mean.data(),
                    .mean_low = mean_low.data(),
                    .inv_std = inv_std.data()});
  for (const bool accumulate : {false, true}) {
    Guarded dx(std::vector<float>(static_cast<size_t>(rows), accumulate ? 2.5f : kNan));
    std::vector<double> dgamma(1), dbeta(1);
    LayerNormBackward({.x = x.data(),
                       .dy = dy.data(),
                       .mean = mean.data(),
                       .mean_low = mean_low.data(),
                       .inv_std = inv_std.data(),
                       .gamma = gamma.data(),
                       .rows = rows,
                       .columns = 1,
                       .dx = dx.data(),
                       .accumulate_dx = accumulate,
                       .dgamma = dgamma.data(),
                       .dbeta = dbeta.data()});
    EXPECT_EQ(dx.values(), std::vector<float>(static_cast<size_t>(rows), accumulate ? 2.5f : 0.0f));
    EXPECT_EQ(dgamma[0], 0.0);
    EXPECT_NE(dbeta[0], 0.0);
  }
}

TEST_P(RowNormTest, BackwardMatchesComplexStep) {
  const double eps = 1e-5;
  for (const int64_t rows : {1, 7, 8, 19}) {
    for (const int64_t columns : {2, 15, 16, 33}) {
      for (const Norm& norm : kNorms) {
        SCOPED_TRACE(testing::Message() << rows << " x " << columns
                                        << (norm.centred ? " layer" : " rms") << norm.gamma);
        const int64_t size = rows * columns;
        const Guarded x(Normals(size, /*seed=*/4, 1.0, 1.0)), dy(Normals(size, /*seed=*/5));
        const Guarded gamma(Normals(columns, /*seed=*/6));
        Guarded y(size), mean(rows), inv_std(rows), dx(size);
        std::vector<double> dgamma(static_cast<size_t>(columns), NAN), dbeta(dgamma);
        Forward(norm.centred, {.x = x.data(),
                               .rows = rows,
                               .columns = columns,
                               .gamma = norm.gamma ? gamma.data() : nullptr,
                               .y = y.data(),
                               .mean = mean.data(),
                               .inv_std = inv_std.data()});
        RowNormBackwardArgs args = {.x = x.data(),
                                    .dy = dy.data(),
                                    .mean = norm.centred ? mean.data() : nullptr,
                                    .inv_std = inv_std.data(),
                                    .gamma = norm.gamma ? gamma.data() : nullptr,
                                    .rows = rows,
                                    .columns = columns,
                                    .dx = dx.data(),
                                    .dgamma = dgamma.data(),
                                    .dbeta = norm.centred ? dbeta.data() : nullptr};
        Backward(norm.centred, args);
        EXPECT_TRUE(dx.Intact());

        // What is not wanted changes nothing else, and dx may lie over dy or x.
        std::vector<double> alone(static_cast<size_t>(columns), NAN);
        RowNormBackwardArgs only_gamma = args;
        only_gamma.dx = nullptr;
        only_gamma.dbeta = nullptr;
        only_gamma.dgamma = alone.data();
        Backward(norm.centred, only_gamma);
        EXPECT_EQ(alone, dgamma);
        Guarded over_dy(dy.values()), over_x(x.values());
        RowNormBackwardArgs in_place = args;
        in_place.dgamma = in_place.dbeta = nullptr;
        in_place.dy = in_place.dx = over_dy.data();
        Backward(norm.centred, in_place);
        EXPECT_EQ(Bits(over_dy.values()), Bits(dx.values()));
        in_place.dy = dy.data();
        in_place.x = in_place.dx = over_x.data();
        Backward(norm.centred, in_place);
        EXPECT_EQ(Bits(over_x.values()), Bits(dx.values()));

        const std::vector<double> g = norm.gamma
                                          ? Wide(gamma.data(), columns)
                                          : std::vector<double>(static_cast<size_t>(columns), 1.0);
        const std::vector<double> zeros(static_cast<size_t>(columns), 0.0);
        std::vector<double> want_dgamma(zeros), want_dbeta(zeros);
        for (int64_t r = 0; r < rows; ++r) {
          std::vector<Complex> row;
          for (int64_t c = 0; c < columns; ++c)
            row.emplace_back(static_cast<double>(x[r * columns + c]), 0.0);
          for (int64_t c = 0; c < columns; ++c) {
            const auto at = static_cast<size_t>(c);
            row[at] += Complex(0.0, 1e-50);
            const auto out = reference::RowNorm(row, g, zeros, eps, norm.centred);
            row[at] = row[at].real();
            double want = 0.0;
            for (int64_t k = 0; k < columns; ++k) {
              want += static_cast<double>(dy[r * columns + k]) * 1e50 *
                      out.y[static_cast<size_t>(k)].imag();
            }
            const double error = std::abs(static_cast<double>(dx[r * columns + c]) - want);
            // inv_std times a difference of terms of size |gamma dy| xhat^2.
            ASSERT_TRUE(error <= 100.0 * kFloatEps * (1.0 + static_cast<double>(inv_std[r])))
                << r << " " << c << ": " << dx[r * columns + c] << " for " << want;
            const auto d = static_cast<double>(dy[r * columns + c]);
            want_dgamma[at] += d * (static_cast<double>(x[r * columns + c]) - out.mean.real()) *
                               out.inv_std.real();
            want_dbeta[at] += d;
          }
        }
        for (size_t c = 0; c < zeros.size(); ++c) {
          EXPECT_TRUE(std::abs(dgamma[c] - want_dgamma[c]) <= 100.0 * kFloatEps);
          EXPECT_TRUE(!norm.centred || std::abs(dbeta[c] - want_dbeta[c]) <= 100.0 * kFloatEps);
        }
      }
    }
  }
}

TEST_P(RowNormTest, ConstantRowsHaveVarianceZero) {
  for (const float value : {0.0f, 0.1f, -12345.678f, 1e30f}) {
    for (const int64_t columns : {1, 5, 768}) {
      SCOPED_TRACE(testing::Message() << value << " x " << columns);
      const std::vector<float> x(static_cast<size_t>(columns), value);
      std::vector<float> y(x.size(), kNan);
      float mean = kNan, inv_std = kNan;
      LayerNormForward({.x = x.data(),
                        .rows = 1,
                        .columns = columns,
                        .eps = 0.25f,
                        .y = y.data(),
                        .mean = &mean,
                        .inv_std = &inv_std});
      EXPECT_EQ(mean, value);
      EXPECT_EQ(inv_std, 2.0f);
      EXPECT_EQ(y, std::vector<float>(x.size(), 0.0f));
    }
  }
}

// Mean 1e4 times the deviation: mean(x^2) - mean(x)^2 in float would lose everything.
TEST_P(RowNormTest, LargeOffsetKeepsTheVariance) {
  const int64_t columns = 768;
  const std::vector<float> x = Normals(columns, /*seed=*/7, 1e4, 1.0);
  std::vector<float> y(x.size());
  float mean, inv_std;
  LayerNormForward({.x = x.data(),
                    .rows = 1,
                    .columns = columns,
                    .y = y.data(),
                    .mean = &mean,
                    .inv_std = &inv_std});
  const std::vector<double> ones(x.size(), 1.0), zeros(x.size(), 0.0);
  const auto want = reference::RowNorm(Wide(x.data(), columns), ones, zeros, 1e-5, true);
  EXPECT_TRUE(std::abs(static_cast<double>(mean) - want.mean) <= kFloatEps * want.mean);
  // The 48 squares of a lane round at random, sqrt(48) kFloatEps; the root halves it.
  EXPECT_TRUE(std::abs(static_cast<double>(inv_std) - want.inv_std) <= 1e-6 * want.inv_std);
}

TEST_P(RowNormTest, HugeAndTinyValuesStayFinite) {
  for (const float size : {1e30f, 3e38f, 1e19f, 1e-30f}) {
    SCOPED_TRACE(size);
    const int64_t columns = 40;
    std::vector<float> x = Normals(columns, /*seed=*/8, 0.0, 0.25);
    for (float& v : x) v *= size;
    for (const bool centred : {true, false}) {
      std::vector<float> y(x.size(), kNan), dx(x.size(), kNan);
      float mean = 0.0f, inv_std = kNan;
      Forward(centred, {.x = x.data(),
                        .rows = 1,
                        .columns = columns,
                        .y = y.data(),
                        .mean = &mean,
                        .inv_std = &inv_std});
      const std::vector<double> ones(x.size(), 1.0), zeros(x.size(), 0.0);
      const auto want = reference::RowNorm(Wide(x.data(), columns), ones, zeros, 1e-5, centred);
      for (size_t c = 0; c < x.size(); ++c) {
        ASSERT_TRUE(std::abs(static_cast<double>(y[c]) - want.y[c]) <= kTolerance) << c;
      }
      const std::vector<float> dy = Normals(columns, /*seed=*/9);
      std::vector<double> dgamma(x.size());
      Backward(centred, {.x = x.data(),
                         .dy = dy.data(),
                         .mean = &mean,
                         .inv_std = &inv_std,
                         .rows = 1,
                         .columns = columns,
                         .dx = dx.data(),
                         .dgamma = dgamma.data()});
      for (size_t c = 0; c < x.size(); ++c) {
        ASSERT_TRUE(std::isfinite(dx[c]) && std::isfinite(dgamma[c])) << c;
      }
    }
  }
}

TEST_P(RowNormTest, NanAndInfinityStayInTheirRow) {
  for (const float bad : {kNan, kInf}) {
    const int64_t columns = 21;
    std::vector<float> x = Normals(3 * columns, /*seed=*/10);
    x[static_cast<size_t>(columns + 20)] = bad;
    for (const bool centred : {true, false}) {
      std::vector<float> y(x.size());
      Forward(centred, {.x = x.data(), .rows = 3, .columns = columns, .y = y.data()});
      for (int64_t i = 0; i < 3 * columns; ++i) {
        const float v = y[static_cast<size_t>(i)];
        EXPECT_TRUE(i / columns == 1 || std::isfinite(v));
        EXPECT_TRUE(i != columns + 20 || std::isnan(v));
      }
    }
  }
}

TEST_P(RowNormTest, StoresPastTheCachesChangeNothing) {
  struct alignas(64) Line {
    float values[16];
  };
  for (const int64_t columns : {32, 33}) {
    for (const int64_t offset : {0, 1}) {  // aligned, as such stores need it, and not
      SCOPED_TRACE(testing::Message() << columns << " columns, offset " << offset);
      const int64_t rows = 11, size = rows * columns;
      const std::vector<float> x = Normals(size, /*seed=*/15), dy = Normals(size, /*seed=*/16);
      std::vector<float> mean(11), inv_std(11);
      std::vector<std::vector<float>> y, dx;
      for (const bool stream : {false, true}) {
        std::vector<Line> y_lines(30), dx_lines(30);
        float* y_data = y_lines[0].values + offset;
        float* dx_data = dx_lines[0].values + offset;
        LayerNormForward({.x = x.data(),
                          .rows = rows,
                          .columns = columns,
                          .y = y_data,
                          .mean = mean.data(),
                          .inv_std = inv_std.data(),
                          .stream = stream});
        LayerNormBackward({.x = x.data(),
                           .dy = dy.data(),
                           .mean = mean.data(),
                           .inv_std = inv_std.data(),
                           .rows = rows,
                           .columns = columns,
                           .dx = dx_data,
                           .stream = stream});
        y.emplace_back(y_data, y_data + size);
        dx.emplace_back(dx_data, dx_data + size);
      }
      EXPECT_EQ(Bits(y[1]), Bits(y[0]));
      EXPECT_EQ(Bits(dx[1]), Bits(dx[0]));
    }
  }
}

TEST_P(RowNormTest, GradientsAreAddedToWhatIsThere) {
  for (const Norm& norm : kNorms) {
    for (const int64_t columns : {1, 15, 32, 37}) {
      const int64_t rows = 11, size = rows * columns;
      const std::vector<float> x = Normals(size, /*seed=*/17), dy = Normals(size, /*seed=*/18);
      const std::vector<float> gamma = Normals(columns, /*seed=*/19);
      const std::vector<float> old = Normals(size, /*seed=*/20);
      std::vector<float> y(x.size()), mean(11), mean_low(11), inv_std(11);
      Forward(norm.centred, {.x = x.data(),
                             .rows = rows,
                             .columns = columns,
                             .y = y.data(),
                             .mean = mean.data(),
                             .mean_low = mean_low.data(),
                             .inv_std = inv_std.data()});
      std::vector<float> alone(x.size()), added = old;
      for (float* dx : {alone.data(), added.data()}) {
        Backward(norm.centred, {.x = x.data(),
                                .dy = dy.data(),
                                .mean = mean.data(),
                                .mean_low = mean_low.data(),
                                .inv_std = inv_std.data(),
                                .gamma = norm.gamma ? gamma.data() : nullptr,
                                .rows = rows,
                                .columns = columns,
                                .dx = dx,
                                .accumulate_dx = dx == added.data(),
                                .stream = true});
      }
      for (size_t i = 0; i < old.size(); ++i) EXPECT_EQ(added[i], old[i] + alone[i]);
    }
  }
}

TEST_P(RowNormTest, NoRowsGiveZeroSums) {
  std::vector<double> dgamma(5, NAN), dbeta(5, NAN);
  LayerNormForward({.rows = 0, .columns = 5});
  LayerNormBackward({.rows = 0, .columns = 5, .dgamma = dgamma.data(), .dbeta = dbeta.data()});
  EXPECT_EQ(dgamma, std::vector<double>(5, 0.0));
  EXPECT_EQ(dbeta, std::vector<double>(5, 0.0));
}

// The promised order of a row's sums, written once more without lanes: element i to lane i % 16,
// a tree over the lanes, stretches in double.
template <class Term>
double ModelSum(int64_t n, const Term& term) {
  double total = 0.0;
  for (int64_t begin = 0; begin < n; begin += 2048) {
    float lanes[16] = {};
    for (int64_t i = begin; i < std::min(n, begin + 2048); ++i) {
      lanes[(i - begin) % 16] = term(i, lanes[(i - begin) % 16]);
    }
    for (int half = 8; half > 0; half /= 2) {
      for (int j = 0; j < half; ++j) lanes[j] += lanes[j + half];
    }
    total += static_cast<double>(lanes[0]);
  }
  return total;
}

TEST_P(RowNormTest, SumsHaveTheOrderOfSixteenVirtualLanes) {
  for (const int64_t columns : {5, 16, 40, 2048, 5003}) {
    const std::vector<float> x = Normals(columns, /*seed=*/11, 2.0);
    std::vector<float> y(x.size());
    float mean, mean_low, inv_std;
    LayerNormForward({.x = x.data(),
                      .rows = 1,
                      .columns = columns,
                      .y = y.data(),
                      .mean = &mean,
                      .mean_low = &mean_low,
                      .inv_std = &inv_std});
    const auto at = [&](int64_t i) { return x[static_cast<size_t>(i)]; };
    const auto n = static_cast<double>(columns);
    const double sum =
        ModelSum(columns, [&](int64_t i, float acc) { return acc + (at(i) - at(0)); });
    const auto want_mean = static_cast<float>(static_cast<double>(at(0)) + sum * (1.0 / n));
    const double squares = ModelSum(columns, [&](int64_t i, float acc) {
      const float d = at(i) - want_mean;
      return std::fma(d, d, acc);
    });
    EXPECT_EQ(mean, want_mean);
    const double low =
        static_cast<double>(at(0)) + sum * (1.0 / n) - static_cast<double>(want_mean);
    EXPECT_EQ(mean_low, static_cast<float>(low));
    const auto want_inv_std =
        static_cast<float>(1.0 / std::sqrt(squares * (1.0 / n) + (1e-5 - low * low)));
    // Without fused multiply-add the squares round twice.
    EXPECT_TRUE(inv_std == want_inv_std || !testing_arrays::HasFma());
  }
}

TEST(RowNormBitsTest, SameOnEveryTargetWithFma) {
  const ScopedFloatMode flush;
  const int64_t rows = 19, columns = 205;
  const std::vector<float> x = Normals(rows * columns, /*seed=*/12);
  const std::vector<float> dy = Normals(rows * columns, /*seed=*/13);
  const std::vector<float> gamma = Normals(columns, /*seed=*/14);
  testing_arrays::ExpectSameBitsOnFmaTargets([&] {
    std::vector<float> y(x.size()), dx(x.size()), mean(19), inv_std(19);
    std::vector<double> dgamma(205), dbeta(205);
    LayerNormForward({.x = x.data(),
                      .rows = rows,
                      .columns = columns,
                      .gamma = gamma.data(),
                      .y = y.data(),
                      .mean = mean.data(),
                      .inv_std = inv_std.data()});
    LayerNormBackward({.x = x.data(),
                       .dy = dy.data(),
                       .mean = mean.data(),
                       .inv_std = inv_std.data(),
                       .gamma = gamma.data(),
                       .rows = rows,
                       .columns = columns,
                       .dx = dx.data(),
                       .dgamma = dgamma.data(),
                       .dbeta = dbeta.data()});
    y.insert(y.end(), dx.begin(), dx.end());
    y.insert(y.end(), dgamma.begin(), dgamma.end());
    y.insert(y.end(), dbeta.begin(), dbeta.end());
    return y;
  });
}

}  // namespace
}  // namespace lockstep::kernels
