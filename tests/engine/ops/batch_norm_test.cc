#include "engine/ops/batch_norm.h"

#include <algorithm>
#include <cmath>
#include <complex>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "engine/kernels/norm/moments.h"
#include "engine/kernels/targets.h"
#include "engine/ops/batch_moments.h"
#include "gtest/gtest.h"
#include "tests/engine/kernels/arrays.h"
#include "tests/engine/ops/ranks.h"
#include "tests/reference/batch_norm.h"
// After targets.h.
#include <hwy/tests/hwy_gtest.h>

namespace lockstep::inline v0_1::ops {
namespace {

using kernels::Activation;
using testing_arrays::Bits;
using testing_arrays::ExpectSameBitsOnFmaTargets;
using testing_arrays::Guarded;
using testing_arrays::kFloatEps;
using testing_arrays::kInf;
using testing_arrays::kNan;
using testing_arrays::Normals;
using testing_ranks::AllReduce;
using testing_ranks::Division;
using testing_ranks::Divisions;
using testing_ranks::kSamples;

constexpr double kEps = 1e-5;

struct Shape3 {
  int64_t samples, rows_per_sample, channels;
};

struct Options {
  int threads = 1;
  int64_t shards = 1;
  int64_t max_samples = 0;  // of the grid; 0: the samples themselves
  bool parameters = true;
  bool add = false;
  bool relu = false;
  bool mask_from_y = false;
  bool training = true;
};

// One forward and backward pass and all that comes out of it.
struct Pass {
  Pass(const Shape3& shape, const Options& options, const std::vector<float>& x_values)
      : Pass(shape, options, x_values, Normals(static_cast<int64_t>(x_values.size()), 2)) {}

  Pass(const Shape3& shape, const Options& o, const std::vector<float>& x_values,
       const std::vector<float>& dy_values)
      : x(x_values),
        dy(dy_values),
        add(o.add ? Normals(static_cast<int64_t>(x_values.size()), 3) : x_values),
        gamma(Normals(shape.channels, 4)),
        beta(Normals(shape.channels, 5)),
        mean(shape.channels),
        mean_low(shape.channels),
        inv_std(shape.channels),
        dgamma(shape.channels),
        dbeta(shape.channels),
        y(static_cast<int64_t>(x_values.size())),
        dx(static_cast<int64_t>(x_values.size())),
        dz(static_cast<int64_t>(x_values.size())),
        variance(static_cast<size_t>(shape.channels)) {
    const int64_t channels = shape.channels;
    const int64_t max_samples = std::max(o.max_samples, shape.samples);
    RowGrid grid(max_samples, shape.rows_per_sample, o.shards);
    grid.SetSamples(shape.samples);
    Context context({.threads = o.threads});
    partials.assign(
        static_cast<size_t>(MomentPartialsSize(
            RowGrid::MaxBlocks(max_samples, shape.rows_per_sample, o.shards), channels)),
        NAN);
    std::vector<float> means(static_cast<size_t>(2 * channels), kNan);
    const Activation activation = o.relu ? Activation::kRelu : Activation::kNone;
    const float* g = o.parameters ? gamma.data() : nullptr;
    const float* b = o.parameters ? beta.data() : nullptr;
    BatchNormForward(context, grid, channels, kEps,
                     {.x = x.data(),
                      .affine = {.gamma = g, .beta = b},
                      .epilogue = {.add = o.add ? add.data() : nullptr,
                                   .add_stride = channels,
                                   .activation = activation},
                      .y = y.data()},
                     {mean.data(), mean_low.data(), inv_std.data(), variance.data()},
                     partials.data());
    BatchNormBackward(context, grid, channels,
                      {.x = x.data(),
                       .y = o.add || o.mask_from_y ? y.data() : nullptr,
                       .dy = dy.data(),
                       .affine = {mean.data(), mean_low.data(), inv_std.data(), g, b},
                       .activation = activation,
                       .training = o.training,
                       .dx = dx.data(),
                       .d_add = o.add ? dz.data() : nullptr,
                       .dgamma = dgamma.data(),
                       .dbeta = dbeta.data()},
                      partials.data(), means.data());
    EXPECT_TRUE(y.Intact() && dx.Intact() && dz.Intact() && mean.Intact() && inv_std.Intact());
    EXPECT_TRUE(mean_low.Intact() && dgamma.Intact() && dbeta.Intact());
  }

