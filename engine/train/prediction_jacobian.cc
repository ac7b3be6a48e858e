#include "engine/train/prediction_jacobian.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <string>
#include <utility>

#include "engine/base/float_mode.h"

namespace lockstep::inline v0_1 {

PredictionJacobian::PredictionJacobian(Jacobian jacobian, const Network& network,
                                       Interpretation predictions)
    : jacobian_(std::move(jacobian)),
      predictions_(std::move(predictions)),
      x_shape_(network.input_shape()),
      y_shape_(network.output_shape()),
      x_(predictions_.standardizer() ? static_cast<size_t>(x_shape_.size()) : 0),
      p_(static_cast<size_t>(y_shape_.size())),
      order_(static_cast<size_t>(predictions_.quantiles())),
      rows_(std::max<size_t>(1, order_.size()) * static_cast<size_t>(jacobian_.inputs())) {}

Result<PredictionJacobian> PredictionJacobian::Make(const Network& network,
                                                    const DatasetInfo& samples,
                                                    std::optional<Standardizer> standardizer,
                                                    const Decision& decision, int64_t rows) {
  if (network.feature_inputs() != 1) {
    return Status::Invalid("predictions are of one input, this network has " +
                           std::to_string(network.feature_inputs()) + "; take Jacobian");
  }
  LOCKSTEP_TRY_ASSIGN(Interpretation predictions,
                      Interpretation::Make(network, samples, std::move(standardizer), decision));
  LOCKSTEP_TRY_ASSIGN(Jacobian jacobian, Jacobian::Make(network, {.rows = rows}));
  return PredictionJacobian(std::move(jacobian), network, std::move(predictions));
}

Status PredictionJacobian::Run(ConstTensor x, Tensor jacobian, Tensor p) {
  const ScopedFloatMode mode;
  const Shape& shape = x.shape();
  const int64_t samples = shape.rank() < 1 ? 0 : shape.batch();
  if (x.dtype() != DType::kF32 || shape.rank() != x_shape_.rank() ||
      shape.WithBatch(x_shape_.batch()) != x_shape_ || (x.empty() && samples > 0)) {
    return Status::Invalid(std::string("x is ") + NameOf(x.dtype()) + " " + shape.ToString() +
                           (x.empty() ? " and null" : "") + ", expected f32 " +
                           x_shape_.WithBatch(samples).ToString());
  }
  if (jacobian.dtype() != DType::kF32 || jacobian.shape().rank() < 1 ||
      jacobian.shape().batch() != samples || jacobian.size() != samples * outputs() * inputs() ||
      (jacobian.empty() && samples > 0)) {
    return Status::Invalid(std::string("the Jacobian is ") + NameOf(jacobian.dtype()) + " " +
                           jacobian.shape().ToString() + (jacobian.empty() ? " and null" : "") +
                           ", expected f32 " + Shape{samples, outputs(), inputs()}.ToString());
  }
  if (!p.empty() && (p.dtype() != DType::kF32 || p.shape() != y_shape_.WithBatch(samples))) {
    return Status::Invalid(std::string("p is ") + NameOf(p.dtype()) + " " + p.shape().ToString() +
                           ", expected f32 " + y_shape_.WithBatch(samples).ToString());
  }
  const int64_t at_once = x_shape_.batch();
  for (int64_t begin = 0; begin < samples; begin += at_once) {
    const int64_t end = std::min(samples, begin + at_once), count = end - begin;
    const ConstTensor raw = x.Samples(begin, end);
    const ConstTensor standard = predictions_.Standardized(raw, x_);
    const Tensor y =
        p.empty() ? Tensor(p_.data(), y_shape_.WithBatch(count)) : p.Samples(begin, end);
    float* const j = jacobian.f32() + begin * outputs() * inputs();
    LOCKSTEP_TRY(jacobian_.Full(standard, Tensor(j, Shape{count, outputs(), inputs()}), y));
    for (int64_t s = 0; s < count; ++s)
      ToUnits(raw.f32() + s * inputs(), y.Samples(s, s + 1), j + s * outputs() * inputs());
  }
  return Status::Ok();
}

void PredictionJacobian::ToUnits(const float* x, Tensor p, float* j) {
  const int64_t numbers = outputs(), width = inputs();
  const Reading reading = predictions_.reading();
  const float temperature = predictions_.decision().temperature;
  MakePredictions(reading, temperature, p);
  float* const predicted = p.f32();
  if (reading == Reading::kOneOf) {
    const int64_t classes = p.shape().channels();
    for (int64_t group = 0; group < numbers; group += classes) {
      float* const mean = rows_.data();  // sum_j p_j J(j)
      std::fill_n(mean, width, 0.0f);
      for (int64_t k = group; k < group + classes; ++k) {
        for (int64_t i = 0; i < width; ++i) mean[i] += predicted[k] * j[k * width + i];
      }
      for (int64_t k = group; k < group + classes; ++k) {
        const float factor = predicted[k] / temperature;
        for (int64_t i = 0; i < width; ++i)
          j[k * width + i] = factor * (j[k * width + i] - mean[i]);
      }
    }
  } else {
    for (int64_t k = 0; k < numbers; ++k) {
      const float factor = reading == Reading::kPositive
                               ? predicted[k] * (1.0f - predicted[k]) / temperature
                               : static_cast<float>(predictions_.target_scale());
      for (int64_t i = 0; i < width; ++i) j[k * width + i] *= factor;
    }
  }
  if (predictions_.standardizer()) {
    const std::vector<float>& inv_sd = predictions_.standardizer()->inv_sd();
    const auto channels = static_cast<int64_t>(inv_sd.size());
    for (int64_t i = 0; i < width; ++i) {
      const float factor = std::isnan(x[i]) ? 0.0f : inv_sd[static_cast<size_t>(i % channels)];
      for (int64_t k = 0; k < numbers; ++k) j[k * width + i] *= factor;
    }
  }
  if (reading != Reading::kValues) return;
  const int64_t count = predictions_.quantiles();
  for (int64_t k = 0; count > 1 && k < numbers; k += count)
    SortQuantiles(predicted + k, j + k * width);
  for (int64_t k = 0; k < numbers; ++k)
    predicted[k] = static_cast<float>(predicted[k] * predictions_.target_scale() +
                                      predictions_.target_offset());
}

// In the order in which Predictor tells them: ascending, with NaN last.
void PredictionJacobian::SortQuantiles(float* p, float* j) {
  const auto width = static_cast<size_t>(inputs());
  std::iota(order_.begin(), order_.end(), size_t{0});
  std::sort(order_.begin(), order_.end(), [p](size_t a, size_t b) {
    if (p[a] < p[b] || p[b] < p[a]) return p[a] < p[b];
    return std::isnan(p[a]) == std::isnan(p[b]) ? a < b : std::isnan(p[b]);
  });
  if (std::is_sorted(order_.begin(), order_.end())) return;
  for (size_t k = 0; k < order_.size(); ++k)
    std::copy_n(j + order_[k] * width, width, rows_.data() + k * width);
  std::copy_n(rows_.data(), order_.size() * width, j);
  std::sort(p, p + order_.size(),
            [](float a, float b) { return a < b || (std::isnan(b) && !std::isnan(a)); });
}

}  // namespace lockstep
