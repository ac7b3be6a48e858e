#include "engine/ops/row_norm.h"

#include <cmath>
#include <cstdint>
#include <vector>

#include "engine/base/denormals.h"
#include "engine/kernels/norm/row_norm.h"
#include "gtest/gtest.h"
#include "tests/engine/kernels/arrays.h"

namespace lockstep::ops {
namespace {

using testing_arrays::Normals;

struct Results {
  std::vector<float> y, mean, inv_std, dx, dgamma, dbeta;
  bool operator==(const Results&) const = default;
};

struct Problem {
  int64_t samples, rows_per_sample, columns, shards;
  int64_t rows() const { return samples * rows_per_sample; }
};

constexpr float kBefore = 3.0f;  // what dgamma and dbeta hold when they are added to

Results Compute(const Problem& p, int threads, bool centred, bool accumulate) {
  Context context({.threads = threads});
  const RowGrid grid(p.samples, p.rows_per_sample, p.shards);
  const int64_t size = p.rows() * p.columns;
  const std::vector<float> x = Normals(size, /*seed=*/1, 1.0), dy = Normals(size, /*seed=*/2);
  const std::vector<float> gamma = Normals(p.columns, /*seed=*/3);
  const std::vector<float> beta = Normals(p.columns, /*seed=*/4);
  std::vector<double> partials(static_cast<size_t>(RowNormPartialsSize(grid.blocks(), p.columns)),
                               NAN);
  Results out;
  out.y.assign(x.size(), NAN);
  out.dx = out.y;
  out.mean.assign(static_cast<size_t>(p.rows()), 0.0f);
  out.inv_std = out.mean;
  out.dgamma.assign(gamma.size(), accumulate ? kBefore : NAN);
  // RMSNorm has no beta and leaves its gradient alone.
  out.dbeta.assign(gamma.size(), accumulate || !centred ? kBefore : NAN);
  const RowNormForwardArgs forward = {.x = x.data(),
                                      .gamma = gamma.data(),
                                      .beta = beta.data(),
                                      .y = out.y.data(),
                                      .mean = out.mean.data(),
                                      .inv_std = out.inv_std.data()};
  const RowNormBackwardArgs backward = {.x = x.data(),
                                        .dy = dy.data(),
                                        .mean = out.mean.data(),
                                        .inv_std = out.inv_std.data(),
                                        .gamma = gamma.data(),
                                        .dx = out.dx.data(),
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
  const ScopedFlushDenormals flush;
  for (const Problem& p : kProblems) {
    SCOPED_TRACE(p.rows());
    const Results got = Compute(p, 2, /*centred=*/true, /*accumulate=*/true);
    const int64_t size = p.rows() * p.columns;
    const std::vector<float> x = Normals(size, 1, 1.0), dy = Normals(size, 2);
    const std::vector<float> gamma = Normals(p.columns, 3), beta = Normals(p.columns, 4);
    std::vector<float> y(x.size()), dx(x.size()), mean(got.mean.size()),
        inv_std(got.inv_std.size());
    std::vector<double> dgamma(gamma.size()), dbeta(gamma.size());
    kernels::LayerNormForward({.x = x.data(),
                               .rows = p.rows(),
                               .columns = p.columns,
                               .gamma = gamma.data(),
                               .beta = beta.data(),
                               .y = y.data(),
                               .mean = mean.data(),
                               .inv_std = inv_std.data()});
    kernels::LayerNormBackward({.x = x.data(),
                                .dy = dy.data(),
                                .mean = mean.data(),
                                .inv_std = inv_std.data(),
                                .gamma = gamma.data(),
                                .rows = p.rows(),
                                .columns = p.columns,
                                .dx = dx.data(),
                                .dgamma = dgamma.data(),
                                .dbeta = dbeta.data()});
    EXPECT_EQ(got.y, y);
    EXPECT_EQ(got.mean, mean);
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

TEST(RowNormOpTest, AnEmptyBatchLeavesGradientsOfZero) {
  const Results empty =
      Compute({.samples = 0, .rows_per_sample = 3, .columns = 4, .shards = 2}, 2, true, false);
  EXPECT_EQ(empty.dgamma, std::vector<float>(4, 0.0f));
  EXPECT_EQ(empty.dbeta, std::vector<float>(4, 0.0f));
}

}  // namespace
}  // namespace lockstep::ops
