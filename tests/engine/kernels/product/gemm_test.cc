#include "engine/kernels/product/gemm.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <numeric>
#include <string>
#include <tuple>
#include <vector>

#include "engine/base/random.h"
#include "engine/kernels/targets.h"
#include "tests/reference/gemm.h"
//
#include <hwy/highway.h>
#include <hwy/tests/test_util-inl.h>

namespace lockstep::inline v0_1 {
namespace {

using kernels::Activation;
using kernels::ConstMatrix;
using kernels::GemmArgs;

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr double kHalfUlp = 0x1p-24;  // the largest relative error of one rounding

// A (rows, cols) matrix with gaps of NaN: whatever uses what lies outside it shows. Its last
// element ends its memory, so the address sanitizer sees reads beyond it.
struct Block {
  enum Layout { kRowMajor, kColMajor, kSpread };
  Block(int64_t rows, int64_t cols, Layout layout, int64_t gap, uint64_t seed) {
    const int64_t spread = layout == kSpread ? 2 : 1;
    const int64_t row_stride = layout == kColMajor ? 1 : spread * cols + gap;
    const int64_t col_stride = layout == kColMajor ? rows + gap : spread;
    const int64_t offset = 3;  // off any alignment
    const int64_t last = rows * cols == 0 ? 0 : (rows - 1) * row_stride + (cols - 1) * col_stride;
    data.assign(static_cast<size_t>(offset + last + 1), kNan);
    Random random(seed, StreamOf("gemm"));
    for (int64_t i = 0; i < rows; ++i) {
      for (int64_t j = 0; j < cols; ++j) {
        data[static_cast<size_t>(offset + i * row_stride + j * col_stride)] =
            static_cast<float>(random.Normal());
      }
    }
    view = {data.data() + offset, row_stride, col_stride};
  }
  std::vector<float> data;
  ConstMatrix view;
};

struct Options {
  Block::Layout layout_a = Block::kRowMajor, layout_b = Block::kRowMajor;
  bool accumulate = false, scale = false, bias = false;
  enum Add { kNo, kOther, kInPlace } add = kNo;
  Activation activation = Activation::kNone;
  std::vector<int64_t> segments = {};
};

std::string Describe(int64_t m, int64_t n, int64_t k, const Options& o) {
  std::string text = std::to_string(m) + "x" + std::to_string(n) + "x" + std::to_string(k) +
                     " layouts " + std::to_string(o.layout_a) + std::to_string(o.layout_b) +
                     (o.accumulate ? " accumulate" : "") + (o.scale ? " scale" : "") +
                     (o.bias ? " bias" : "") + " add " + std::to_string(o.add) +
                     (o.activation == Activation::kRelu ? " relu" : "") + " segments";
  for (const int64_t s : o.segments) text += " " + std::to_string(s);
  return text;
}

bool TargetFuses() { return (hwy::SupportedTargets() & (HWY_AVX3 | HWY_AVX2 | HWY_NEON)) != 0; }

// One product against the reference: bit for bit where the target fuses multiply and add, otherwise
// within the error of k + 5 roundings of sums no larger than the sum of magnitudes. Everything
// around C must stay as it was.
void CheckProduct(int64_t m, int64_t n, int64_t k, const Options& options) {
  SCOPED_TRACE(Describe(m, n, k, options));
  const Block a(m, k, options.layout_a, 5, 1);
  const Block b(k, n, options.layout_b, 7, 2);
  const Block bias(1, n, Block::kRowMajor, 0, 3), scale(1, n, Block::kRowMajor, 0, 5);
  const int64_t c_stride = n == 1 ? 1 : n + 3;
  const Block before(m, n, Block::kRowMajor, c_stride - n, 4);
  const Block other(m, n, Block::kRowMajor, n == 1 ? 0 : 2, 6);
  std::vector<float> c = before.data;
  kernels::Epilogue epilogue{.scale = options.scale ? scale.view.data : nullptr,
                             .bias = options.bias ? bias.view.data : nullptr,
                             .activation = options.activation};
  if (options.add == Options::kOther) {
    epilogue.add = other.view.data;
    epilogue.add_stride = other.view.row_stride;
  } else if (options.add == Options::kInPlace) {
    epilogue.add = c.data() + 3;
    epilogue.add_stride = c_stride;
  }
  const int64_t segments = std::max<int64_t>(1, static_cast<int64_t>(options.segments.size()) - 1);
  std::vector<float> scratch(static_cast<size_t>(kernels::GemmScratch(m, n, k, segments)) + 32,
                             kNan);
  kernels::Gemm({.m = m,
                 .n = n,
                 .k = k,
                 .a = a.view,
                 .b = b.view,
                 .c = c.data() + 3,
                 .c_stride = c_stride,
                 .accumulate = options.accumulate,
                 .epilogue = epilogue,
                 .segments = options.segments},
                scratch.data());
  for (size_t i = scratch.size() - 32; i < scratch.size(); ++i) {
    ASSERT_TRUE(std::isnan(scratch[i])) << "wrote beyond its scratch";
  }

  if (options.add == Options::kInPlace) epilogue.add = before.view.data;

  const std::vector<int64_t> whole = {0, k};
  const std::vector<int64_t>& bounds = options.segments.empty() ? whole : options.segments;
  std::vector<bool> inside(c.size(), false);
  for (int64_t i = 0; i < m; ++i) {
    for (int64_t j = 0; j < n; ++j) {
      const auto at = static_cast<size_t>(3 + i * c_stride + j);
      inside[at] = true;
      const float* old = options.accumulate ? &before.data[at] : nullptr;
      if (TargetFuses()) {
        const float want = reference::GemmFinish(
            reference::GemmTree<float>(a.view, b.view, i, j, bounds, 0, bounds.size() - 1), old,
            epilogue, i, j);
        ASSERT_EQ(std::bit_cast<uint32_t>(c[at]), std::bit_cast<uint32_t>(want))
            << i << ", " << j << ": " << c[at] << " for " << want;
      } else {
        const double want = reference::GemmFinish(
            reference::GemmChain<double>(a.view, b.view, i, j, 0, k), old, epilogue, i, j);
        double size = old ? std::abs(*old) : 0.0;
        for (int64_t p = 0; p < k; ++p) {
          size += std::abs(a.view.data[i * a.view.row_stride + p * a.view.col_stride] *
                           b.view.data[p * b.view.row_stride + j * b.view.col_stride]);
        }
        if (options.scale) size *= std::abs(scale.view.data[j]);
        if (options.bias) size += std::abs(bias.view.data[j]);
        if (epilogue.add != nullptr) size += std::abs(epilogue.add[i * epilogue.add_stride + j]);
        const double tolerance = (2.0 * static_cast<double>(k) + 5.0) * kHalfUlp * size;
        ASSERT_TRUE(std::abs(c[at] - want) <= tolerance)
            << i << ", " << j << ": " << c[at] << " for " << want;
      }
    }
  }
  for (size_t i = 0; i < c.size(); ++i) {
    if (inside[i]) continue;
    ASSERT_EQ(std::bit_cast<uint32_t>(c[i]), std::bit_cast<uint32_t>(before.data[i]))
        << "wrote outside C, at " << i;
  }
}

class GemmTest : public hwy::TestWithParamTarget {};
HWY_TARGET_INSTANTIATE_TEST_SUITE_P(GemmTest);

constexpr Block::Layout kLayouts[] = {Block::kRowMajor, Block::kColMajor, Block::kSpread};

TEST_P(GemmTest, AddsInTheFixedOrderForAllShapesAroundTheTileAndAllLayouts) {
  for (const int64_t m : {1, 2, 3, 5, 6, 7, 13, 14, 15, 29}) {
    for (const int64_t n : {1, 7, 8, 9, 15, 16, 17, 31, 33, 64, 67}) {
      for (const int64_t k : {0, 1, 3, 4, 5, 20}) {
        const auto pick = static_cast<size_t>(m + n + k);
        CheckProduct(m, n, k, {.layout_a = kLayouts[pick % 3], .layout_b = kLayouts[pick / 3 % 3]});
        if (HasFatalFailure()) return;
      }
    }
  }
}

TEST_P(GemmTest, EveryPairOfLayoutsPacksAndReadsTheSame) {
  for (const Block::Layout layout_a : kLayouts) {
    for (const Block::Layout layout_b : kLayouts) {
      for (const auto& [m, n, k] :
           std::vector<std::tuple<int64_t, int64_t, int64_t>>{{32, 64, 20},
                                                              {61, 131, 37},
                                                              {97, 150, 90},
                                                              {1, 50, 33},
                                                              {45, 1, 33},
                                                              {40, 10, 301}}) {
        CheckProduct(m, n, k, {.layout_a = layout_a, .layout_b = layout_b});
        if (HasFatalFailure()) return;
      }
    }
  }
}

TEST_P(GemmTest, LongSumsAreEqualChainsThatMergeInTheFixedTree) {
  for (const int64_t k : {255, 256, 257, 400, 509, 511, 512, 513, 769, 1021, 1537, 2311}) {
    CheckProduct(19, 70, k, {.layout_b = Block::kColMajor});
    CheckProduct(19, 70, k, {.layout_a = Block::kColMajor, .accumulate = true, .bias = true});
    CheckProduct(2, 70, k, {.layout_b = Block::kColMajor});
    CheckProduct(33, 1, k, {.bias = true});
    CheckProduct(1, 1, k, {.bias = true});
    if (HasFatalFailure()) return;
  }
}

// Sizes of whole tiles, of part of one, and where the last panel could begin earlier: it must not
// where C is read, or it adds to what it wrote.
TEST_P(GemmTest, EpilogueAddsOldScalesAddsActivates) {
  for (int mask = 0; mask < 16; ++mask) {
    for (const auto add : {Options::kNo, Options::kOther, Options::kInPlace}) {
      for (const int64_t m : {1, 3, 32}) {
        for (const int64_t n : {1, 10, 48, 67}) {
          CheckProduct(m, n, 21,
                       {.accumulate = (mask & 1) != 0,
                        .scale = (mask & 2) != 0,
                        .bias = (mask & 4) != 0,
                        .add = add,
                        .activation = (mask & 8) != 0 ? Activation::kRelu : Activation::kNone});
          if (HasFatalFailure()) return;
        }
      }
    }
  }
  CheckProduct(30, 70, 700, {.scale = true, .bias = true, .add = Options::kInPlace});
}

// Segments of one element each.
std::vector<int64_t> AllOnes(int64_t k) {
  std::vector<int64_t> bounds(static_cast<size_t>(k) + 1);
  std::iota(bounds.begin(), bounds.end(), int64_t{0});
  return bounds;
}

TEST_P(GemmTest, SegmentsMergeInTheFixedTree) {
  const std::vector<std::vector<int64_t>> cuts = {
      {0, 32},
      {0, 16, 32},
      {0, 8, 16, 24, 32},
      {0, 4, 8, 12, 16, 20, 24, 28, 32},
      {0, 1, 5, 32},
      {0, 0, 7, 7, 7, 20, 32, 32},              // empty ones
      {0, 100, 200, 300, 400, 500, 600},        // across blocks of K
      {0, 256, 512, 600},                       // at their boundaries
      {0, 0, 0, 200, 200, 400, 400, 400, 600},  //
      {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 600},
      {0, 257, 257, 258, 1027, 1027},  // one chain, several, none
      {0, 511, 1022, 1533},
      {0, 0, 0},
      AllOnes(100)};  // more chains than one visit of a tile takes
  for (const auto& segments : cuts) {
    for (const auto& [m, n] :
         std::vector<std::pair<int64_t, int64_t>>{{13, 40}, {2, 33}, {20, 1}, {1, 1}}) {
      CheckProduct(m, n, segments.back(),
                   {.layout_a = Block::kColMajor, .accumulate = true, .segments = segments});
      if (HasFatalFailure()) return;
    }
  }
}

TEST_P(GemmTest, EmptyResultsTouchNothing) {
  CheckProduct(0, 5, 3, {});
  CheckProduct(5, 0, 3, {});
}

TEST_P(GemmTest, ReluLetsNanThrough) {
  const std::vector<float> a = {1.0f, kNan, -2.0f}, b(20, 1.0f);
  std::vector<float> c(60, 7.0f), scratch(static_cast<size_t>(kernels::GemmScratch(3, 20, 1, 1)));
  kernels::Gemm({.m = 3,
                 .n = 20,
                 .k = 1,
                 .a = {a.data(), 1, 1},
                 .b = {b.data(), 20, 1},
                 .c = c.data(),
                 .c_stride = 20,
                 .epilogue = {.activation = Activation::kRelu}},
                scratch.data());
  for (size_t j = 0; j < 20; ++j) {
    EXPECT_EQ(c[j], 1.0f);
    EXPECT_TRUE(std::isnan(c[20 + j]));
    EXPECT_EQ(c[40 + j], 0.0f);
  }
}

// Every place of whole and partial tiles, of all panels.
TEST_P(GemmTest, ReportsWhatIsNotFiniteWhereverItIs) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  for (const auto& size : std::vector<std::pair<int64_t, int64_t>>{
           {1, 1}, {1, 70}, {33, 1}, {31, 67}, {16, 8}, {3, 10}, {28, 64}}) {
    const int64_t m = size.first, n = size.second;
    const Block a(m, 3, Block::kColMajor, 0, 1), b(3, n, Block::kRowMajor, 0, 2);
    std::vector<float> scratch(static_cast<size_t>(kernels::GemmScratch(m, n, 3, 1)), kNan);
    const auto reports = [&](const Block& x, const std::vector<float>& add, Activation activation) {
      std::atomic<bool> found = false;
      std::vector<float> c(static_cast<size_t>(m * n));
      kernels::Gemm({.m = m,
                     .n = n,
                     .k = 3,
                     .a = x.view,
                     .b = b.view,
                     .c = c.data(),
                     .c_stride = n,
                     .epilogue = {.add = add.data(), .add_stride = n, .activation = activation},
                     .not_finite = &found},
                    scratch.data());
      return found.load();
    };
    std::vector<float> add(static_cast<size_t>(m * n), 1.0f);
    EXPECT_FALSE(reports(a, add, Activation::kNone)) << m << "x" << n;
    for (size_t i = 0; i < add.size(); ++i) {
      add[i] = i % 2 == 0 ? kInfinity : kNan;
      ASSERT_TRUE(reports(a, add, Activation::kRelu)) << m << "x" << n << " at " << i;
      add[i] = 1.0f;
    }
    // A large finite number is finite; minus infinity that becomes zero is what is written.
    add[0] = std::numeric_limits<float>::max();
    EXPECT_FALSE(reports(a, add, Activation::kNone));
    std::fill(add.begin(), add.end(), -kInfinity);
    EXPECT_FALSE(reports(a, add, Activation::kRelu));
  }
}

// inf * -1, which ReLU makes 0; beside it, in the lanes of B's padding, inf * 0, which is NaN.
TEST_P(GemmTest, ReportsNothingOfTheLanesBeyondC) {
  for (const int64_t m : {2, 31}) {
    for (int64_t n = 1; n < 70; ++n) {
      const std::vector<float> a(static_cast<size_t>(m), std::numeric_limits<float>::infinity());
      const std::vector<float> b(static_cast<size_t>(n), -1.0f);
      std::vector<float> c(static_cast<size_t>(m * n)),
          scratch(static_cast<size_t>(kernels::GemmScratch(m, n, 1, 1)), kNan);
      std::atomic<bool> found = false;
      kernels::Gemm({.m = m,
                     .n = n,
                     .k = 1,
                     .a = {a.data(), 1, 1},
                     .b = {b.data(), n, 1},
                     .c = c.data(),
                     .c_stride = n,
                     .epilogue = {.activation = Activation::kRelu},
                     .not_finite = &found},
                    scratch.data());
      EXPECT_FALSE(found.load()) << m << "x" << n;
    }
  }
}

TEST_P(GemmTest, ABlockHasTheBitsOfTheWholeProduct) {
  const int64_t m = 50, n = 90, k = 300;
  const Block a(m, k, Block::kRowMajor, 0, 1), b(k, n, Block::kColMajor, 0, 2);
  std::vector<float> whole(static_cast<size_t>(m * n)), parts(whole.size());
  std::vector<float> scratch(static_cast<size_t>(kernels::GemmScratch(m, n, k, 1)));
  kernels::Gemm(
      {.m = m, .n = n, .k = k, .a = a.view, .b = b.view, .c = whole.data(), .c_stride = n},
      scratch.data());
  for (int64_t i = 0; i < m; i += 11) {
    for (int64_t j = 0; j < n; j += 27) {
      kernels::Gemm({.m = std::min<int64_t>(11, m - i),
                     .n = std::min<int64_t>(27, n - j),
                     .k = k,
                     .a = a.view.From(i, 0),
                     .b = b.view.From(0, j),
                     .c = parts.data() + i * n + j,
                     .c_stride = n},
                    scratch.data());
    }
  }
  EXPECT_EQ(std::memcmp(whole.data(), parts.data(), whole.size() * sizeof(float)), 0);
}

TEST_P(GemmTest, ScratchGrowsWithEveryArgument) {
  for (const int64_t m : {1, 3, 40, 256}) {
    for (const int64_t n : {1, 20, 300}) {
      for (const int64_t k : {0, 20, 256, 700, 5000}) {
        for (const int64_t s : {1, 4, 9, 31, 32, 40}) {
          const int64_t floats = kernels::GemmScratch(m, n, k, s);
          EXPECT_LE(floats, kernels::GemmScratch(m + 1, n, k, s));
          EXPECT_LE(floats, kernels::GemmScratch(m, n + 1, k, s));
          EXPECT_LE(floats, kernels::GemmScratch(m, n, k + 1, s));
          EXPECT_LE(floats, kernels::GemmScratch(m, n, k, s + 1));
        }
      }
    }
  }
}

TEST(GemmTargets, NamesThoseThisMachineCannotRun) {
  if ((hwy::SupportedTargets() & HWY_AVX3) == 0) {
    GTEST_SKIP() << "no AVX-512 here: its tiles were compiled, not run";
  }
}

}  // namespace
}  // namespace lockstep
