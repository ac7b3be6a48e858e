// engine/data/image/picture_statistics.cc — channel c of sample s, n numbers x:
//   mean_s = sum x / n,  m2_s = sum (x - mean_s)^2               two passes, in double, in order
// Samples merge in their order (Chan, Golub, LeVeque 1979), d = mean_s - mean, N numbers so far:
//   mean += d n / (N + n),  m2 += m2_s + d^2 N n / (N + n),  N += n
#include "engine/data/image/picture_statistics.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "engine/data/waiting_threads.h"

namespace lockstep::inline v0_1 {
namespace {

// Samples that are read before their moments are merged: bounds the memory.
constexpr int64_t kAtOnce = 4096;

struct Moments {
  double mean = 0.0, m2 = 0.0;
  float low = std::numeric_limits<float>::infinity();
  float high = -std::numeric_limits<float>::infinity();
};

void Measure(const float* x, int64_t n, int64_t channels, Moments* moments) {
  for (int64_t c = 0; c < channels; ++c) {
    Moments& of = moments[c];
    of = {};
    double sum = 0.0;
    for (int64_t i = 0; i < n; ++i) {
      const float value = x[i * channels + c];
      sum += static_cast<double>(value);
      of.low = std::min(of.low, value);
      of.high = std::max(of.high, value);
    }
    of.mean = sum / static_cast<double>(n);
    for (int64_t i = 0; i < n; ++i) {
      const double d = static_cast<double>(x[i * channels + c]) - of.mean;
      of.m2 += d * d;
    }
  }
}

// Whether the target of one sample counts: a class, or a row of probabilities that are not all 0.
bool Counts(const DatasetInfo& info, const int32_t* classes, const float* numbers) {
  if (info.task != Task::kClasses) return true;
  if (info.target_dtype == DType::kI32)
    return info.target_shape.rank() > 0 || *classes != kIgnoredTarget;
  return std::any_of(numbers, numbers + info.target_shape.size(),
                     [](float p) { return p != 0.0f; });
}

}  // namespace

Result<Standardizer> MeasurePictures(const Dataset& dataset, std::span<const int64_t> train,
                                     int threads) {
  const DatasetInfo& info = dataset.info();
  if (info.x_dtype != DType::kF32 || info.x_shape.rank() == 0 || info.has_missing) {
    return Status::Invalid(info.name + ": only pictures can be measured, not samples of type " +
                           NameOf(info.x_dtype) + " and shape " + info.x_shape.ToString());
  }
  const int64_t channels = info.x_shape.channels(), pixels = info.x_shape.size() / channels;
  const auto per_sample = static_cast<size_t>(channels);

  struct Sample {
    Status status;
    bool counts = false;
  };
  const int64_t most = std::min<int64_t>(kAtOnce, static_cast<int64_t>(train.size()));
  std::vector<Sample> samples(static_cast<size_t>(most));
  std::vector<Moments> moments(static_cast<size_t>(most) * per_sample);
  std::vector<Moments> all(per_sample);
  double count = 0.0;
  for (size_t begin = 0; begin < train.size(); begin += kAtOnce) {
    const auto n = std::min<int64_t>(kAtOnce, static_cast<int64_t>(train.size() - begin));
    // A few at a time, so that the memory of one picture serves several.
    constexpr int64_t kTogether = 16;
    ForEachWaiting((n + kTogether - 1) / kTogether, threads, [&](int64_t part) {
      std::vector<float> x(static_cast<size_t>(info.x_shape.size()));
      std::vector<float> numbers(static_cast<size_t>(info.target_shape.size()));
      std::vector<int32_t> classes(static_cast<size_t>(info.target_shape.size()));
      const bool integers = info.target_dtype == DType::kI32;
      const Tensor target = integers ? Tensor(classes.data(), dataset.TargetShape(1))
                                     : Tensor(numbers.data(), dataset.TargetShape(1));
      for (int64_t i = part * kTogether; i < std::min(n, (part + 1) * kTogether); ++i) {
        Sample& sample = samples[static_cast<size_t>(i)];
        const int64_t index = train[begin + static_cast<size_t>(i)];
        sample.status =
            dataset.Gather(std::span(&index, 1), Tensor(x.data(), dataset.XShape(1)), target);
        sample.counts = sample.status.ok() && Counts(info, classes.data(), numbers.data());
        if (sample.counts) Measure(x.data(), pixels, channels, moments.data() + i * channels);
      }
    });
    for (int64_t i = 0; i < n; ++i) {
      LOCKSTEP_TRY(samples[static_cast<size_t>(i)].status);
      if (!samples[static_cast<size_t>(i)].counts) continue;
      const auto more = static_cast<double>(pixels), total = count + more;
      for (size_t c = 0; c < per_sample; ++c) {
        const Moments& of = moments[static_cast<size_t>(i) * per_sample + c];
        const double d = of.mean - all[c].mean;
        all[c].mean += d * (more / total);
        all[c].m2 += of.m2 + d * d * (count * (more / total));
        all[c].low = std::min(all[c].low, of.low);
        all[c].high = std::max(all[c].high, of.high);
      }
      count = total;
    }
  }
  if (count == 0.0) {
    return Status::Invalid(info.name + ": standardising needs at least one training sample");
  }
  std::vector<float> mean(per_sample), sd(per_sample);
  for (size_t c = 0; c < per_sample; ++c) {
    const bool constant = !(all[c].low < all[c].high);  // rounding must not make it vary
    mean[c] = constant ? all[c].low : static_cast<float>(all[c].mean);
    sd[c] = constant ? 0.0f : static_cast<float>(std::sqrt(all[c].m2 / count));
  }
  return Standardizer::FromVectors(std::move(mean), std::move(sd));
}

}  // namespace lockstep
