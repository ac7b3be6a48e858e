#include "engine/ops/row_norm.h"

#include <cmath>
#include <cstdint>
#include <vector>

#include "engine/base/float_mode.h"
#include "engine/kernels/norm/row_norm.h"
#include "gtest/gtest.h"
#include "tests/engine/kernels/arrays.h"
#include "tests/engine/ops/ranks.h"
#include "tests/reference/row_norm.h"

namespace lockstep::inline v0_1::ops {
namespace {

using testing_arrays::kFloatEps;
using testing_arrays::Normals;
using testing_ranks::AllReduce;
using testing_ranks::Division;
using testing_ranks::Divisions;
using testing_ranks::kSamples;

struct Results {
  std::vector<float> y, mean, mean_low, inv_std, dx, dgamma, dbeta;
  bool operator==(const Results&) const = default;
};

struct Problem {
  int64_t samples, rows_per_sample, columns, shards;
  int64_t rows() const { return samples * rows_per_sample; }
};

constexpr float kBefore = 3.0f;  // what dgamma and dbeta hold when they are added to

// The step of a rank that holds the part `cut` of the problem's samples; other rows stay as they
// are in `out`.
void ComputePart(const Problem& p, const BatchCut& cut, int threads, bool centred, bool accumulate,
                 Results& out) {
  Context context({.threads = threads});
  RowGrid grid(cut.samples(), p.rows_per_sample, cut.local_shards);
  grid.Set(cut);
  const int64_t size = p.rows() * p.columns;
  const std::vector<float> x = Normals(size, /*seed=*/1, 1.0), dy = Normals(size, /*seed=*/2);
  const std::vector<float> gamma = Normals(p.columns, /*seed=*/3);
  const std::vector<float> beta = Normals(p.columns, /*seed=*/4);
  std::vector<double> partials(static_cast<size_t>(RowNormPartialsSize(grid.blocks(), p.columns)),
                               NAN);
  const int64_t row = cut.first_sample() * p.rows_per_sample, at = row * p.columns;
  out.dgamma.assign(gamma.size(), accumulate ? kBefore : NAN);
  // RMSNorm has no beta and leaves its gradient alone.
  out.dbeta.assign(gamma.size(), accumulate || !centred ? kBefore : NAN);
  const RowNormForwardArgs forward = {.x = x.data() + at,
                                      .gamma = gamma.data(),
                                      .beta = beta.data(),
                                      .y = out.y.data() + at,
                                      .mean = out.mean.data() + row,
                                      .mean_low = out.mean_low.data() + row,
                                      .inv_std = out.inv_std.data() + row};
  const RowNormBackwardArgs backward = {.x = x.data() + at,
                                        .dy = dy.data() + at,
                                        .mean = out.mean.data() + row,
                                        .mean_low = out.mean_low.data() + row,
                                        .inv_std = out.inv_std.data() + row,
                                        .gamma = gamma.data(),
                                        .dx = out.dx.data() + at,
                                        .dgamma = out.dgamma.data(),
                                        .dbeta = out.dbeta.data(),
                                        .accumulate = accumulate,
                                        .partials = partials.data()};
  if (centred) {
    LayerNormForward(context, grid, p.columns, forward);
    LayerNormBackward(context, grid, p.columns, backward);
  } else {
    RmsNormForward(context, grid, p.columns, forward);
    RmsNormBackward(context, grid, p.columns, backward);
  }
}

Results EmptyResults(const Problem& p) {
  Results out;
  out.y.assign(static_cast<size_t>(p.rows() * p.columns), NAN);
  out.dx = out.y;
  out.mean.assign(static_cast<size_t>(p.rows()), 0.0f);
  out.mean_low = out.inv_std = out.mean;
  return out;
}

Results Compute(const Problem& p, int threads, bool centred, bool accumulate) {
  Results out = EmptyResults(p);
  ComputePart(p, BatchCut::Whole(p.samples, p.shards), threads, centred, accumulate, out);
  return out;
}

const std::vector<Problem> kProblems = {
    {.samples = 1, .rows_per_sample = 1, .columns = 5, .shards = 1},
    {.samples = 3, .rows_per_sample = 7, .columns = 130, .shards = 8},  // empty shards
    {.samples = 10, .rows_per_sample = 65, .columns = 48, .shards = 4},
    {.samples = 1100, .rows_per_sample = 1, .columns = 33, .shards = 1},
};

TEST(RowNormOpTest, SameBitsOnAnyNumberOfThreads) {
  for (const Problem& problem : kProblems) {
    for (const bool centred : {true, false}) {
      const Results one = Compute(problem, 1, centred, /*accumulate=*/false);
      for (const int threads : {2, 3, 8}) {
        SCOPED_TRACE(testing::Message() << threads << " threads, " << problem.rows() << " rows");
        EXPECT_EQ(Compute(problem, threads, centred, /*accumulate=*/false), one);
      }
    }
  }
}

// The kernel over all rows at once differs only in how the sums are cut.
TEST(RowNormOpTest, AgreesWithTheKernelOnTheWholeBatch) {
  const ScopedFloatMode flush;
  for (const Problem& p : kProblems) {
    SCOPED_TRACE(p.rows());
    const Results got = Compute(p, 2, /*centred=*/true, /*accumulate=*/true);
    const int64_t size = p.rows() * p.columns;
    const std::vector<float> x = Normals(size, 1, 1.0), dy = Normals(size, 2);
    const std::vector<float> gamma = Normals(p.columns, 3), beta = Normals(p.columns, 4);
    std::vector<float> y(x.size()), dx(x.size()), mean(got.mean.size()), mean_low(mean),
        inv_std(got.inv_std.size());
    std::vector<double> dgamma(gamma.size()), dbeta(gamma.size());
    kernels::LayerNormForward({.x = x.data(),
                               .rows = p.rows(),
                               .columns = p.columns,
                               .gamma = gamma.data(),
                               .beta = beta.data(),
                               .y = y.data(),
                               .mean = mean.data(),
                               .mean_low = mean_low.data(),
                               .inv_std = inv_std.data()});
    kernels::LayerNormBackward({.x = x.data(),
                                .dy = dy.data(),
                                .mean = mean.data(),
                                .mean_low = mean_low.data(),
                                .inv_std = inv_std.data(),
                                .gamma = gamma.data(),
                                .rows = p.rows(),
                                .columns = p.columns,
                                .dx = dx.data(),
                                .dgamma = dgamma.data(),
                                .dbeta = dbeta.data()});
    EXPECT_EQ(got.y, y);
    EXPECT_EQ(got.mean, mean);
    EXPECT_EQ(got.mean_low, mean_low);
    EXPECT_EQ(got.inv_std, inv_std);
    EXPECT_EQ(got.dx, dx);
    for (size_t c = 0; c < gamma.size(); ++c) {
      // Tiles of eight products of size up to 16 in single precision, then the float of the result.
      const double tolerance = 1e-6 * std::sqrt(static_cast<double>(p.rows())) * 4.0 + 1e-6;
      const auto before = static_cast<double>(kBefore);
      EXPECT_TRUE(std::abs(static_cast<double>(got.dgamma[c]) - before - dgamma[c]) <= tolerance);
      EXPECT_TRUE(std::abs(static_cast<double>(got.dbeta[c]) - before - dbeta[c]) <= tolerance);
    }
  }
}

TEST(RowNormOpTest, RanksTogetherHaveTheBitsOfOneProcess) {
  for (const int64_t samples : kSamples) {
    for (const Division& division : Divisions()) {
      SCOPED_TRACE(testing::Message() << samples << " samples, shards " << division.shards
                                      << ", ranks " << division.ranks);
      const Problem p = {samples, /*rows_per_sample=*/31, /*columns=*/9, division.shards};
      const Results whole = Compute(p, 1, /*centred=*/true, /*accumulate=*/false);
      Results got = EmptyResults(p);
      std::vector<std::vector<float>> dgamma, dbeta;
      for (int rank = 0; rank < division.ranks; ++rank) {
        ComputePart(p, BatchCut::OfRank(samples, division.shards, rank, division.ranks), 1,
                    /*centred=*/true, /*accumulate=*/false, got);
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
TEST(RowNormOpTest, NormalisesUnderALargeMean) {
  constexpr int64_t kRows = 40, kColumns = 768, kSize = kRows * kColumns;
  const std::vector<float> x = Normals(kSize, /*seed=*/5, /*mean=*/1e4);
  // Such that the means of dy and of dy xhat over a row are about 1.
  std::vector<float> dy = Normals(kSize, /*seed=*/6, /*mean=*/1.0);
  for (size_t i = 0; i < x.size(); ++i) dy[i] += x[i] - 1e4f;
  std::vector<float> y(x.size()), dx(x.size()), mean(kRows), mean_low(kRows), inv_std(kRows);
  std::vector<float> dgamma(kColumns);
  const RowGrid grid(kRows, 1, 1);
  std::vector<double> partials(static_cast<size_t>(RowNormPartialsSize(grid.blocks(), kColumns)));
  Context context({.threads = 1});
  LayerNormForward(context, grid, kColumns,
                   {.x = x.data(),
                    .y = y.data(),
                    .mean = mean.data(),
                    .mean_low = mean_low.data(),
                    .inv_std = inv_std.data()});
  LayerNormBackward(context, grid, kColumns,
                    {.x = x.data(),
                     .dy = dy.data(),
                     .mean = mean.data(),
                     .mean_low = mean_low.data(),
                     .inv_std = inv_std.data(),
                     .dx = dx.data(),
                     .dgamma = dgamma.data(),
                     .partials = partials.data()});
  std::vector<double> want_dgamma(kColumns, 0.0);
  for (int64_t r = 0; r < kRows; ++r) {
    const std::vector<double> row(x.begin() + r * kColumns, x.begin() + (r + 1) * kColumns);
    const auto want = reference::RowNorm(row, std::vector<double>(kColumns, 1.0),
                                         std::vector<double>(kColumns, 0.0), 1e-5, true);
    double c1 = 0.0, c2 = 0.0;
    for (size_t c = 0; c < kColumns; ++c) {
      const double g = dy[static_cast<size_t>(r * kColumns) + c];
      c1 += g / kColumns;
      c2 += g * want.y[c] / kColumns;
      want_dgamma[c] += g * want.y[c];
    }
    for (size_t c = 0; c < kColumns; ++c) {
      const size_t i = static_cast<size_t>(r * kColumns) + c;
      ASSERT_TRUE(std::abs(static_cast<double>(y[i]) - want.y[c]) <= 1e-6);
      const double want_dx = want.inv_std * (static_cast<double>(dy[i]) - c1 - want.y[c] * c2);
      // Four roundings of terms below 10.
      ASSERT_TRUE(std::abs(static_cast<double>(dx[i]) - want_dx) <= 4 * 10 * kFloatEps);
    }
  }
  for (size_t c = 0; c < kColumns; ++c) {
    ASSERT_TRUE(std::abs(static_cast<double>(dgamma[c]) - want_dgamma[c]) <= 1e-6 * kRows * 10.0);
  }
}

TEST(RowNormOpTest, AnEmptyBatchLeavesGradientsOfZero) {
  const Results empty =
      Compute({.samples = 0, .rows_per_sample = 3, .columns = 4, .shards = 2}, 2, true, false);
  EXPECT_EQ(empty.dgamma, std::vector<float>(4, 0.0f));
  EXPECT_EQ(empty.dbeta, std::vector<float>(4, 0.0f));
}

}  // namespace
}  // namespace lockstep::ops
