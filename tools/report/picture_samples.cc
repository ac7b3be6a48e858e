#include "tools/report/picture_samples.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <span>
#include <utility>

#include "engine/base/check.h"
#include "engine/data/image/resize.h"
#include "engine/data/loader.h"

namespace lockstep::inline v0_1::tools {
namespace {

// Floats (height, width, channels), 1 for white; what lies beyond is cut.
ShownPicture Shown(const std::vector<float>& v, int64_t height, int64_t width, int64_t channels,
                   int64_t longest) {
  ShownPicture shown{.height = height, .width = width, .channels = channels};
  const std::vector<float>* pixels = &v;
  std::vector<float> small;
  if (std::max(height, width) > longest) {
    const double factor =
        static_cast<double>(longest) / static_cast<double>(std::max(height, width));
    const auto side = [&](int64_t n) {
      return std::max<int64_t>(std::lround(factor * static_cast<double>(n)), 1);
    };
    shown.height = side(height);
    shown.width = side(width);
    small.resize(static_cast<size_t>(shown.height * shown.width * channels));
    ResizeScratch scratch;
    ResizePicture({height, width, channels, v.data()}, {0, 0, height, width}, shown.height,
                  shown.width, scratch, small.data());
    pixels = &small;
  }
  for (const float value : *pixels) {
    const float within = value > 0.0f ? std::min(value, 1.0f) : 0.0f;  // NaN: black
    shown.pixels.push_back(static_cast<uint8_t>(std::lround(255.0f * within)));
  }
  return shown;
}

struct Looked {
  double log_probability;  // of the truth
  int64_t index;
};

}  // namespace

ShownPicture ShowInput(ConstTensor x, const PixelScale& scale, int64_t longest) {
  const Shape& shape = x.shape();
  LOCKSTEP_CHECK_EQ(shape.rank(), 3);
  const auto channels = static_cast<size_t>(shape[2]);
  std::vector<float> v(x.f32(), x.f32() + shape.size());
  if (!scale.mean.empty()) {
    LOCKSTEP_CHECK_EQ(scale.mean.size(), channels);
    LOCKSTEP_CHECK_EQ(scale.sd.size(), channels);
    for (size_t i = 0; i < v.size(); ++i)
      v[i] = v[i] * scale.sd[i % channels] + scale.mean[i % channels];
  }
  const auto [least, most] = std::minmax_element(v.begin(), v.end());
  const float low = *least, high = *most;
  constexpr float kRounding = 1e-3f;
  if (low < -kRounding || high > 1.0f + kRounding) {
    for (float& value : v) value = high > low ? (value - low) / (high - low) : 0.5f;
  }
  return Shown(v, shape[0], shape[1], shape[2], longest);
}

Result<PictureSamples> LookAtPictures(Network& network, const Subset& subset,
                                      const PixelScale& scale,
                                      const PictureSamplesOptions& options) {
  const Shape& shape = subset.dataset->info().x_shape;
  const auto all = static_cast<int64_t>(subset.indices.size());
  const int64_t count = std::clamp<int64_t>(options.values / shape.size(), 1, all);
  std::vector<int64_t> indices;
  for (int64_t i = 0; i < count; ++i)
    indices.push_back(subset.indices[static_cast<size_t>(i * all / count)]);
  const auto shown = std::min(options.samples, indices.size());

  LOCKSTEP_TRY_ASSIGN(const std::unique_ptr<Loader> loader,
                      Loader::Make(subset.dataset, std::move(indices),
                                   {.batch = std::min(count, network.batch()), .shuffle = false}));
  PictureSamples all_seen{.looked_at = count};
  // A heap with the least grave mistake in front: what has to go when a graver one comes.
  std::vector<std::pair<double, SeenSample>> worst;
  const auto graver = [](const auto& a, const auto& b) { return a.first < b.first; };
  for (int64_t at = 0;;) {
    LOCKSTEP_TRY_ASSIGN(const Batch* const batch, loader->Next());
    if (batch == nullptr) break;
    const Shape outputs = network.output_shape().WithBatch(batch->count);
    std::vector<float> y(static_cast<size_t>(outputs.size()));
    LOCKSTEP_TRY(network.Predict(batch->x, Tensor(y.data(), outputs)));
    const auto classes = static_cast<size_t>(outputs.sample_size());
    for (int64_t i = 0; i < batch->count; ++i, ++at) {
      const int32_t truth = batch->target.as<int32_t>()[i];
      if (truth < 0 || static_cast<size_t>(truth) >= classes) continue;  // kIgnoredTarget
      const auto logits = std::span(y).subspan(static_cast<size_t>(i) * classes, classes);
      const auto predicted = std::max_element(logits.begin(), logits.end()) - logits.begin();
      const double top = logits[static_cast<size_t>(predicted)];
      double sum = 0.0;
      for (const float logit : logits) sum += std::exp(static_cast<double>(logit) - top);
      const double truth_log =
          static_cast<double>(logits[static_cast<size_t>(truth)]) - top - std::log(sum);
      const bool mistake = predicted != truth;
      // The k-th that is shown is the first at or behind k count / shown.
      const auto next = static_cast<int64_t>(all_seen.samples.size());
      const bool sample =
          next < static_cast<int64_t>(shown) && at >= next * count / static_cast<int64_t>(shown);
      const bool grave = mistake && options.mistakes > 0 &&
                         (worst.size() < options.mistakes || truth_log < worst.front().first);
      if (!sample && !grave) continue;
      const ConstTensor x(batch->x.f32() + i * shape.size(), shape);
      SeenSample seen{.picture = ShowInput(x, scale, options.longest),
                      .truth = truth,
                      .predicted = predicted,
                      .probability = 1.0 / sum,
                      .truth_probability = std::exp(truth_log)};
      if (grave) {
        if (worst.size() == options.mistakes) {
          std::pop_heap(worst.begin(), worst.end(), graver);
          worst.pop_back();
        }
        worst.emplace_back(truth_log, seen);
        std::push_heap(worst.begin(), worst.end(), graver);
      }
      if (sample) all_seen.samples.push_back(std::move(seen));
    }
  }
  std::sort_heap(worst.begin(), worst.end(), graver);
  for (auto& [log_probability, seen] : worst) all_seen.mistakes.push_back(std::move(seen));
  return all_seen;
}

std::vector<ShownPicture> FirstFilters(const Network& network, const Shape& x, size_t most,
                                       int64_t longest) {
  const ConstParameterSet parameters = network.parameters();
  size_t first = 0;
  while (first < parameters.infos.size() && parameters.value(first).shape().rank() < 2) ++first;
  if (first == parameters.infos.size()) return {};
  const ConstTensor weight = parameters.value(first);
  const Shape& shape = weight.shape();
  Shape filter;
  if (shape.rank() == 4) {  // a convolution: (out, height, width, in)
    filter = {shape[1], shape[2], shape[3]};
  } else if (shape.rank() == 2 && x.rank() == 3 && shape[1] == x.size()) {  // (out, in)
    filter = x;
  } else {
    return {};
  }
  if (filter[0] < 3 || filter[1] < 3 || (filter[2] != 1 && filter[2] != 3)) return {};
  float largest = 0.0f;
  for (const float w : weight.span<float>()) largest = std::max(largest, std::abs(w));
  std::vector<ShownPicture> shown;
  const int64_t count = std::min(shape[0], static_cast<int64_t>(most));
  for (int64_t o = 0; o < count; ++o) {
    const float* const w = weight.f32() + o * filter.size();
    std::vector<float> v(w, w + filter.size());
    for (float& value : v) value = largest > 0.0f ? 0.5f + 0.5f * value / largest : 0.5f;
    shown.push_back(Shown(v, filter[0], filter[1], filter[2], longest));
  }
  return shown;
}

}  // namespace lockstep::tools
