#include "engine/train/interpretation.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>

#include "engine/data/objective.h"

namespace lockstep::inline v0_1 {
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

size_t Interpretation::Room(const Network& network) const {
  if (!standardizer_) return 0;
  const int64_t most = std::max(network.batch(), network.evaluation_batch());
  return static_cast<size_t>(network.input_shape().WithBatch(most).size());
}

Result<Interpretation> Interpretation::Make(const Network& network, const DatasetInfo& samples,
                                            std::optional<Standardizer> standardizer,
                                            const Decision& decision) {
  if (standardizer && standardizer->channels() != network.input_shape().channels()) {
    return Status::Invalid("the standardised features are " +
                           std::to_string(standardizer->channels()) + ", the network takes " +
                           network.input_shape().ToString());
  }
  Interpretation made;
  made.reading_ = ObjectiveOf(samples.task).reading;
  made.target_scale_ = samples.target_scale;
  made.target_offset_ = samples.target_offset;
  if (network.loss() != nullptr)
    made.quantiles_ = static_cast<int64_t>(network.loss()->quantiles().size());
  made.decision_ = decision;
  made.standardizer_ = std::move(standardizer);
  return made;
}

ConstTensor Interpretation::Standardized(ConstTensor x, std::span<float> room) const {
  if (!standardizer_) return x;
  std::copy_n(x.f32(), x.size(), room.data());
  const Tensor copy(room.data(), x.shape());
  standardizer_->Apply(copy);
  return copy;
}

Status Interpretation::Predict(Network& network, ConstTensor x, Tensor y,
                               std::span<float> room) const {
  if (standardizer_) {
    // What does not fit must not reach the copy; the network names it.
    const Shape& bound = network.input_shape();
    const bool fits = x.dtype() == DType::kF32 && !x.empty() && x.shape().rank() == bound.rank() &&
                      x.shape().WithBatch(bound.batch()) == bound &&
                      x.size() <= static_cast<int64_t>(room.size());
    if (fits) x = Standardized(x, room);
  }
  LOCKSTEP_TRY(network.Predict(x, y));
  if (reading_ != Reading::kValues) {
    MakePredictions(reading_, decision_.temperature, y);
    return Status::Ok();
  }
  SortEach(quantiles_, y);
  if (target_scale_ == 1.0 && target_offset_ == 0.0) return Status::Ok();
  for (float& value : y.span<float>())
    value = static_cast<float>(value * target_scale_ + target_offset_);
  return Status::Ok();
}

}  // namespace lockstep
