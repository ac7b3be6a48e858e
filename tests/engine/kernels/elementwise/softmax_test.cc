#include "engine/kernels/elementwise/softmax.h"

#include <algorithm>
#include <cmath>
#include <complex>
#include <cstdint>
#include <vector>

#include "engine/base/float_mode.h"
#include "engine/kernels/targets.h"
#include "gtest/gtest.h"
#include "tests/engine/kernels/arrays.h"
#include "tests/reference/softmax.h"
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

// Around the lane counts, the unrolled maximum, and the stretches of a sum.
const std::vector<int64_t> kColumns = {1, 2, 3, 10, 15, 16, 17, 31, 33, 65, 1000, 2047, 2049, 5003};

template <class T>
std::vector<T> Row(const float* x, int64_t n) {
  std::vector<T> row;
  for (int64_t i = 0; i < n; ++i) row.push_back(static_cast<T>(static_cast<double>(x[i])));
  return row;
}

class SoftmaxTest : public hwy::TestWithParamTarget {
 protected:
  ScopedFloatMode flush_;
};
HWY_TARGET_INSTANTIATE_TEST_SUITE_P(SoftmaxTest);

// Relative error of a probability: exp of a difference of size s that was rounded once, s eps, and
// 1 + 128 / 2 roundings at most in a lane's sum of positive terms.
double RelativeTolerance(double size) { return (size + 70.0) * kFloatEps; }

TEST_P(SoftmaxTest, MatchesReferenceAtAnyWidth) {
  for (const int64_t columns : kColumns) {
    SCOPED_TRACE(columns);
    const int64_t rows = 3;
    const Guarded x(Normals(rows * columns, /*seed=*/1, 5.0, 4.0));
    Guarded y(rows * columns), in_place(x.values());
    SoftmaxForward(x.data(), rows, columns, y.data());
    SoftmaxForward(in_place.data(), rows, columns, in_place.data());
    EXPECT_EQ(Bits(in_place.values()), Bits(y.values()));
    EXPECT_TRUE(y.Intact() && in_place.Intact());
    for (int64_t r = 0; r < rows; ++r) {
      const auto row = Row<double>(x.data() + r * columns, columns);
      const std::vector<double> log_p = reference::LogSoftmax(row);
      for (int64_t c = 0; c < columns; ++c) {
        const double want = std::exp(log_p[static_cast<size_t>(c)]);
        const double error = std::abs(static_cast<double>(y[r * columns + c]) - want);
        ASSERT_TRUE(error <= RelativeTolerance(30.0) * want) << r << " " << c;
      }
    }
  }
}

TEST_P(SoftmaxTest, LargeLogitsAndNan) {
  const std::vector<float> x = {1e30f, 1e30f,  -1e30f, 0.0f,   // two winners
                                -kInf, 0.0f,   0.0f,   -kInf,  // masked
                                0.0f,  kNan,   1.0f,   2.0f,   // a NaN
                                0.0f,  -1e30f, -3e38f, 3e38f};
  std::vector<float> y(16);
  SoftmaxForward(x.data(), 4, 4, y.data());
  EXPECT_EQ(std::vector<float>(y.begin(), y.begin() + 8),
            (std::vector<float>{0.5f, 0.5f, 0.0f, 0.0f, 0.0f, 0.5f, 0.5f, 0.0f}));
  for (int i = 8; i < 12; ++i) EXPECT_TRUE(std::isnan(y[static_cast<size_t>(i)]));
  EXPECT_EQ(std::vector<float>(y.begin() + 12, y.end()),
            (std::vector<float>{0.0f, 0.0f, 0.0f, 1.0f}));
}

struct Case {
  bool weights;
  float smoothing;
};
const std::vector<Case> kCases = {
    {false, 0.0f}, {true, 0.0f}, {false, 0.1f}, {true, 0.25f}, {true, 1.0f}};

