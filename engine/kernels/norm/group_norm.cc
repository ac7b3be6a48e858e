#include "engine/kernels/norm/group_norm.h"

#include <cmath>

#include "engine/kernels/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "engine/kernels/norm/group_norm.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "engine/kernels/norm/row_sum-inl.h"

HWY_BEFORE_NAMESPACE();
namespace lockstep::inline v0_1::kernels {
namespace HWY_NAMESPACE {
namespace {

void GroupInputGradientTarget(const float* x, const float* dy, int64_t rows, int64_t channels,
                              const float* mean, const float* inv_std, const float* a,
                              const float* b, const float* e, float* dx) {
  // Four rows share the constants of a vector of channels.
  constexpr int64_t kRows = 4;
  for (int64_t first = 0; first < rows; first += kRows) {
    const int64_t count = HWY_MIN(kRows, rows - first);
    ForEachVector(channels, [&](auto d, int64_t c) HWY_ATTR {
      const auto m = hn::LoadU(d, mean + c), s = hn::LoadU(d, inv_std + c);
      const auto va = hn::LoadU(d, a + c), vb = hn::LoadU(d, b + c), ve = hn::LoadU(d, e + c);
      for (int64_t r = 0; r < count; ++r) {
        const int64_t at = (first + r) * channels + c;
        const auto xhat = hn::Mul(hn::Sub(hn::LoadU(d, x + at), m), s);
        const auto from_dy = hn::MulAdd(hn::LoadU(d, dy + at), va, vb);
        hn::StoreU(hn::MulAdd(xhat, ve, from_dy), d, dx + at);
      }
    });
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace lockstep::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace lockstep::inline v0_1::kernels {
namespace {
HWY_EXPORT(GroupInputGradientTarget);
}  // namespace

void GroupStatistics(const double* channel_mean, const double* channel_m2, int64_t positions,
                     int64_t channels, int64_t groups, double eps, float* mean, float* mean_low,
                     float* inv_std) {
  const int64_t width = channels / groups;
  const auto per_channel = static_cast<double>(positions);
  for (int64_t begin = 0; begin < channels; begin += width) {
    double group_mean = channel_mean[begin];
    double m2 = channel_m2[begin];
    for (int64_t k = 1; k < width; ++k) {
      const double delta = channel_mean[begin + k] - group_mean;
      const auto before = static_cast<double>(k);
      group_mean += delta / (before + 1.0);
      m2 += channel_m2[begin + k] + delta * delta * (per_channel * before / (before + 1.0));
    }
    const double variance = m2 / (per_channel * static_cast<double>(width));
    const double inverse = 1.0 / std::sqrt(variance + eps);
    for (int64_t c = begin; c < begin + width; ++c) {
      mean[c] = static_cast<float>(group_mean);
      if (mean_low != nullptr) {
        mean_low[c] = static_cast<float>(group_mean - static_cast<double>(mean[c]));
      }
      inv_std[c] = static_cast<float>(inverse);
    }
  }
}

void GroupGradientConstants(const double* sum_dy, const double* sum_dy_xhat, const float* mean_low,
                            const float* inv_std, const float* gamma, int64_t positions,
                            int64_t channels, int64_t groups, float* a, float* b, float* e) {
  const int64_t width = channels / groups;
  const double count = static_cast<double>(positions) * static_cast<double>(width);
  for (int64_t begin = 0; begin < channels; begin += width) {
    double c1 = 0.0, c2 = 0.0;
    for (int64_t c = begin; c < begin + width; ++c) {
      const double g = gamma == nullptr ? 1.0 : static_cast<double>(gamma[c]);
      c1 += g * sum_dy[c];
      c2 += g * sum_dy_xhat[c];
    }
    for (int64_t c = begin; c < begin + width; ++c) {
      const double g = gamma == nullptr ? 1.0 : static_cast<double>(gamma[c]);
      const double r = count == 1.0 ? 0.0 : static_cast<double>(inv_std[c]);
      const double low = mean_low == nullptr ? 0.0 : static_cast<double>(mean_low[c]);
      const double of_xhat = -r * (c2 / count);
      a[c] = static_cast<float>(r * g);
      b[c] = static_cast<float>(-r * (c1 / count) - of_xhat * (low * r));
      e[c] = static_cast<float>(of_xhat);
    }
  }
}

void GroupInputGradient(const float* x, const float* dy, int64_t rows, int64_t channels,
                        const float* mean, const float* inv_std, const float* a, const float* b,
                        const float* e, float* dx) {
  HWY_DYNAMIC_DISPATCH(GroupInputGradientTarget)(x, dy, rows, channels, mean, inv_std, a, b, e, dx);
}

}  // namespace lockstep::kernels
#endif  // HWY_ONCE
