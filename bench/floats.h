// Memory for benchmarks as the engine's arena has it: aligned, in huge pages where the system gives
// them, touched before it is timed.
#ifndef LOCKSTEP_BENCH_FLOATS_H_
#define LOCKSTEP_BENCH_FLOATS_H_

#include <sys/mman.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>

#include "engine/base/random.h"

namespace lockstep::bench {

class Floats {
 public:
  explicit Floats(int64_t count) : count_(count) {
    constexpr size_t kHugePage = size_t{2} << 20;
    const size_t bytes =
        (static_cast<size_t>(count) * sizeof(float) + kHugePage - 1) / kHugePage * kHugePage;
    data_.reset(static_cast<float*>(std::aligned_alloc(kHugePage, std::max(bytes, kHugePage))));
    madvise(data_.get(), bytes, MADV_HUGEPAGE);
    std::fill_n(data_.get(), bytes / sizeof(float), 0.0f);
  }

  float* get() const { return data_.get(); }
  float& operator[](int64_t i) const { return data_.get()[i]; }
  int64_t size() const { return count_; }

  // Sums of four uniform numbers: mean 0, deviation 1, and cheap to draw.
  void FillRandom(uint64_t seed) const {
    Random random(seed, StreamOf("bench"));
    for (int64_t i = 0; i < count_; ++i) {
      float sum = 0.0f;
      for (int k = 0; k < 4; ++k) sum += static_cast<float>(random.Word()) * 0x1p-32f - 0.5f;
      (*this)[i] = sum * 1.7320508f;
    }
  }

 private:
  struct Free {
    void operator()(float* p) const { std::free(p); }
  };
  int64_t count_;
  std::unique_ptr<float, Free> data_;
};

}  // namespace lockstep::bench

#endif  // LOCKSTEP_BENCH_FLOATS_H_