TEST_P(SoftmaxTest, CrossEntropyMatchesReferenceAndComplexStep) {
  for (const int64_t classes : {1, 2, 10, 17, 65, 2051}) {
    for (const Case& which : kCases) {
      SCOPED_TRACE(testing::Message() << classes << " classes, smoothing " << which.smoothing
                                      << (which.weights ? ", weights" : ""));
      const int64_t rows = 5;
      const Guarded logits(Normals(rows * classes, /*seed=*/2, 1.0, 2.0));
      std::vector<float> w = Normals(classes, /*seed=*/3);
      for (float& v : w) v = std::abs(v) + 0.1f;
      std::vector<double> want_w(static_cast<size_t>(classes), 1.0);
      if (which.weights) want_w.assign(w.begin(), w.end());
      std::vector<int32_t> targets;
      for (int64_t r = 0; r < rows; ++r)
        targets.push_back(static_cast<int32_t>((r * 7919 + 3) % classes));
      targets[1] = -100;
      const CrossEntropyOptions options = {.label_smoothing = which.smoothing,
                                           .class_weights = which.weights ? w.data() : nullptr};
      const auto smoothing = static_cast<double>(which.smoothing);

      const float scale = 0.37f;
      Guarded dlogits(rows * classes), in_place(logits.values());
      const double loss = CrossEntropy(logits.data(), targets.data(), rows, classes, options, scale,
                                       dlogits.data());
      EXPECT_EQ(loss, CrossEntropy(logits.data(), targets.data(), rows, classes, options, scale,
                                   nullptr));
      EXPECT_EQ(loss, CrossEntropy(in_place.data(), targets.data(), rows, classes, options, scale,
                                   in_place.data()));
      EXPECT_EQ(Bits(in_place.values()), Bits(dlogits.values()));
      EXPECT_TRUE(dlogits.Intact());

      double want_loss = 0.0, want_weight = 0.0;
      for (int64_t r = 0; r < rows; ++r) {
        const float* dx = dlogits.data() + r * classes;
        if (targets[static_cast<size_t>(r)] == -100) {
          EXPECT_TRUE(std::all_of(dx, dx + classes, [](float v) { return v == 0.0f; }));
          continue;
        }
        const auto target = static_cast<size_t>(targets[static_cast<size_t>(r)]);
        want_weight += want_w[target];
        want_loss += reference::CrossEntropyRow(Row<double>(logits.data() + r * classes, classes),
                                                target, want_w, smoothing);
        auto x = Row<std::complex<double>>(logits.data() + r * classes, classes);
        const int64_t stride = std::max<int64_t>(1, classes / 20);  // not every one of many
        for (int64_t i = 0; i < classes; i += stride) {
          const size_t c = i == 0 ? target : static_cast<size_t>(i);
          x[c] += std::complex<double>(0.0, 1e-50);
          const double want = static_cast<double>(scale) * 1e50 *
                              reference::CrossEntropyRow(x, target, want_w, smoothing).imag();
          x[c] = x[c].real();
          const double error = std::abs(static_cast<double>(dx[c]) - want);
          // The gradient is a difference of terms up to the largest weight.
          ASSERT_TRUE(error <= RelativeTolerance(20.0) * 5.0) << r << " " << c;
        }
      }
      EXPECT_TRUE(std::abs(loss - want_loss) <= RelativeTolerance(20.0) * (1.0 + want_loss));
      EXPECT_TRUE(std::abs(CrossEntropyWeight(targets.data(), rows, classes, options) -
                           want_weight) <= 1e-12 * want_weight);
    }
  }
}

TEST_P(SoftmaxTest, SoftCrossEntropyMatchesReferenceAndComplexStep) {
  for (const int64_t classes : {1, 2, 10, 17, 65, 2051}) {
    for (const Case& which : kCases) {
      SCOPED_TRACE(testing::Message() << classes << " classes, smoothing " << which.smoothing
                                      << (which.weights ? ", weights" : ""));
      const int64_t rows = 4;
      const Guarded logits(Normals(rows * classes, /*seed=*/6, 1.0, 2.0));
      std::vector<float> w = Normals(classes, /*seed=*/7), t = Normals(rows * classes, /*seed=*/8);
      for (float& v : w) v = std::min(std::abs(v) + 0.1f, 5.0f);
      std::vector<double> want_w(static_cast<size_t>(classes), 1.0);
      if (which.weights) want_w.assign(w.begin(), w.end());
      // Row 0: two classes share, as mixup leaves them. Row 1: ignored. The others: anything.
      for (int64_t i = 0; i < rows * classes; ++i) {
        float& v = t[static_cast<size_t>(i)];
        v = i < 2 * classes ? 0.0f : std::abs(v) / static_cast<float>(classes);
      }
      t[0] = 0.3f;
      t[static_cast<size_t>(classes - 1)] += 0.7f;
      const CrossEntropyOptions options = {.label_smoothing = which.smoothing,
                                           .class_weights = which.weights ? w.data() : nullptr};
      const auto smoothing = static_cast<double>(which.smoothing);

      const float scale = 0.37f;
      Guarded dlogits(rows * classes), in_place(logits.values());
      const double loss =
          SoftCrossEntropy(logits.data(), t.data(), rows, classes, options, scale, dlogits.data());
      EXPECT_EQ(loss,
                SoftCrossEntropy(logits.data(), t.data(), rows, classes, options, scale, nullptr));
      EXPECT_EQ(loss, SoftCrossEntropy(in_place.data(), t.data(), rows, classes, options, scale,
                                       in_place.data()));
      EXPECT_EQ(Bits(in_place.values()), Bits(dlogits.values()));
      EXPECT_TRUE(dlogits.Intact());

      double want_loss = 0.0;
      for (int64_t r = 0; r < rows; ++r) {
        const float* dx = dlogits.data() + r * classes;
        if (r == 1) {
          EXPECT_TRUE(std::all_of(dx, dx + classes, [](float v) { return v == 0.0f; }));
          continue;
        }
        const std::vector<double> row = Row<double>(t.data() + r * classes, classes);
        want_loss += reference::SoftCrossEntropyRow(
            Row<double>(logits.data() + r * classes, classes), row, want_w, smoothing);
        auto x = Row<std::complex<double>>(logits.data() + r * classes, classes);
        const int64_t stride = std::max<int64_t>(1, classes / 20);  // not every one of many
        for (int64_t i = 0; i < classes; i += stride) {
          const auto c = static_cast<size_t>(i);
          x[c] += std::complex<double>(0.0, 1e-50);
          const double want = static_cast<double>(scale) * 1e50 *
                              reference::SoftCrossEntropyRow(x, row, want_w, smoothing).imag();
          x[c] = x[c].real();
          const double error = std::abs(static_cast<double>(dx[i]) - want);
          // A difference of terms up to the largest weight times the row's sum, which is below 1.2.
          ASSERT_TRUE(error <= RelativeTolerance(20.0) * 6.0) << r << " " << c;
        }
      }
      EXPECT_TRUE(std::abs(loss - want_loss) <= RelativeTolerance(20.0) * (1.0 + want_loss));
    }
  }
}

