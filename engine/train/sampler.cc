#include "engine/train/sampler.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <numeric>
#include <string>

#include "engine/base/check.h"
#include "engine/base/random.h"
#include "engine/kernels/elementwise/softmax.h"

namespace lockstep::inline v0_1 {

Result<Sampler> Sampler::Make(int64_t vocabulary, const SamplerOptions& options) {
  LOCKSTEP_CHECK(vocabulary > 0, "a vocabulary has tokens");
  if (!(options.temperature >= 0.0 && std::isfinite(options.temperature))) {
    return Status::Invalid("the temperature must be 0 or more, not " +
                           std::to_string(options.temperature));
  }
  if (options.top_k < 0)
    return Status::Invalid("top_k must be 0 (all) or more, not " + std::to_string(options.top_k));
  if (!(options.top_p > 0.0 && options.top_p <= 1.0)) {
    return Status::Invalid("top_p must be above 0 and at most 1, not " +
                           std::to_string(options.top_p));
  }
  if (!(options.repetition_penalty > 0.0 && std::isfinite(options.repetition_penalty))) {
    return Status::Invalid("the repetition penalty must be above 0 (1: none), not " +
                           std::to_string(options.repetition_penalty));
  }
  return Sampler(vocabulary, options);
}

Sampler::Sampler(int64_t vocabulary, const SamplerOptions& options)
    : options_(options),
      has_(static_cast<size_t>(vocabulary)),
      p_(static_cast<size_t>(vocabulary)),
      order_(static_cast<size_t>(vocabulary)) {
  seen_.reserve(static_cast<size_t>(vocabulary));
}

void Sampler::Reset() {
  for (const int32_t token : seen_) has_[static_cast<size_t>(token)] = 0;
  seen_.clear();
}

void Sampler::Saw(int32_t token) {
  char& has = has_[static_cast<size_t>(token)];
  if (!has) seen_.push_back(token);
  has = 1;
}

Result<int32_t> Sampler::Draw(std::span<const float> scores, int64_t place) {
  LOCKSTEP_CHECK_EQ(scores.size(), p_.size());
  std::copy(scores.begin(), scores.end(), p_.begin());
  if (options_.repetition_penalty != 1.0) {
    const auto penalty = static_cast<float>(options_.repetition_penalty);
    for (const int32_t token : seen_) {
      float& z = p_[static_cast<size_t>(token)];
      z = z > 0.0f ? z / penalty : z * penalty;
    }
  }
  size_t largest = 0;
  bool finite = true;
  for (size_t v = 0; v < p_.size(); ++v) {
    finite = finite && p_[v] < std::numeric_limits<float>::infinity();  // NaN is not
    if (p_[v] > p_[largest]) largest = v;
  }
  if (!finite || std::isinf(p_[largest])) {
    return Status::NonFinite("the model's scores for token " + std::to_string(place) +
                             " of the text are not finite");
  }
  if (options_.temperature == 0.0) return static_cast<int32_t>(largest);

  const float most = p_[largest];
  const double scale = 1.0 / options_.temperature;
  for (float& z : p_) z = static_cast<float>(static_cast<double>(z - most) * scale);
  const auto size = static_cast<int64_t>(p_.size());
  kernels::SoftmaxForward(p_.data(), 1, size, p_.data());

  std::iota(order_.begin(), order_.end(), 0);
  const int64_t kept = options_.top_k == 0 ? size : std::min(options_.top_k, size);
  if (kept == size && options_.top_p == 1.0) return Chosen(size, place);
  const auto likelier = [&](int32_t a, int32_t b) {
    const float pa = p_[static_cast<size_t>(a)], pb = p_[static_cast<size_t>(b)];
    return pa > pb || (pa == pb && a < b);
  };
  const auto begin = order_.begin(), end = begin + kept;
  if (kept < size) std::nth_element(begin, end - 1, order_.end(), likelier);
  if (options_.top_p == 1.0) {
    std::sort(begin, end);  // by number, as without top_k
    return Chosen(kept, place);
  }
  double all = 0.0;
  if (kept < size) std::sort(begin, end);  // so that the sum has one order
  for (auto token = begin; token != end; ++token) {
    all += static_cast<double>(p_[static_cast<size_t>(*token)]);
  }
  // The likeliest are most often few: taken one by one, not all sorted.
  std::make_heap(begin, end, [&](int32_t a, int32_t b) { return likelier(b, a); });
  double together = 0.0;
  auto left = end;
  while (left != begin && (left == end || together < options_.top_p * all)) {
    together += static_cast<double>(p_[static_cast<size_t>(*begin)]);
    std::pop_heap(begin, left--, [&](int32_t a, int32_t b) { return likelier(b, a); });
  }
  std::copy(left, end, begin);
  const int64_t chosen = end - left;
  std::sort(begin, begin + chosen);
  return Chosen(chosen, place);
}

// One of the first candidates of order_, in that order.
int32_t Sampler::Chosen(int64_t candidates, int64_t place) const {
  const std::span<const int32_t> tokens(order_.data(), static_cast<size_t>(candidates));
  double all = 0.0;
  for (const int32_t token : tokens) all += static_cast<double>(p_[static_cast<size_t>(token)]);
  const std::array<uint32_t, 4> words =
      Philox(options_.seed, StreamOf("sampler"), static_cast<uint64_t>(place));
  const uint64_t word = uint64_t{words[0]} << 32 | words[1];
  const double at = static_cast<double>(word >> 11) * 0x1p-53 * all;
  double sum = 0.0;
  int32_t last = tokens.front();  // that can be: at < all, but sums round
  for (const int32_t token : tokens) {
    const auto p = static_cast<double>(p_[static_cast<size_t>(token)]);
    if (p == 0.0) continue;
    sum += p;
    last = token;
    if (at < sum) break;
  }
  return last;
}

}  // namespace lockstep
