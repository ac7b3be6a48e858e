#include "tools/scale/peaks.h"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <utility>

#include "engine/base/check.h"
#include "engine/base/integers.h"

namespace lockstep::inline v0_1::scale {
namespace {

// 0.1 ms: long beside forking and joining, short beside the slices in which a system that has more
// to do hands out its cores, so that some samples have all the cores they ask for.
constexpr int64_t kRounds = 50000;

// What a task moves: little enough that threads share a sample evenly.
constexpr int64_t kChunk = int64_t{1} << 15;
static_assert(kChunk % kernels::kStreamFloats == 0);
constexpr int64_t kSample = int64_t{1} << 23;  // floats: 32 MB

// Eight times a last-level cache of 32 MB, and at least four times a larger one: little of it can
// still be there when it is met again.
int64_t ThirdOfMemory() {
  int64_t bytes = int64_t{256} << 20;
#ifdef _SC_LEVEL3_CACHE_SIZE
  bytes = std::max(bytes, 4 * static_cast<int64_t>(sysconf(_SC_LEVEL3_CACHE_SIZE)));
#endif
  return RoundUp(CeilDiv(bytes, 3 * static_cast<int64_t>(sizeof(float))), kSample);
}

}  // namespace

FmaPeak::FmaPeak(Context& context)
    : context_(context), of_threads_(static_cast<size_t>(context.threads())) {}

int64_t FmaPeak::Run() {
  const int64_t threads = context_.threads();
  context_.For(threads, kRounds * threads, [&](int64_t task) {
    Task& of = of_threads_[static_cast<size_t>(task)];
    of.begin = std::chrono::steady_clock::now();
    of.peak = kernels::PeakMultiplyAdds(kRounds, 0.5f, 1.0f);
    of.end = std::chrono::steady_clock::now();
  });
  return of_threads_[0].peak.operations * threads;
}

bool FmaPeak::AllAtOnce() const {
  auto first_begin = of_threads_[0].begin, last_begin = first_begin;
  auto first_end = of_threads_[0].end, last_end = first_end;
  for (const Task& of : of_threads_) {
    first_begin = std::min(first_begin, of.begin);
    last_begin = std::max(last_begin, of.begin);
    first_end = std::min(first_end, of.end);
    last_end = std::max(last_end, of.end);
  }
  return 5 * (first_end - last_begin) > 4 * (last_end - first_begin);
}

std::string FmaPeak::Check() {
  Run();
  for (const Task& of : of_threads_) {
    if (!(of.peak.mean == 2.0f)) return "x = x / 2 + 1 did not tend to 2";
  }
  return "";
}

const char* StreamPeak::Name(Way way) {
  switch (way) {
    case Way::kRead:
      return "reading";
    case Way::kUpdate:
      return "updating";
    default:
      return "triad";
  }
}

StreamPeak::StreamPeak(Context& context)
    : context_(context),
      third_(ThirdOfMemory()),
      memory_(context, 3 * third_ * static_cast<int64_t>(sizeof(float))) {}

void StreamPeak::Triad(int64_t begin, int64_t count) {
  float* a = floats();
  context_.For(count / kChunk, 3 * count, [&](int64_t chunk) {
    const int64_t at = begin + chunk * kChunk;
    kernels::StreamTriad(a + third_ + at, a + 2 * third_ + at, 3.0f, a + at, kChunk);
  });
}

void StreamPeak::Update(float factor, int64_t begin, int64_t count) {
  context_.For(count / kChunk, count, [&](int64_t chunk) {
    kernels::StreamUpdate(factor, floats() + begin + chunk * kChunk, kChunk);
  });
}

double StreamPeak::Read(int64_t begin, int64_t count) {
  std::vector<float> sums(static_cast<size_t>(count / kChunk));
  context_.For(count / kChunk, count, [&](int64_t chunk) {
    sums[static_cast<size_t>(chunk)] =
        kernels::StreamRead(floats() + begin + chunk * kChunk, kChunk);
  });
  double sum = 0.0;
  for (const float s : sums) sum += static_cast<double>(s);
  return sum;
}

int64_t StreamPeak::Run(Way way) {
  at_ = (at_ + kSample) % size();
  switch (way) {
    case Way::kRead:
      Read(at_, kSample);
      return 4 * kSample;
    case Way::kUpdate:
      Update(1.0f, at_, kSample);
      return 8 * kSample;
    default:
      Triad(at_ % third_, kSample);
      return 12 * kSample;
  }
}

StreamPeak::Best StreamPeak::FindBest() {
  Best best{Way::kRead, 0.0};
  for (const Way way : kWays) {
    for (int64_t sample = 0; sample < 2 * size() / kSample; ++sample) {
      const double before = best.bytes_per_second;
      RateOf([&] { return Run(way); }, best.bytes_per_second);
      if (best.bytes_per_second > before) best.way = way;
    }
  }
  return best;
}

// On one sample of each array: the rest is the same loop on zeros.
std::string StreamPeak::Check() {
  const auto third = [&](int k) { return floats() + k * third_; };
  const auto is = [&](float a, float b, float c) {
    for (const auto& [k, want] : {std::pair{0, a}, {1, b}, {2, c}}) {
      if (std::count(third(k), third(k) + kSample, want) != kSample) return false;
    }
    return true;
  };
  std::fill_n(third(1), kSample, 1.0f);
  std::fill_n(third(2), kSample, 2.0f);
  Triad(0, kSample);
  if (!is(7.0f, 1.0f, 2.0f)) return "1 + 3 * 2 is not 7";
  for (int k = 0; k < 3; ++k) Update(0.5f, k * third_, kSample);
  if (!is(3.5f, 0.5f, 1.0f)) return "a half of it is wrong";
  // Exact: whole halves, and each chunk's sum is below 2^23.
  double sum = 0.0;
  for (int k = 0; k < 3; ++k) sum += Read(k * third_, kSample);
  return sum == 5.0 * static_cast<double>(kSample) ? "" : "the sum is wrong";
}

namespace {

// The best rate of multiply-adds on every thread of `context`, where one reaches `alone` by itself.
// At least a hundred samples; more for at most a second, until it is as many times that.
double FmaRate(Context& context, double alone) {
  FmaPeak fma(context);
  LOCKSTEP_CHECK(fma.Check().empty(), "the rate of multiply-adds");
  const double enough = 0.98 * alone * context.threads();
  const auto start = std::chrono::steady_clock::now();
  double best = 0.0;
  bool together = false;
  for (int sample = 0; sample < 100 || best < enough; ++sample) {
    double rate = 0.0;
    RateOf([&] { return fma.Run(); }, rate);
    best = std::max(best, rate);
    // Slower than one alone: some had to wait, although all had begun.
    together = together || (fma.AllAtOnce() && rate > 0.9 * alone);
    if (sample >= 100 && std::chrono::steady_clock::now() - start > std::chrono::seconds(1)) break;
  }
  // A busy system may have kept two threads on one core all the time. What they would have reached
  // together is not known then; cores that do not share their adders reach this.
  return together ? best : std::max(best, alone * context.threads());
}

}  // namespace

Peaks MeasurePeaks(int threads) {
  Context one({.threads = 1});
  Context all({.threads = threads});
  Peaks peaks;
  const double alone = FmaRate(one, 0.0);
  peaks.operations_per_second = threads == 1 ? alone : std::max(alone, FmaRate(all, alone));
  StreamPeak stream(all);
  LOCKSTEP_CHECK(stream.Check().empty(), "the rate of memory");
  peaks.bytes_per_second = stream.FindBest().bytes_per_second;
  return peaks;
}

}  // namespace lockstep::scale
