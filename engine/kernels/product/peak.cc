#include "engine/kernels/product/peak.h"

#include "engine/kernels/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "engine/kernels/product/peak.cc"
#include <hwy/foreach_target.h>
//
#include <hwy/cache_control.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace lockstep::inline v0_1::kernels::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// Ten chains: more than latency x throughput (4 x 2) on every core this is built for, few enough
// for 16 registers. Named, because an array may end up in memory; started apart, because equal
// chains would be computed once.
Peak PeakMultiplyAddsOf(int64_t rounds, float factor, float addend) {
  const hn::ScalableTag<float> d;
  const auto f = hn::Set(d, factor);
  const auto a = hn::Set(d, addend);
  auto x0 = hn::Set(d, 0.0f), x1 = hn::Set(d, 1.0f), x2 = hn::Set(d, 2.0f), x3 = hn::Set(d, 3.0f),
       x4 = hn::Set(d, 4.0f), x5 = hn::Set(d, 5.0f), x6 = hn::Set(d, 6.0f), x7 = hn::Set(d, 7.0f),
       x8 = hn::Set(d, 8.0f), x9 = hn::Set(d, 9.0f);
  for (int64_t round = 0; round < rounds; ++round) {
    x0 = hn::MulAdd(x0, f, a);
    x1 = hn::MulAdd(x1, f, a);
    x2 = hn::MulAdd(x2, f, a);
    x3 = hn::MulAdd(x3, f, a);
    x4 = hn::MulAdd(x4, f, a);
    x5 = hn::MulAdd(x5, f, a);
    x6 = hn::MulAdd(x6, f, a);
    x7 = hn::MulAdd(x7, f, a);
    x8 = hn::MulAdd(x8, f, a);
    x9 = hn::MulAdd(x9, f, a);
  }
  const auto low = hn::Add(hn::Add(x0, x1), hn::Add(x2, x3));
  const auto high = hn::Add(hn::Add(x4, x5), hn::Add(x6, x7));
  const auto sum = hn::Add(hn::Add(low, high), hn::Add(x8, x9));
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  return {hn::GetLane(sum) / 10.0f, rounds * 10 * lanes * 2};
}

// Four vectors in a round: enough chains that the adders never wait, and nothing in the loops but
// the memory.
float StreamReadOf(const float* x, int64_t n) {
  const hn::ScalableTag<float> d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  auto s0 = hn::Zero(d), s1 = hn::Zero(d), s2 = hn::Zero(d), s3 = hn::Zero(d);
  for (int64_t i = 0; i < n; i += 4 * lanes) {
    s0 = hn::Add(s0, hn::Load(d, x + i));
    s1 = hn::Add(s1, hn::Load(d, x + i + lanes));
    s2 = hn::Add(s2, hn::Load(d, x + i + 2 * lanes));
    s3 = hn::Add(s3, hn::Load(d, x + i + 3 * lanes));
  }
  return hn::GetLane(hn::SumOfLanes(d, hn::Add(hn::Add(s0, s1), hn::Add(s2, s3))));
}

void StreamUpdateOf(float factor, float* x, int64_t n) {
  const hn::ScalableTag<float> d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  const auto f = hn::Set(d, factor);
  for (int64_t i = 0; i < n; i += 4 * lanes) {
    for (int64_t k = i; k < i + 4 * lanes; k += lanes) {
      hn::Store(hn::Mul(hn::Load(d, x + k), f), d, x + k);
    }
  }
}

void StreamTriadOf(const float* b, const float* c, float factor, float* a, int64_t n) {
  const hn::ScalableTag<float> d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  const auto f = hn::Set(d, factor);
  for (int64_t i = 0; i < n; i += 4 * lanes) {
    for (int64_t k = i; k < i + 4 * lanes; k += lanes) {
      hn::Stream(hn::MulAdd(f, hn::Load(d, c + k), hn::Load(d, b + k)), d, a + k);
    }
  }
  hwy::FlushStream();
}

const char* SimdTargetOf() { return hwy::TargetName(HWY_TARGET); }

// NOLINTNEXTLINE(google-readability-namespace-comments)
}  // namespace lockstep::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace lockstep::inline v0_1::kernels {

HWY_EXPORT(PeakMultiplyAddsOf);
HWY_EXPORT(StreamReadOf);
HWY_EXPORT(StreamUpdateOf);
HWY_EXPORT(StreamTriadOf);
HWY_EXPORT(SimdTargetOf);

Peak PeakMultiplyAdds(int64_t rounds, float factor, float addend) {
  return HWY_DYNAMIC_DISPATCH(PeakMultiplyAddsOf)(rounds, factor, addend);
}

float StreamRead(const float* x, int64_t n) { return HWY_DYNAMIC_DISPATCH(StreamReadOf)(x, n); }

void StreamUpdate(float factor, float* x, int64_t n) {
  HWY_DYNAMIC_DISPATCH(StreamUpdateOf)(factor, x, n);
}

void StreamTriad(const float* b, const float* c, float factor, float* a, int64_t n) {
  HWY_DYNAMIC_DISPATCH(StreamTriadOf)(b, c, factor, a, n);
}

const char* SimdTarget() { return HWY_DYNAMIC_DISPATCH(SimdTargetOf)(); }

}  // namespace lockstep::kernels
#endif  // HWY_ONCE
