#include "engine/kernels/elementwise/dropout.h"

#include <array>
#include <cmath>

#include "engine/base/random.h"
#include "engine/kernels/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "engine/kernels/elementwise/dropout.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "engine/kernels/elementwise/philox-inl.h"
#include "engine/kernels/norm/row_sum-inl.h"

HWY_BEFORE_NAMESPACE();
namespace lockstep::inline v0_1::kernels {
namespace HWY_NAMESPACE {
namespace {

#if HWY_TARGET == HWY_SCALAR
constexpr int64_t kCounters = 1;
#else
constexpr int kChains = 2;
constexpr int64_t kCounters = kChains * int64_t{HWY_MAX_BYTES / sizeof(uint64_t)};
#endif

// The 4 kCounters words that belong to the counters from `first` on, in the order of the elements.
HWY_INLINE void Words(const DropoutMask& mask, const PhiloxKeys& keys, uint64_t first,
                      uint32_t* words) {
#if HWY_TARGET == HWY_SCALAR
  (void)keys;
  const std::array<uint32_t, 4> block = Philox(mask.seed, mask.stream, first);
  for (size_t j = 0; j < 4; ++j) words[j] = block[j];
#else
  const hn::ScalableTag<uint64_t> d;
  using V = hn::Vec<decltype(d)>;
  constexpr auto kLanes = static_cast<int64_t>(hn::MaxLanes(decltype(d)()));
  V c0[kChains], c1[kChains], c2[kChains], c3[kChains];
  for (int j = 0; j < kChains; ++j) {
    c0[j] = hn::Iota(d, first + static_cast<uint64_t>(j * kLanes));
    c1[j] = hn::ShiftRight<32>(c0[j]);
    c2[j] = hn::Set(d, mask.stream & 0xFFFFFFFF);
    c3[j] = hn::Set(d, mask.stream >> 32);
  }
  PhiloxRounds<kChains>(keys, c0, c1, c2, c3);
  const V low = hn::Set(d, uint64_t{0xFFFFFFFF});
  HWY_ALIGN uint64_t pairs[2 * kCounters];
  for (int j = 0; j < kChains; ++j) {
    const V pair01 = hn::Or(hn::And(c0[j], low), hn::ShiftLeft<32>(c1[j]));
    const V pair23 = hn::Or(hn::And(c2[j], low), hn::ShiftLeft<32>(c3[j]));
    hn::StoreInterleaved2(pair01, pair23, d, pairs + 2 * j * kLanes);
  }
  hwy::CopyBytes<sizeof(pairs)>(pairs, words);
#endif
}

void DropoutTarget(const DropoutMask& mask, uint32_t threshold, float scale, int64_t begin,
                   int64_t end, const float* x, float* y) {
  constexpr int64_t kElements = 4 * kCounters;
  HWY_ALIGN uint32_t words[kElements];
  const PhiloxKeys keys(mask.seed);
  // `count` elements from i on, whose words start at `from`.
  const auto apply = [&](int64_t i, const uint32_t* from, int64_t count) HWY_ATTR {
    ForEachVector(count, [&](auto d, int64_t k) HWY_ATTR {
      const hn::RebindToSigned<decltype(d)> di;
      const hn::RebindToUnsigned<decltype(d)> du;
      // word >= threshold without sign: both moved to where signed comparison orders them alike.
      const auto flip = hn::Set(du, 0x80000000u);
      const auto word = hn::BitCast(di, hn::Xor(hn::LoadU(du, from + k), flip));
      const auto limit = hn::BitCast(di, hn::Set(du, threshold ^ 0x80000000u));
      const auto scaled = hn::Mul(hn::LoadU(d, x + i + k), hn::Set(d, scale));
      const auto dropped = hn::RebindMask(d, hn::Lt(word, limit));
      hn::StoreU(hn::IfThenZeroElse(dropped, scaled), d, y + i + k);
    });
  };
  for (int64_t i = begin; i < end;) {
    const int64_t skip = i % 4;
    const int64_t count = HWY_MIN(end - i, kElements - skip);
    Words(mask, keys, static_cast<uint64_t>(i / 4), words);
    apply(i, words + skip, count);
    i += count;
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace lockstep::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace lockstep::inline v0_1::kernels {
namespace {
HWY_EXPORT(DropoutTarget);
}  // namespace

void Dropout(const DropoutMask& mask, int64_t begin, int64_t end, const float* x, float* y) {
  const double p = static_cast<double>(mask.p);
  if (p >= 1.0) {
    for (int64_t i = begin; i < end; ++i) y[i] = 0.0f;
    return;
  }
  // A word is an integer: word >= p 2^32 if and only if word >= ceil(p 2^32), which is below 2^32
  // for every float p < 1.
  const auto threshold = static_cast<uint32_t>(std::ceil(p * 0x1p32));
  const auto scale = static_cast<float>(1.0 / (1.0 - p));
  HWY_DYNAMIC_DISPATCH(DropoutTarget)(mask, threshold, scale, begin, end, x, y);
}

}  // namespace lockstep::kernels
#endif  // HWY_ONCE
