#include "engine/data/recent_samples.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>

#include "engine/base/random.h"

namespace lockstep::inline v0_1 {
namespace {

Shape WithSamples(int64_t samples, const Shape& sample) {
  std::vector<int64_t> dims = {samples};
  dims.insert(dims.end(), sample.dims().begin(), sample.dims().end());
  return Shape(dims);
}

}  // namespace

RecentSamples::Rows RecentSamples::MakeRows(const RecentSamplesOptions& options, DType dtype,
                                            const Shape& sample) {
  const size_t bytes = static_cast<size_t>(sample.size()) * SizeOf(dtype);
  return {.dtype = dtype,
          .sample = WithSamples(1, sample),
          .bytes = bytes,
          .ring = std::vector<std::byte>(bytes * static_cast<size_t>(options.capacity)),
          .batch = std::vector<std::byte>(bytes * static_cast<size_t>(options.batch))};
}

RecentSamples::RecentSamples(const RecentSamplesOptions& options)
    : options_(options),
      x_(MakeRows(options, options.x_dtype, options.x)),
      target_(MakeRows(options, options.target_dtype, options.target)),
      drawn_(static_cast<size_t>(options.capacity)) {}

Result<RecentSamples> RecentSamples::Make(const RecentSamplesOptions& options) {
  if (options.capacity < 1 || options.batch < 1 || options.batch > options.capacity) {
    return Status::Invalid("batches of " + std::to_string(options.batch) + " samples of " +
                           std::to_string(options.capacity) +
                           " that are remembered: both must be at least 1, and a batch no more "
                           "than the capacity");
  }
  for (const Shape& shape : {options.x, options.target}) {
    if (shape.size() < 1 || shape.rank() >= Shape::kMaxRank)
      return Status::Invalid("samples of shape " + shape.ToString() + " cannot be remembered");
  }
  return RecentSamples(options);
}

Status RecentSamples::Check(const Rows& rows, const char* name, ConstTensor given,
                            int64_t samples) const {
  const Shape want = rows.sample.WithBatch(samples);
  if (given.dtype() != rows.dtype || given.shape() != want || (given.empty() && want.size() > 0)) {
    return Status::Invalid(std::string(name) + " is " + NameOf(given.dtype()) + " " +
                           given.shape().ToString() + (given.empty() ? " and null" : "") +
                           ", expected " + NameOf(rows.dtype) + " " + want.ToString());
  }
  if (rows.dtype != DType::kF32) return Status::Ok();
  const auto numbers = given.span<float>();
  const auto bad = std::find_if(numbers.begin(), numbers.end(),
                                [](float number) { return !std::isfinite(number); });
  if (bad == numbers.end()) return Status::Ok();
  const int64_t at = bad - numbers.begin();
  return Status::NonFinite(std::string(name) + " of sample " +
                           std::to_string(at / rows.sample.size()) + " is " +
                           (std::isnan(*bad) ? "nan" : "infinite") + " at place " +
                           std::to_string(at % rows.sample.size()));
}

Status RecentSamples::Add(ConstTensor x, ConstTensor target) {
  const int64_t samples = x.shape().rank() < 1 ? 0 : x.shape().batch();
  LOCKSTEP_TRY(Check(x_, "x", x, samples));
  LOCKSTEP_TRY(Check(target_, "target", target, samples));
  for (int64_t s = std::max<int64_t>(0, samples - capacity()); s < samples; ++s) {
    const auto to = static_cast<size_t>((added_ + s) % capacity());
    const auto copy = [&](Rows& rows, ConstTensor from) {
      std::memcpy(rows.ring.data() + to * rows.bytes,
                  static_cast<const std::byte*>(from.data()) + static_cast<size_t>(s) * rows.bytes,
                  rows.bytes);
    };
    copy(x_, x);
    copy(target_, target);
  }
  added_ += samples;
  size_ = std::min(capacity(), size_ + samples);
  return Status::Ok();
}

size_t RecentSamples::PlaceOf(int64_t i) const {
  return static_cast<size_t>((added_ - size_ + i) % capacity());
}

SampleBatch RecentSamples::Sample(int64_t i) const {
  LOCKSTEP_CHECK(i >= 0 && i < size_, "there is no such sample");
  const auto of = [&](const Rows& rows) {
    return ConstTensor(rows.ring.data() + PlaceOf(i) * rows.bytes, rows.dtype, rows.sample);
  };
  return {of(x_), of(target_)};
}

void RecentSamples::Take(int64_t i, int64_t to) {
  for (Rows* rows : {&x_, &target_}) {
    std::memcpy(rows->batch.data() + static_cast<size_t>(to) * rows->bytes,
                rows->ring.data() + PlaceOf(i) * rows->bytes, rows->bytes);
  }
}

Result<SampleBatch> RecentSamples::Draw(uint64_t step, int64_t newest) {
  if (size_ == 0) return Status::Invalid("no sample has been added yet");
  const int64_t count = std::min(options_.batch, size_);
  if (newest < 0) return Status::Invalid("newest must be 0 or more, not " + std::to_string(newest));
  newest = std::min(newest, count);
  for (int64_t i = 0; i < newest; ++i) Take(size_ - newest + i, i);
  // Floyd's way to draw distinct numbers below `others` (Bentley, "Programming pearls: a sample of
  // brilliance", 1987): the last of [0, j] comes in where what is drawn is taken already.
  Random random(options_.seed, StreamOf("recent samples") + step * 0x9E3779B97F4A7C15);
  const int64_t others = size_ - newest;
  ++draws_;
  for (int64_t row = newest; row < count; ++row) {
    const int64_t j = others - (count - row);
    auto drawn = static_cast<int64_t>(random.Below(static_cast<uint64_t>(j) + 1));
    if (drawn_[static_cast<size_t>(drawn)] == draws_) drawn = j;
    drawn_[static_cast<size_t>(drawn)] = draws_;
    Take(drawn, row);
  }
  return SampleBatch{
      ConstTensor(x_.batch.data(), x_.dtype, x_.sample.WithBatch(count)),
      ConstTensor(target_.batch.data(), target_.dtype, target_.sample.WithBatch(count))};
}

}  // namespace lockstep
