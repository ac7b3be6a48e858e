#include "engine/kernels/picture/resample.h"

#include <algorithm>
#include <cstring>

#include "engine/kernels/product/chains.h"
#include "engine/kernels/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "engine/kernels/picture/resample.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "engine/kernels/picture/parts-inl.h"

HWY_BEFORE_NAMESPACE();
namespace lockstep::inline v0_1::kernels {
namespace HWY_NAMESPACE {
namespace {

// The taps of one output, and what becomes of their sum.
struct Sum {
  const int64_t* from;
  const float* weight;  // null: ones
  int64_t count;
  float divisor;
  bool accumulate;
};

template <bool kWeighted, int kVectors, class D>
HWY_INLINE void SumPart(D d, const Sum& sum, const float* HWY_RESTRICT x, int64_t stride,
                        float* HWY_RESTRICT y) {
  using V = hn::Vec<D>;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  V total[kVectors];
  LOCKSTEP_PARTS_UNROLL
  for (int v = 0; v < kVectors; ++v) total[v] = hn::Zero(d);
  for (int64_t begin = 0; begin < sum.count; begin += kLongestChain) {
    const int64_t end = HWY_MIN(sum.count, begin + kLongestChain);
    V chain[kVectors];
    LOCKSTEP_PARTS_UNROLL
    for (int v = 0; v < kVectors; ++v) {
      chain[v] = hn::LoadU(d, x + sum.from[begin] * stride + v * lanes);
      if constexpr (kWeighted) chain[v] = hn::Mul(chain[v], hn::Set(d, sum.weight[begin]));
    }
    for (int64_t t = begin + 1; t < end; ++t) {
      const float* HWY_RESTRICT row = x + sum.from[t] * stride;
      LOCKSTEP_PARTS_UNROLL
      for (int v = 0; v < kVectors; ++v) {
        const V value = hn::LoadU(d, row + v * lanes);
        if constexpr (kWeighted) {
          chain[v] = hn::MulAdd(value, hn::Set(d, sum.weight[t]), chain[v]);
        } else {
          chain[v] = hn::Add(chain[v], value);
        }
      }
    }
    LOCKSTEP_PARTS_UNROLL
    for (int v = 0; v < kVectors; ++v) {
      total[v] = begin == 0 ? chain[v] : hn::Add(total[v], chain[v]);
    }
  }
  LOCKSTEP_PARTS_UNROLL
  for (int v = 0; v < kVectors; ++v) {
    if (sum.divisor != 1.0f) total[v] = hn::Div(total[v], hn::Set(d, sum.divisor));
    float* to = y + v * lanes;
    hn::StoreU(sum.accumulate ? hn::Add(hn::LoadU(d, to), total[v]) : total[v], d, to);
  }
}

HWY_INLINE void SumAll(const Sum& sum, const float* x, int64_t stride, int64_t n, float* y) {
  ForEachPart(n, [&](auto d, int64_t i, auto vectors) HWY_ATTR {
    if (sum.weight != nullptr) {
      SumPart<true, decltype(vectors)::value>(d, sum, x + i, stride, y + i);
    } else {
      SumPart<false, decltype(vectors)::value>(d, sum, x + i, stride, y + i);
    }
  });
}

HWY_INLINE Sum SumOf(const AxisTaps& taps, int64_t output, float divisor, bool accumulate) {
  const int64_t begin = taps.first[static_cast<size_t>(output)];
  return {.from = taps.from.data() + begin,
          .weight = taps.weight.empty() ? nullptr : taps.weight.data() + begin,
          .count = taps.first[static_cast<size_t>(output) + 1] - begin,
          .divisor = divisor,
          .accumulate = accumulate};
}

void SumRowsTarget(const AxisTaps& taps, int64_t output, const float* x, int64_t stride,
                   float divisor, int64_t n, bool accumulate, float* y) {
  SumAll(SumOf(taps, output, divisor, accumulate), x, stride, n, y);
}

// How many outputs from `output` on copy inputs that are neighbours too.
int64_t CopiedRun(const AxisTaps& taps, int64_t output, int64_t outputs) {
  if (!taps.weight.empty() || !taps.divisor.empty()) return 0;
  const auto reads_one = [&](int64_t i) {
    return taps.first[static_cast<size_t>(i) + 1] - taps.first[static_cast<size_t>(i)] == 1;
  };
  if (!reads_one(output)) return 0;
  const int64_t tap = taps.first[static_cast<size_t>(output)];
  int64_t run = 1;
  while (output + run < outputs && reads_one(output + run) &&
         taps.from[static_cast<size_t>(tap + run)] == taps.from[static_cast<size_t>(tap)] + run) {
    ++run;
  }
  return run;
}

void SumPixelsTarget(const AxisTaps& taps, const float* x, int64_t x_stride, float divisor,
                     int64_t n, bool accumulate, float* y, int64_t y_stride) {
  const int64_t outputs = taps.outputs();
  const bool dense = x_stride == n && y_stride == n && divisor == 1.0f && !accumulate;
  for (int64_t i = 0; i < outputs;) {
    if (const int64_t run = dense ? CopiedRun(taps, i, outputs) : 0; run > 0) {
      const int64_t from = taps.from[static_cast<size_t>(taps.first[static_cast<size_t>(i)])];
      std::memcpy(y + i * n, x + from * n, static_cast<size_t>(run * n) * sizeof(float));
      i += run;
      continue;
    }
    SumAll(SumOf(taps, i, divisor * taps.DivisorOf(i), accumulate), x, x_stride, n,
           y + i * y_stride);
    ++i;
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace lockstep::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace lockstep::inline v0_1::kernels {
namespace {
HWY_EXPORT(SumRowsTarget);
HWY_EXPORT(SumPixelsTarget);
}  // namespace

void SumRows(const AxisTaps& taps, int64_t output, const float* x, int64_t stride, float divisor,
             int64_t n, bool accumulate, float* y) {
  HWY_DYNAMIC_DISPATCH(SumRowsTarget)(taps, output, x, stride, divisor, n, accumulate, y);
}

void SumPixels(const AxisTaps& taps, const float* x, int64_t x_stride, float divisor, int64_t n,
               bool accumulate, float* y, int64_t y_stride) {
  HWY_DYNAMIC_DISPATCH(SumPixelsTarget)
  (taps, x, x_stride, divisor, n, accumulate, y, y_stride);
}

}  // namespace lockstep::kernels
#endif  // HWY_ONCE
