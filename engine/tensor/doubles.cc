#include "engine/tensor/doubles.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "engine/base/text.h"

namespace lockstep::inline v0_1 {
namespace {

// From here on a double rounds to infinity: half a unit above the largest float, 2^128 - 2^103.
constexpr double kBeyond = 0x1.ffffffp127;

// "(3, 2)": of the element `i`.
std::string PlaceText(const Shape& shape, int64_t i) {
  std::string text;
  for (int d = shape.rank(); d-- > 0; i /= shape[d])
    text = std::to_string(i % shape[d]) + (text.empty() ? "" : ", ") + text;
  return "(" + text + ")";
}

}  // namespace

Status CopyToFloats(std::span<const double> from, Tensor to, const char* name, NaNs nans) {
  if (to.dtype() != DType::kF32 || to.size() != static_cast<int64_t>(from.size()) ||
      (to.empty() && !from.empty())) {
    return Status::Invalid(std::string(name) + " holds " + std::to_string(from.size()) +
                           " doubles, there is " + NameOf(to.dtype()) + " " +
                           to.shape().ToString() + (to.empty() ? " and null" : "") + " for them");
  }
  // Comparisons that are quiet on NaN, for hosts that trap.
  const auto fits = [nans](double v) {
    return std::isnan(v) ? nans == NaNs::kKeep : std::isless(std::abs(v), kBeyond);
  };
  const auto bad = std::find_if_not(from.begin(), from.end(), fits);
  if (bad != from.end()) {
    const std::string value = std::isnan(*bad) ? "nan" : TextOf(*bad);
    return Status::NonFinite(std::string(name) + PlaceText(to.shape(), bad - from.begin()) +
                             " is " + value + ", a float holds finite numbers up to 3.4e38");
  }
  std::transform(from.begin(), from.end(), to.f32(),
                 [](double v) { return static_cast<float>(v); });
  return Status::Ok();
}

Status CopyToDoubles(ConstTensor from, std::span<double> to) {
  if (from.dtype() != DType::kF32 || from.size() != static_cast<int64_t>(to.size()) ||
      (from.empty() && !to.empty())) {
    return Status::Invalid(std::string(NameOf(from.dtype())) + " " + from.shape().ToString() +
                           (from.empty() ? " and null" : "") + " cannot be copied to " +
                           std::to_string(to.size()) + " doubles");
  }
  std::copy_n(from.f32(), to.size(), to.begin());
  return Status::Ok();
}

FloatBuffer::FloatBuffer(const Shape& shape)
    : shape_(shape), floats_(static_cast<size_t>(shape.size())) {
  LOCKSTEP_CHECK(shape.rank() >= 1, "a batch of samples is needed");
}

Result<ConstTensor> FloatBuffer::Take(std::span<const double> from, const char* name, NaNs nans) {
  const auto count = static_cast<int64_t>(from.size());
  const int64_t width = shape_.sample_size();
  if (width == 0 || count % width != 0 || count > shape_.size()) {
    return Status::Invalid(std::string(name) + " holds " + std::to_string(count) +
                           " doubles, samples are " + std::to_string(width) +
                           " each and there is room for " + std::to_string(shape_.batch()));
  }
  const Tensor to = Room(count / width);
  LOCKSTEP_TRY(CopyToFloats(from, to, name, nans));
  return ConstTensor(to);
}

Tensor FloatBuffer::Room(int64_t samples) {
  LOCKSTEP_CHECK(samples >= 0 && samples <= shape_.batch(), "more samples than there is room for");
  return {floats_.data(), shape_.WithBatch(samples)};
}

}  // namespace lockstep
