// What the tests of row and elementwise kernels share: arrays with guarded ends, values from a
// seed, and the comparison of bits between SIMD targets.
#ifndef LOCKSTEP_TESTS_ENGINE_KERNELS_ARRAYS_H_
#define LOCKSTEP_TESTS_ENGINE_KERNELS_ARRAYS_H_

#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>
#include <limits>
#include <vector>

#include "engine/base/random.h"
#include "engine/kernels/targets.h"
#include "gtest/gtest.h"
#include "tests/engine/kernels/fused.h"
// After targets.h.
#include <hwy/highway.h>
#include <hwy/targets.h>

namespace lockstep::inline v0_1::testing_arrays {

inline constexpr double kFloatEps =
    std::numeric_limits<float>::epsilon() / 2.0;  // half an ulp of 1
inline constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
inline constexpr float kInf = std::numeric_limits<float>::infinity();

// n floats, off the alignment of vectors by one, between paddings of NaN: whoever reads beyond the
// ends gets NaN, and whoever writes there is found by Intact().
class Guarded {
 public:
  explicit Guarded(int64_t n, float value = kNan)
      : n_(n), memory_(static_cast<size_t>(n) + 2 * kPad, kNan) {
    for (int64_t i = 0; i < n; ++i) data()[i] = value;
  }
  explicit Guarded(const std::vector<float>& values)
      : Guarded(static_cast<int64_t>(values.size())) {
    for (size_t i = 0; i < values.size(); ++i) data()[i] = values[i];
  }

  float* data() { return memory_.data() + kPad; }
  const float* data() const { return memory_.data() + kPad; }
  float operator[](int64_t i) const { return data()[i]; }
  std::vector<float> values() const { return {data(), data() + n_}; }
  bool Intact() const {
    for (size_t i = 0; i < kPad; ++i) {
      if (!std::isnan(memory_[i]) || !std::isnan(memory_[memory_.size() - 1 - i])) return false;
    }
    return true;
  }

 private:
  static constexpr size_t kPad = 33;
  int64_t n_;
  std::vector<float> memory_;
};

inline std::vector<float> Normals(int64_t n, uint64_t seed, double mean = 0.0, double sd = 1.0) {
  Random random(seed, 0);
  std::vector<float> x(static_cast<size_t>(n));
  for (float& v : x) v = static_cast<float>(mean + sd * random.Normal());
  return x;
}

inline std::vector<uint32_t> Bits(const std::vector<float>& values) {
  std::vector<uint32_t> bits(values.size());
  if (!values.empty()) std::memcpy(bits.data(), values.data(), values.size() * sizeof(float));
  return bits;
}

// Runs `compute` on every target of this machine that has fused multiply-add and expects the same
// bits; skips the test where there are fewer than two such targets. What runs where there is only
// one is covered by the hashes in math_test.cc.
inline void ExpectSameBitsOnFmaTargets(const std::function<std::vector<float>()>& compute) {
  std::vector<std::vector<uint32_t>> results;
  for (const int64_t target : hwy::SupportedAndGeneratedTargets()) {
    hwy::SetSupportedTargetsForTest(target);
    if (HasFma()) results.push_back(Bits(compute()));
    hwy::SetSupportedTargetsForTest(0);
  }
  if (results.size() < 2) GTEST_SKIP() << "this machine has no two targets with FMA";
  for (size_t i = 1; i < results.size(); ++i) EXPECT_EQ(results[i], results[0]);
}

}  // namespace lockstep::testing_arrays

#endif  // LOCKSTEP_TESTS_ENGINE_KERNELS_ARRAYS_H_