  std::vector<float> Outputs() const {
    std::vector<float> all;
    for (const Guarded* part : {&y, &dx, &mean, &mean_low, &inv_std, &dgamma, &dbeta}) {
      const std::vector<float> values = part->values();
      all.insert(all.end(), values.begin(), values.end());
    }
    return all;
  }

  Guarded x, dy, add, gamma, beta, mean, mean_low, inv_std, dgamma, dbeta, y, dx, dz;
  std::vector<double> variance, partials;
};

class BatchNormOpsTest : public hwy::TestWithParamTarget {};
HWY_TARGET_INSTANTIATE_TEST_SUITE_P(BatchNormOpsTest);

void ExpectMatchesReference(const Pass& got, int64_t channels, const Options& o) {
  const auto size = static_cast<int64_t>(got.y.values().size());
  const int64_t rows = size / channels;
  const float* gamma = o.parameters ? got.gamma.data() : nullptr;
  const auto want = reference::BatchNorm<double, float>(
      got.x.data(), o.add ? got.add.data() : nullptr, gamma,
      o.parameters ? got.beta.data() : nullptr, rows, channels, kEps, o.relu);
  // ReLU's branch as the floats took it: at the kink double may disagree.
  const auto passed = std::make_unique<bool[]>(static_cast<size_t>(size));
  for (int64_t i = 0; i < size; ++i) passed[static_cast<size_t>(i)] = got.y[i] > 0.0f;
  const auto d = reference::BatchNormBackward<double, float>(
      got.x.data(), o.relu ? passed.get() : nullptr, got.dy.data(), want.mean.data(),
      want.inv_std.data(), gamma, rows, channels, o.training);
  for (int64_t c = 0; c < channels; ++c) {
    const auto i = static_cast<size_t>(c);
    EXPECT_TRUE(std::abs(got.mean[c] - want.mean[i]) <= 16 * kFloatEps);
    EXPECT_TRUE(std::abs(got.variance[i] - want.variance[i]) <= 16 * kFloatEps * want.variance[i]);
    EXPECT_TRUE(std::abs(got.inv_std[c] / want.inv_std[i] - 1.0) <= 16 * kFloatEps);
    // Terms of size up to 16 (|dy| < 4, |xhat| < 4), a few roundings each.
    const double tolerance = 16 * kFloatEps * std::sqrt(static_cast<double>(rows)) * 16;
    EXPECT_TRUE(std::abs(got.dgamma[c] - d.dgamma[i]) <= tolerance) << rows;
    EXPECT_TRUE(std::abs(got.dbeta[c] - d.dbeta[i]) <= tolerance) << rows;
  }
  for (int64_t i = 0; i < size; ++i) {
    const auto k = static_cast<size_t>(i);
    const double inv_std = want.inv_std[static_cast<size_t>(i % channels)];
    // What the mean's sums round, about half an ulp of 1, is scaled by gamma * inv_std.
    ASSERT_TRUE(std::abs(got.y[i] - want.y[k]) <= 32 * kFloatEps * (4 + inv_std)) << rows;
    ASSERT_TRUE(std::abs(got.dx[i] - d.dx[k]) <= 256 * kFloatEps * inv_std * (1 + inv_std)) << rows;
    if (o.add) {
      ASSERT_EQ(got.dz[i], static_cast<float>(d.dz[k]));
    }
  }
}

constexpr Shape3 kShapes[] = {{1, 3, 5},   {2, 1, 1},  {7, 1, 20},   {32, 1, 64}, {5, 9, 17},
                              {13, 49, 3}, {3, 64, 8}, {300, 1, 33}, {2, 5, 2000}};

TEST_P(BatchNormOpsTest, MatchesTheReferenceForEveryPartition) {
  for (const Shape3& shape : kShapes) {
    const std::vector<float> x =
        Normals(shape.samples * shape.rows_per_sample * shape.channels, 1, /*mean=*/0.5);
    int variant = 0;
    for (const int64_t shards : {1, 2, 3, 8}) {
      for (const int threads : {1, 3}) {
        SCOPED_TRACE(std::to_string(shape.samples) + " samples, " + std::to_string(shape.channels) +
                     " channels, shards " + std::to_string(shards));
        ++variant;
        const Options o = {.threads = threads,
                           .shards = shards,
                           .parameters = variant % 3 != 0,
                           .add = variant % 4 == 1,
                           .relu = variant % 2 == 1,
                           .training = variant % 5 != 0};
        ExpectMatchesReference(Pass(shape, o, x), shape.channels, o);
      }
    }
  }
}

// A batch smaller than what was bound gives what a grid of its own size gives.
TEST_P(BatchNormOpsTest, PartialBatchesAreBatches) {
  for (const int64_t samples : {1, 2, 5, 31}) {
    const Shape3 shape = {samples, 9, 17};
    const std::vector<float> x = Normals(samples * 9 * 17, 1);
    for (const int64_t shards : {1, 3, 8}) {
      const Options whole = {.shards = shards, .relu = true};
      Options part = whole;
      part.max_samples = 32;
      EXPECT_EQ(Bits(Pass(shape, part, x).Outputs()), Bits(Pass(shape, whole, x).Outputs()));
    }
  }
}

TEST_P(BatchNormOpsTest, GivesTheSameBitsForAnyNumberOfThreads) {
  // Above and below the sizes where loops are spread, few blocks and many, wide and narrow; the
  // last is beyond the caches: written past them, in reverse.
  const Shape3 shapes[] = {{32, 1, 64},   {256, 1, 64},  {16, 64, 64}, {128, 100, 16},
                           {64, 1, 2000}, {300, 1, 300}, {90, 100, 7}};
  for (const Shape3& shape : shapes) {
    const std::vector<float> x =
        Normals(shape.samples * shape.rows_per_sample * shape.channels, 1, 3.0);
    const std::vector<float> dy(x.rbegin(), x.rend());
    for (const int64_t shards : {1, 3}) {
      const Options one = {.threads = 1, .shards = shards, .relu = true};
      const auto want = Bits(Pass(shape, one, x, dy).Outputs());
      for (const int threads : {2, 3, 8}) {
        Options more = one;
        more.threads = threads;
        EXPECT_TRUE(Bits(Pass(shape, more, x, dy).Outputs()) == want)
            << threads << " threads, " << shape.channels << " channels";
      }
    }
  }
}

// Beyond the caches results are written past them, and rows are met in reverse. A small
// batch has the same statistics, because the large one is the same rows over and over.
TEST(BatchNormBitsTest, AreTheSameBeyondTheCaches) {
  constexpr int64_t kPeriod = 128 * 64, kTimes = 800;  // 26 MB, a tree of 25 x 2^5 blocks
  const std::vector<float> once = Normals(kPeriod, 1, 3.0);
  std::vector<float> x;
  for (int64_t i = 0; i < kTimes; ++i) x.insert(x.end(), once.begin(), once.end());
  const Options one = {.threads = 1, .shards = 25, .relu = true};
  Options three = one;
  three.threads = 3;
  const Shape3 shape = {kTimes, 128, 64};
  const Pass a(shape, one, x, x), b(shape, three, x, x);
  EXPECT_TRUE(Bits(a.Outputs()) == Bits(b.Outputs()));
  const Pass small({1, 128, 64}, {.relu = true}, once, once);
  for (int64_t c = 0; c < 64; ++c) {
    EXPECT_TRUE(std::abs(a.mean[c] - small.mean[c]) <= 2 * kFloatEps * 3.0);
    EXPECT_TRUE(std::abs(a.inv_std[c] - small.inv_std[c]) <= 4 * kFloatEps);
  }
  for (int64_t i = 0; i < kPeriod * kTimes; ++i) {
    ASSERT_TRUE(std::abs(a.y[i] - small.y[i % kPeriod]) <= 64 * kFloatEps);
  }
}

TEST_P(BatchNormOpsTest, TheMaskFromXIsTheMaskFromY) {
  const Shape3 shape = {20, 7, 19};
  const std::vector<float> x = Normals(20 * 7 * 19, 1);
  const Options from_x = {.relu = true};
  Options from_y = from_x;
  from_y.mask_from_y = true;
  EXPECT_EQ(Bits(Pass(shape, from_x, x).Outputs()), Bits(Pass(shape, from_y, x).Outputs()));
}

// What a producer does: blocks in any order, columns in pieces.
TEST_P(BatchNormOpsTest, MomentsOfBlocksHandedOverAreThoseOfTheBatch) {
  constexpr int64_t kChannels = 50;
  const RowGrid grid(/*max_samples=*/37, /*rows_per_sample=*/30, /*shards=*/3);
  const std::vector<float> x = Normals(grid.rows() * kChannels, 1);
  Context context({.threads = 2});
  const auto size = static_cast<size_t>(MomentPartialsSize(grid.blocks(), kChannels));
  std::vector<double> want(size, NAN), got(size, NAN);
  BatchMoments(context, x.data(), kChannels, grid, want.data());
  for (int64_t block = grid.blocks() - 1; block >= 0; --block) {
    for (const IndexRange columns : {IndexRange{16, 48}, {48, 50}, {0, 16}}) {
      BlockMoments(x.data(), kChannels, kChannels, grid, block, columns, got.data());
    }
  }
  EXPECT_EQ(got, want);
}

// One step over `ranks` ranks, each with its own part of the batch, and the exchanges between them
// in the clear. Returns what all of them have together.
std::vector<float> StepOfRanks(const std::vector<float>& x, const std::vector<float>& dy,
                               int64_t channels, int64_t samples, int64_t rows_per_sample,
                               const Division& division) {
  const std::vector<float> gamma = Normals(channels, 4), beta = Normals(channels, 5);
  const int64_t numbers = 2 * channels, rows = samples * rows_per_sample;
  const auto count = static_cast<size_t>(numbers * division.ranks);
  std::vector<float> y(x.size(), kNan), dx(x.size(), kNan), statistics;
  std::vector<float> mean(gamma.size()), mean_low(mean), inv_std(mean), means(2 * mean.size());
  std::vector<std::vector<float>> dgamma(static_cast<size_t>(division.ranks), mean), dbeta(dgamma);
  std::vector<double> all(count, NAN), variance(mean.size());
  std::vector<int64_t> rows_of;
  Context context({.threads = 1});

  // What each rank does up to the next exchange, in the state that forward and backward share.
  const auto for_ranks = [&](const auto& body) {
    for (int rank = 0; rank < division.ranks; ++rank) {
      const BatchCut cut = BatchCut::OfRank(samples, division.shards, rank, division.ranks);
      RowGrid grid(cut.samples(), rows_per_sample, cut.local_shards);
      grid.Set(cut);
      const int64_t at = cut.first_sample() * rows_per_sample * channels;
      std::vector<double> partials(static_cast<size_t>(MomentPartialsSize(grid.blocks(), channels)),
                                   NAN);
      const BatchNormGradientArgs backward = {
          .x = x.data() + at,
          .dy = dy.data() + at,
          .affine = {mean.data(), mean_low.data(), inv_std.data(), gamma.data(), beta.data()},
          .activation = Activation::kRelu,
          .dx = dx.data() + at,
          .dgamma = dgamma[static_cast<size_t>(rank)].data(),
          .dbeta = dbeta[static_cast<size_t>(rank)].data()};
      body(grid, at, backward, partials.data());
      std::copy_n(partials.data(), numbers, all.data() + rank * numbers);
    }
  };
  for_ranks([&](const RowGrid& grid, int64_t at, const auto&, double* partials) {
    rows_of.push_back(grid.rows());
    BatchMoments(context, x.data() + at, channels, grid, partials);
    MergeMoments(context, grid, channels, partials);
  });
  MergeRankMoments(all.data(), rows_of, channels);
  FinishMoments(context, rows, channels, all.data(), kEps,
                {mean.data(), mean_low.data(), inv_std.data(), variance.data()});
  for_ranks([&](const RowGrid& grid, int64_t at, const auto& backward, double* partials) {
    NormalizeBatch(context, grid, channels,
                   {.x = backward.x,
                    .affine = backward.affine,
                    .epilogue = {.activation = backward.activation},
                    .y = y.data() + at});
    GradientSums(context, grid, channels, backward, partials);
    MergeGradientSums(context, grid, channels, backward, partials);
  });
  MergeRankSums(all.data(), division.ranks, channels);
  GradientMeans(context, rows, channels, all.data(), means.data());
  for_ranks([&](const RowGrid& grid, int64_t, const auto& backward, double*) {
    InputGradient(context, grid, channels, backward, means.data());
  });

  std::vector<float> results = y;
  for (const std::vector<float>& more :
       {dx, mean, mean_low, inv_std, AllReduce(dgamma), AllReduce(dbeta)}) {
    results.insert(results.end(), more.begin(), more.end());
  }
  return results;
}

TEST_P(BatchNormOpsTest, RanksTogetherHaveTheBitsOfOneProcess) {
  constexpr int64_t kChannels = 19;
  for (const int64_t samples : kSamples) {
    for (const int64_t rows_per_sample : {1, 3, 70}) {
      const int64_t size = samples * rows_per_sample * kChannels;
      const std::vector<float> x = Normals(size, 1, 2.0), dy = Normals(size, 2);
      for (const Division& division : Divisions()) {
        SCOPED_TRACE(std::to_string(samples) + " samples, shards " +
                     std::to_string(division.shards) + ", ranks " + std::to_string(division.ranks));
        const Pass whole({samples, rows_per_sample, kChannels},
                         {.shards = division.shards, .relu = true}, x, dy);
        ASSERT_TRUE(Bits(StepOfRanks(x, dy, kChannels, samples, rows_per_sample, division)) ==
                    Bits(whole.Outputs()));
      }
    }
  }
}

TEST(BatchNormRanksTest, ARankWithoutRowsHandsOverZeros) {
  const RowGrid grid(/*max_samples=*/0, /*rows_per_sample=*/3, /*shards=*/2);
  Context context({.threads = 1});
  std::vector<double> moments(static_cast<size_t>(MomentPartialsSize(grid.blocks(), 5)), NAN);
  std::vector<double> sums = moments;
  std::vector<float> dgamma(5, 1.0f), dbeta(5, kNan);
  MergeMoments(context, grid, 5, moments.data());
  MergeGradientSums(context, grid, 5, {.dgamma = dgamma.data(), .dbeta = dbeta.data()},
                    sums.data());
  EXPECT_EQ(moments, std::vector<double>(10, 0.0));
  EXPECT_EQ(sums, std::vector<double>(10, 0.0));
  EXPECT_EQ(dgamma, std::vector<float>(5, 0.0f));
  EXPECT_EQ(dbeta, std::vector<float>(5, 0.0f));
}

TEST_P(BatchNormOpsTest, ParameterGradientsAddWhenAsked) {
  constexpr int64_t kChannels = 6;
  const RowGrid grid(40, 1, 2);
  const std::vector<float> x = Normals(40 * kChannels, 1), dy = Normals(40 * kChannels, 2);
  const std::vector<float> mean(6, 0.1f), inv_std(6, 1.1f);
  std::vector<double> partials(static_cast<size_t>(MomentPartialsSize(grid.blocks(), kChannels)));
  std::vector<float> means(12), dgamma(6, kNan), dbeta(6, kNan);
  Context context({.threads = 1});
  BatchNormGradientArgs args = {.x = x.data(),
                                .dy = dy.data(),
                                .affine = {.mean = mean.data(), .inv_std = inv_std.data()},
                                .dgamma = dgamma.data(),
                                .dbeta = dbeta.data()};  // and dx is not wanted
  BatchNormBackward(context, grid, kChannels, args, partials.data(), means.data());
  const std::vector<float> once_gamma = dgamma, once_beta = dbeta;
  args.accumulate = true;
  BatchNormBackward(context, grid, kChannels, args, partials.data(), means.data());
  for (size_t c = 0; c < 6; ++c) {
    EXPECT_EQ(dgamma[c], 2.0f * once_gamma[c]);
    EXPECT_EQ(dbeta[c], 2.0f * once_beta[c]);
    EXPECT_EQ(means[c], static_cast<float>(static_cast<double>(partials[c]) / 40.0));
  }
}

TEST_P(BatchNormOpsTest, OneRowGivesBetaAndNoGradient) {
  const Options o = {};
  const Pass pass({1, 1, 11}, o, Normals(11, 1, 100.0));
  for (int64_t c = 0; c < 11; ++c) {
    EXPECT_EQ(pass.variance[static_cast<size_t>(c)], 0.0);
    EXPECT_EQ(pass.y[c], pass.beta[c]);
    EXPECT_EQ(pass.dx[c], 0.0f);
  }
}

// One row alone in a batch tells nothing, but a constant channel must not divide by zero either.
TEST_P(BatchNormOpsTest, ConstantChannelsGiveBeta) {
  std::vector<float> x = Normals(100 * 4, 1);
  const float values[] = {0.1f, 1e30f, -3e-30f};
  for (size_t r = 0; r < 100; ++r) std::copy_n(values, 3, x.data() + r * 4);
  const Pass pass({100, 1, 4}, {.shards = 3}, x);
  for (int64_t i = 0; i < 400; ++i) {
    if (i % 4 == 3) continue;
    ASSERT_EQ(pass.y[i], pass.beta[i % 4]);
    ASSERT_TRUE(std::isfinite(pass.dx[i]));
  }
  for (size_t c = 0; c < 3; ++c) EXPECT_EQ(pass.variance[c], 0.0);
}

TEST_P(BatchNormOpsTest, KeepsVarianceUnderALargeMean) {
  const std::vector<float> x = Normals(100000 * 2, 11, /*mean=*/1e4, /*sd=*/1.0);
  reference::BatchNormResult<double> want;
  reference::BatchMoments(x.data(), 100000, 2, want);
  for (const int64_t shards : {1, 8}) {
    const Pass pass({100000, 1, 2}, {.shards = shards}, x);
    for (size_t c = 0; c < 2; ++c) {
      EXPECT_TRUE(std::abs(pass.variance[c] / want.variance[c] - 1.0) <= 1e-6);
      EXPECT_EQ(pass.mean[static_cast<int64_t>(c)], static_cast<float>(want.mean[c]));
    }
  }
}

// At mean / sd = 1e4 the rounding of the mean to one float alone would move xhat by up to 5e-4: y,
// dx and dgamma have to be right to 1e-6 of the deviation.
TEST_P(BatchNormOpsTest, NormalisesUnderALargeMean) {
  constexpr int64_t kRows = 20000, kChannels = 5, kSize = kRows * kChannels;
  const std::vector<float> x = Normals(kSize, 11, /*mean=*/1e4, /*sd=*/1.0);
  // Such that sum dz / R and sum dz xhat / R are about 1.
  std::vector<float> dy = Normals(kSize, 12, /*mean=*/1.0);
  for (size_t i = 0; i < x.size(); ++i) dy[i] += x[i] - 1e4f;
  const Pass got({kRows, 1, kChannels}, {.shards = 3, .parameters = false}, x, dy);
  const auto want = reference::BatchNorm<double, float>(x.data(), nullptr, nullptr, nullptr, kRows,
                                                        kChannels, kEps, /*relu=*/false);
  const auto d = reference::BatchNormBackward<double, float>(
      x.data(), nullptr, dy.data(), want.mean.data(), want.inv_std.data(), nullptr, kRows,
      kChannels, /*training=*/true);
  for (int64_t i = 0; i < kSize; ++i) {
    const auto k = static_cast<size_t>(i);
    ASSERT_TRUE(std::abs(got.y[i] - want.y[k]) <= 1e-6);
    // Four roundings of terms below 10.
    ASSERT_TRUE(std::abs(got.dx[i] - d.dx[k]) <= 4 * 10 * kFloatEps);
  }
  for (int64_t c = 0; c < kChannels; ++c) {
    const auto k = static_cast<size_t>(c);
    EXPECT_TRUE(std::abs(got.dgamma[c] - d.dgamma[k]) <= 1e-6 * kRows);
  }
}

// Inputs that span 1e30: the same y, and dx smaller by as much, as of the inputs in proportion.
TEST_P(BatchNormOpsTest, HoldsHugeAndTinyInputs) {
  const std::vector<float> x = Normals(150 * 7, 1, 0.5);
  for (const float factor : {0x1p100f, 0x1p-100f}) {
    std::vector<float> scaled = x;
    for (float& v : scaled) v *= factor;
    const Pass pass({150, 1, 7}, {.shards = 2}, scaled);
    const auto want = reference::BatchNorm<double, float>(scaled.data(), nullptr, pass.gamma.data(),
                                                          pass.beta.data(), 150, 7, kEps, false);
    for (int64_t i = 0; i < 150 * 7; ++i) {
      ASSERT_TRUE(std::abs(pass.y[i] - want.y[static_cast<size_t>(i)]) <= 64 * kFloatEps);
      ASSERT_TRUE(std::isfinite(pass.dx[i]));
    }
    for (size_t c = 0; c < 7; ++c) {
      EXPECT_TRUE(std::abs(pass.variance[c] / want.variance[c] - 1.0) <= 16 * kFloatEps) << factor;
      const double inv_std = pass.inv_std[static_cast<int64_t>(c)];
      EXPECT_TRUE(std::abs(inv_std / want.inv_std[c] - 1.0) <= 16 * kFloatEps);
    }
  }
}

TEST_P(BatchNormOpsTest, KeepsWhatIsNotANumberInItsChannel) {
  constexpr int64_t kChannels = 20;
  const std::vector<float> clean = Normals(140 * kChannels, 1);
  const Options o = {.shards = 2, .relu = true};
  const Pass want({140, 1, kChannels}, o, clean);
  for (const float bad : {kNan, kInf}) {
    std::vector<float> x = clean;
    x[100 * kChannels + 13] = bad;
    const Pass got({140, 1, kChannels}, o, x);
    for (int64_t i = 0; i < 140 * kChannels; ++i) {
      if (i % kChannels == 13) {
        ASSERT_TRUE(std::isnan(got.y[i]));
        ASSERT_TRUE(std::isnan(got.dx[i]));
      } else {
        ASSERT_EQ(got.y[i], want.y[i]);
        ASSERT_EQ(got.dx[i], want.dx[i]);
      }
    }
  }
}

TEST(BatchNormBitsTest, AreTheSameOnEveryTargetWithFma) {
  ExpectSameBitsOnFmaTargets([] {
    return Pass({50, 9, 77}, {.shards = 3, .relu = true}, Normals(50 * 9 * 77, 1, 3.0)).Outputs();
  });
}

// d/dp of sum w * y(p), by an imaginary step: no subtraction, hence no cancellation.
TEST(BatchNormReferenceTest, BackwardIsTheComplexStepDerivativeOfForward) {
  using Complex = std::complex<double>;
  constexpr int64_t kRows = 7, kChannels = 3;
  constexpr double kStep = 1e-50;
  const auto convert = [](const std::vector<float>& v) {
    return std::vector<Complex>(v.begin(), v.end());
  };
  const std::vector<float> x = Normals(kRows * kChannels, 1), w = Normals(kRows * kChannels, 2);
  const std::vector<float> add = Normals(kRows * kChannels, 3);
  const std::vector<float> gamma = Normals(kChannels, 4), beta = Normals(kChannels, 5);
  for (const bool relu : {false, true}) {
    std::vector<Complex> px = convert(x), pr = convert(add), pg = convert(gamma),
                         pb = convert(beta);
    const auto forward = [&] {
      return reference::BatchNorm<Complex, Complex>(px.data(), pr.data(), pg.data(), pb.data(),
                                                    kRows, kChannels, kEps, relu);
    };
    const auto derivative = [&](Complex& p) {
      const Complex old = p;
      p += Complex(0.0, kStep);
      const auto result = forward();
      p = old;
      double sum = 0.0;
      for (size_t i = 0; i < w.size(); ++i) sum += double{w[i]} * result.y[i].imag() / kStep;
      return sum;
    };
    const auto at = reference::BatchNorm<double, float>(x.data(), add.data(), gamma.data(),
                                                        beta.data(), kRows, kChannels, kEps, relu);
    const auto passed = std::make_unique<bool[]>(w.size());
    for (size_t i = 0; i < w.size(); ++i) passed[i] = at.y[i] > 0;
    const auto d = reference::BatchNormBackward<double, float>(
        x.data(), relu ? passed.get() : nullptr, w.data(), at.mean.data(), at.inv_std.data(),
        gamma.data(), kRows, kChannels, /*training=*/true);
    constexpr double kTolerance = 1e-13;  // of numbers of size 1 in double
    for (size_t i = 0; i < w.size(); ++i) {
      EXPECT_TRUE(std::abs(derivative(px[i]) - d.dx[i]) <= kTolerance * 10);
      EXPECT_TRUE(std::abs(derivative(pr[i]) - d.dz[i]) <= kTolerance);
    }
    for (size_t c = 0; c < kChannels; ++c) {
      EXPECT_TRUE(std::abs(derivative(pg[c]) - d.dgamma[c]) <= kTolerance * 10);
      EXPECT_TRUE(std::abs(derivative(pb[c]) - d.dbeta[c]) <= kTolerance);
    }
  }
}

}  // namespace
}  // namespace lockstep::ops
