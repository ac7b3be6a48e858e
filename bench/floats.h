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

#include "engine/base/integers.h"
#include "engine/base/random.h"
#include "engine/parallel/context.h"

namespace lockstep::inline v0_1::bench {

class Floats {
 public:
  explicit Floats(int64_t count) : count_(count) { std::fill_n(Make(), capacity_, 0.0f); }
  // Touched first by the threads of `context`, block by block.
  Floats(Context& context, int64_t count) : count_(count) {
    float* data = Make();
    context.For(CeilDiv(capacity_, kBlock), capacity_, [&](int64_t block) {
      const int64_t begin = block * kBlock;
      std::fill(data + begin, data + std::min(capacity_, begin + kBlock), 0.0f);
    });
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
  static constexpr int64_t kBlock = int64_t{1} << 16;

  float* Make() {
    constexpr int64_t kHugePage = int64_t{2} << 20;
    const int64_t bytes =
        RoundUp(std::max<int64_t>(count_, 1) * static_cast<int64_t>(sizeof(float)), kHugePage);
    capacity_ = bytes / static_cast<int64_t>(sizeof(float));
    data_.reset(static_cast<float*>(
        std::aligned_alloc(static_cast<size_t>(kHugePage), static_cast<size_t>(bytes))));
    madvise(data_.get(), static_cast<size_t>(bytes), MADV_HUGEPAGE);
    return data_.get();
  }

  int64_t count_;
  int64_t capacity_ = 0;
  std::unique_ptr<float, Free> data_;
};

}  // namespace lockstep::bench

#endif  // LOCKSTEP_BENCH_FLOATS_H_
