#include "engine/train/predictor.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>

#include "engine/data/objective.h"

namespace lockstep {
namespace {

// Each `count` neighbouring numbers in ascending order: a network knows nothing of the order of its
// outputs, and in sparse places its quantiles may cross.
void SortEach(int64_t count, Tensor y) {
  if (count < 2) return;
  const auto before = [](float a, float b) { return a < b || (std::isnan(b) && !std::isnan(a)); };
  for (float* at = y.f32(); at != y.f32() + y.size(); at += count)
    std::sort(at, at + count, before);
}

}  // namespace

Predictor::Predictor(Network& network, const DatasetInfo& samples,
                     std::optional<Standardizer> standardizer, const Decision& decision)
    : network_(&network),
      reading_(ObjectiveOf(samples.task).reading),
      target_scale_(samples.target_scale),
      target_offset_(samples.target_offset),
      decision_(decision),
      standardizer_(std::move(standardizer)) {
  if (standardizer_) x_.resize(static_cast<size_t>(network.input_shape().size()));
}

Result<Predictor> Predictor::Make(Network& network, const DatasetInfo& samples,
                                  std::optional<Standardizer> standardizer,
                                  const Decision& decision) {
  if (standardizer && standardizer->channels() != network.input_shape().channels()) {
    return Status::Invalid("the standardised features are " +
                           std::to_string(standardizer->channels()) + ", the network takes " +
                           network.input_shape().ToString());
  }
  return Predictor(network, samples, std::move(standardizer), decision);
}

ConstTensor Predictor::Standardized(ConstTensor x) {
  if (!standardizer_) return x;
  std::copy_n(x.f32(), x.size(), x_.data());
  const Tensor copy(x_.data(), x.shape());
  standardizer_->Apply(copy);
  return copy;
}

Status Predictor::Run(ConstTensor x, Tensor y) {
  // What does not fit must not reach the copy; Predict names it.
  const Shape& bound = network_->input_shape();
  const bool fits = x.dtype() == DType::kF32 && x.shape().rank() == bound.rank() &&
                    x.shape().batch() <= bound.batch() &&
                    x.shape().WithBatch(bound.batch()) == bound;
  LOCKSTEP_TRY(network_->Predict(fits ? Standardized(x) : x, y));
  if (reading_ == Reading::kValues) {
    if (network_->loss() != nullptr)
      SortEach(static_cast<int64_t>(network_->loss()->quantiles().size()), y);
    for (float& value : y.span<float>())
      value = static_cast<float>(value * target_scale_ + target_offset_);
  } else {
    MakePredictions(reading_, decision_.temperature, y);
  }
  return Status::Ok();
}

}  // namespace lockstep