TEST_P(SoftmaxTest, SoftCrossEntropyOfMaskedAndBrokenLogits) {
  const std::vector<float> logits = {1.0f, 2.0f, -kInf, 1.0f, kNan, 2.0f, 0.0f, 0.0f, 0.0f};
  const std::vector<float> t = {0.5f, 0.5f, 0.0f, 1.0f, 0.0f, 0.0f, 0.0f, 1.0f, 0.0f};
  std::vector<float> dx(9);
  EXPECT_TRUE(std::isfinite(SoftCrossEntropy(logits.data(), t.data(), 1, 3, {}, 1.0f, dx.data())));
  EXPECT_EQ(dx[2], 0.0f);
  EXPECT_TRUE(std::isnan(SoftCrossEntropy(logits.data(), t.data(), 3, 3, {}, 1.0f, dx.data())));
  for (size_t i = 0; i < 9; ++i) EXPECT_EQ(std::isnan(dx[i]), i / 3 == 1) << i;
  EXPECT_EQ(SoftCrossEntropy(nullptr, nullptr, 0, 5, {}, 1.0f, nullptr), 0.0);
}

TEST_P(SoftmaxTest, BrokenLabelsGiveNanAndHurtNobodyElse) {
  const std::vector<float> logits = Normals(4 * 5, /*seed=*/4);
  for (const int32_t broken : {-1, 5, INT32_MIN, INT32_MAX}) {
    const std::vector<int32_t> targets = {0, broken, 2, 4};
    Guarded dlogits(20);
    const double loss = CrossEntropy(logits.data(), targets.data(), 4, 5, {}, 1.0f, dlogits.data());
    EXPECT_TRUE(std::isnan(loss));
    EXPECT_TRUE(dlogits.Intact());
    for (int64_t i = 0; i < 20; ++i) EXPECT_EQ(std::isnan(dlogits[i]), i / 5 == 1);
    EXPECT_EQ(CrossEntropyWeight(targets.data(), 4, 5, {}), 3.0);
  }
}

TEST_P(SoftmaxTest, NoRowsIsNoLoss) {
  EXPECT_EQ(CrossEntropy(nullptr, nullptr, 0, 5, {}, 1.0f, nullptr), 0.0);
  SoftmaxForward(nullptr, 0, 5, nullptr);
}

TEST(SoftmaxBitsTest, SameOnEveryTargetWithFma) {
  const ScopedFloatMode flush;
  const std::vector<float> x = Normals(3 * 2051, /*seed=*/5, 0.0, 3.0);
  const std::vector<int32_t> targets = {5, 2050, 77};
  testing_arrays::ExpectSameBitsOnFmaTargets([&] {
    std::vector<float> y(x.size()), dx(x.size());
    SoftmaxForward(x.data(), 3, 2051, y.data());
    y.push_back(static_cast<float>(CrossEntropy(x.data(), targets.data(), 3, 2051,
                                                {.label_smoothing = 0.1f}, 1.0f, dx.data())));
    y.insert(y.end(), dx.begin(), dx.end());
    const std::vector<float> t(x.size(), 1.0f / 2051.0f);
    y.push_back(static_cast<float>(
        SoftCrossEntropy(x.data(), t.data(), 3, 2051, {.label_smoothing = 0.1f}, 1.0f, dx.data())));
    y.insert(y.end(), dx.begin(), dx.end());
    return y;
  });
}

}  // namespace
}  // namespace lockstep::kernels
