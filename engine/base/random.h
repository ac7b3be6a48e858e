// Random numbers that are pure functions of (seed, stream, index): nothing to save, the same on any
// thread.
//
// Philox4x32-10: Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC
// 2011. The key is the seed, the counter is (index, stream). Kernels that draw many numbers at once
// repeat these rounds in SIMD lanes (engine/kernels/elementwise/dropout.cc) and must give the same
// words; a test compares them.
#ifndef LOCKSTEP_ENGINE_BASE_RANDOM_H_
#define LOCKSTEP_ENGINE_BASE_RANDOM_H_

#include <array>
#include <cmath>
#include <cstdint>
#include <string_view>

namespace lockstep::inline v0_1 {

// The four 32-bit words at `index` of the `stream` that belongs to `seed`.
constexpr std::array<uint32_t, 4> Philox(uint64_t seed, uint64_t stream, uint64_t index) {
  auto key0 = static_cast<uint32_t>(seed);
  auto key1 = static_cast<uint32_t>(seed >> 32);
  std::array<uint32_t, 4> c = {static_cast<uint32_t>(index), static_cast<uint32_t>(index >> 32),
                               static_cast<uint32_t>(stream), static_cast<uint32_t>(stream >> 32)};
  for (int round = 0; round < 10; ++round) {
    const uint64_t p0 = uint64_t{0xD2511F53} * c[0];
    const uint64_t p1 = uint64_t{0xCD9E8D57} * c[2];
    c = {static_cast<uint32_t>(p1 >> 32) ^ c[1] ^ key0, static_cast<uint32_t>(p1),
         static_cast<uint32_t>(p0 >> 32) ^ c[3] ^ key1, static_cast<uint32_t>(p0)};
    key0 += 0x9E3779B9;
    key1 += 0xBB67AE85;
  }
  return c;
}

// A stream number from a name ("fc1.weight", "shuffle"): 64-bit FNV-1a. Different purposes draw
// from different streams.
constexpr uint64_t StreamOf(std::string_view name) {
  uint64_t hash = 0xCBF29CE484222325;
  for (const char c : name) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001B3;
  return hash;
}

// A sequence over one stream, for code that draws one number after another. Copy it to fork; not
// thread-safe.
class Random {
 public:
  Random(uint64_t seed, uint64_t stream) : seed_(seed), stream_(stream) {}

  uint32_t Word() {
    if (next_ == 4) {
      block_ = Philox(seed_, stream_, index_++);
      next_ = 0;
    }
    return block_[static_cast<size_t>(next_++)];
  }
  uint64_t Word64() {
    const uint64_t high = Word();
    return high << 32 | Word();
  }
  // In [0, 1), a multiple of 2^-53.
  double Uniform() { return static_cast<double>(Word64() >> 11) * 0x1p-53; }
  // In [0, bound), unbiased (Lemire's multiply and reject). bound > 0.
  uint64_t Below(uint64_t bound) {
    const uint64_t reject_below = (0 - bound) % bound;
    for (;;) {
      const Wide product = static_cast<Wide>(Word64()) * bound;
      if (static_cast<uint64_t>(product) >= reject_below)
        return static_cast<uint64_t>(product >> 64);
    }
  }
  // Standard normal, Marsaglia's polar method. Uses no function of the C library whose last bit
  // varies between machines.
  double Normal() {
    for (;;) {
      const double u = 2.0 * Uniform() - 1.0;
      const double v = 2.0 * Uniform() - 1.0;
      const double s = u * u + v * v;
      if (s > 0.0 && s < 1.0) return u * std::sqrt(-2.0 * Log(s) / s);
    }
  }

 private:
  __extension__ using Wide = unsigned __int128;

  // ln x for normal positive x: 2 atanh((m - 1) / (m + 1)) + e ln 2 with m in [sqrt 1/2, sqrt 2),
  // error below 1e-15.
  static double Log(double x) {
    int exponent;
    double m = std::frexp(x, &exponent);
    if (m < 0.70710678118654752) {
      m *= 2.0;
      --exponent;
    }
    const double t = (m - 1.0) / (m + 1.0);
    const double t2 = t * t;
    double sum = 0.0;
    for (int n = 23; n >= 1; n -= 2) sum = sum * t2 + 1.0 / n;
    return 2.0 * t * sum + exponent * 0.69314718055994531;
  }

  uint64_t seed_, stream_;
  uint64_t index_ = 0;
  std::array<uint32_t, 4> block_{};
  int next_ = 4;
};

}  // namespace lockstep

#endif  // LOCKSTEP_ENGINE_BASE_RANDOM_H_
