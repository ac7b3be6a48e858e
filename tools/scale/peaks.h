// The machine's own limits, for everything that is read as a share of them.
//
// A limit is the best of many short samples: on a machine that does other things too, a long one
// says what the others left over.
#ifndef LOCKSTEP_TOOLS_SCALE_PEAKS_H_
#define LOCKSTEP_TOOLS_SCALE_PEAKS_H_

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "engine/kernels/product/peak.h"
#include "engine/parallel/context.h"
#include "engine/plan/page_memory.h"

namespace lockstep::inline v0_1::scale {

// Runs a sample, which returns how much it did; raises `best` to its rate per second, where that is
// higher. Returns what the sample did.
template <class Sample>
int64_t RateOf(const Sample& sample, double& best) {
  const auto start = std::chrono::steady_clock::now();
  const int64_t done = sample();
  const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - start;
  best = std::max(best, static_cast<double>(done) / taken.count());
  return done;
}

// Multiply-adds in registers, on every thread of `context` at once. Borrows the Context.
class FmaPeak {
 public:
  explicit FmaPeak(Context& context);
  // One sample, a tenth of a millisecond; returns its operations (a multiply-add counts as two).
  int64_t Run();
  // Whether all threads ran side by side in the last sample, for four fifths of its time or more.
  bool AllAtOnce() const;
  std::string Check();  // what is wrong with the result, or ""

 private:
  struct Task {
    kernels::Peak peak;
    std::chrono::steady_clock::time_point begin, end;
  };

  Context& context_;
  std::vector<Task> of_threads_;
};

// Memory far beyond the caches, moved in the ways of engine/kernels/product/peak.h. Borrows the
// Context.
class StreamPeak {
 public:
  enum class Way { kRead, kUpdate, kTriad };
  static constexpr Way kWays[] = {Way::kRead, Way::kUpdate, Way::kTriad};
  static const char* Name(Way way);

  explicit StreamPeak(Context& context);
  // One sample, a millisecond or two; the next goes on behind it, so that all of the memory has
  // passed before any of it is met again. Returns the bytes that were moved.
  int64_t Run(Way way);
  // The way with the shortest sample in two turns through the memory, and its rate.
  struct Best {
    Way way;
    double bytes_per_second;
  };
  Best FindBest();
  std::string Check();  // what is wrong with the results, or ""

 private:
  void Triad(int64_t begin, int64_t count);
  void Update(float factor, int64_t begin, int64_t count);
  double Read(int64_t begin, int64_t count);
  float* floats() const { return reinterpret_cast<float*>(memory_.data()); }
  int64_t size() const { return 3 * third_; }

  Context& context_;
  int64_t third_;      // floats of each of the three arrays of a triad
  PageMemory memory_;  // a, b, c; reading and updating take them as one
  int64_t at_ = 0;     // of the next sample
};

struct Peaks {
  double operations_per_second = 0.0;
  double bytes_per_second = 0.0;
};

// Both, in half a second; in two where the cores are busy. Throws CheckFailure if a result is
// wrong.
Peaks MeasurePeaks(int threads);

}  // namespace lockstep::scale

#endif  // LOCKSTEP_TOOLS_SCALE_PEAKS_H_
