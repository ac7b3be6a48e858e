// Philox as engine/base/random.h has it, one counter in each 64-bit lane: 32-bit words sit in the
// low half, and what the multiplications leave above them is ignored by the next one (MulEven takes
// the low halves), which saves the shuffles that packed words would need. Included once per SIMD
// target; the target of single lanes has no use for it.
#if defined(LOCKSTEP_ENGINE_KERNELS_ELEMENTWISE_PHILOX_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LOCKSTEP_ENGINE_KERNELS_ELEMENTWISE_PHILOX_INL_H_
#undef LOCKSTEP_ENGINE_KERNELS_ELEMENTWISE_PHILOX_INL_H_
#else
#define LOCKSTEP_ENGINE_KERNELS_ELEMENTWISE_PHILOX_INL_H_
#endif

#include <cstdint>

#include "engine/kernels/targets.h"
// After targets.h.
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace lockstep::inline v0_1::kernels::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// The keys of the ten rounds.
struct PhiloxKeys {
  explicit PhiloxKeys(uint64_t seed) {
    auto key0 = static_cast<uint32_t>(seed), key1 = static_cast<uint32_t>(seed >> 32);
    for (int round = 0; round < 10; ++round) {
      first[round] = key0;
      second[round] = key1;
      key0 += 0x9E3779B9;
      key1 += 0xBB67AE85;
    }
  }
  uint64_t first[10], second[10];
};

#if HWY_TARGET != HWY_SCALAR

// Counters become words; above the low half of a lane is anything. kChains vectors go through the
// rounds side by side: one chain of ten multiplications would leave the multiplier idle most of the
// time.
template <int kChains, class V>
HWY_INLINE void PhiloxRounds(const PhiloxKeys& keys, V (&c0)[kChains], V (&c1)[kChains],
                             V (&c2)[kChains], V (&c3)[kChains]) {
  const hn::DFromV<V> d;
  const hn::RepartitionToNarrow<decltype(d)> d32;
  const auto multiplier0 = hn::BitCast(d32, hn::Set(d, uint64_t{0xD2511F53}));
  const auto multiplier1 = hn::BitCast(d32, hn::Set(d, uint64_t{0xCD9E8D57}));
  for (int round = 0; round < 10; ++round) {
    const V key0 = hn::Set(d, keys.first[round]), key1 = hn::Set(d, keys.second[round]);
    for (int j = 0; j < kChains; ++j) {
      const V p0 = hn::MulEven(hn::BitCast(d32, c0[j]), multiplier0);
      const V p1 = hn::MulEven(hn::BitCast(d32, c2[j]), multiplier1);
      c0[j] = hn::Xor(hn::ShiftRight<32>(p1), hn::Xor(c1[j], key0));
      c2[j] = hn::Xor(hn::ShiftRight<32>(p0), hn::Xor(c3[j], key1));
      c1[j] = p1;
      c3[j] = p0;
    }
  }
}

#endif  // HWY_TARGET != HWY_SCALAR

}  // namespace lockstep::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // LOCKSTEP_ENGINE_KERNELS_ELEMENTWISE_PHILOX_INL_H_
