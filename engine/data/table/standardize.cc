#include "engine/data/table/standardize.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <utility>

#include "engine/base/float_mode.h"

namespace lockstep::inline v0_1 {
namespace {

// Below this a channel counts as constant: 1 / sd must be finite.
constexpr float kSmallestSd = std::numeric_limits<float>::min();

struct Column {
  double mean = 0.0;
  double m2 = 0.0;
  int64_t count = 0;
  float low = std::numeric_limits<float>::infinity();
  float high = -std::numeric_limits<float>::infinity();
};

// Welford's update, one value after another: count, mean and the sum of squared deviations. In
// double even a million values of mean/sd = 1e4 leave the variance right to 1e-10.
void Add(Column& column, float value) {
  if (std::isnan(value)) return;
  ++column.count;
  const double delta = value - column.mean;
  column.mean += delta / static_cast<double>(column.count);
  column.m2 += delta * (value - column.mean);
  column.low = std::min(column.low, value);
  column.high = std::max(column.high, value);
}

class StandardizedDataset final : public Dataset {
 public:
  StandardizedDataset(DatasetInfo info, std::shared_ptr<const Dataset> base,
                      Standardizer standardizer)
      : Dataset(std::move(info)), base_(std::move(base)), standardizer_(std::move(standardizer)) {}

 private:
  Status Read(std::span<const int64_t> indices, Tensor x, Tensor target,
              int64_t epoch) const override {
    LOCKSTEP_TRY(base_->Gather(indices, x, target, epoch));
    if (!x.empty()) standardizer_.Apply(x);
    return Status::Ok();
  }
  Status ReadWeights(std::span<const int64_t> indices, std::span<float> weights) const override {
    return base_->GatherWeights(indices, weights);
  }
  void Fetch(std::span<const int64_t> indices) const override { base_->Expect(indices); }

  std::shared_ptr<const Dataset> base_;
  Standardizer standardizer_;
};

Status CheckFeatures(const DatasetInfo& info) {
  if (info.x_dtype == DType::kF32 && info.x_shape.rank() > 0) return Status::Ok();
  return Status::Invalid(info.name + ": only features can be standardised, not samples of type " +
                         NameOf(info.x_dtype) + " and shape " + info.x_shape.ToString());
}

}  // namespace

Standardizer::Standardizer(std::vector<float> mean, std::vector<float> sd)
    : mean_(std::move(mean)), sd_(std::move(sd)), inv_sd_(sd_.size()) {
  std::transform(sd_.begin(), sd_.end(), inv_sd_.begin(),
                 [](float sd) { return sd < kSmallestSd ? 0.0f : 1.0f / sd; });
}

Result<Standardizer> Standardizer::Measure(const Dataset& dataset, std::span<const int64_t> train) {
  const ScopedFloatMode mode;
  const DatasetInfo& info = dataset.info();
  LOCKSTEP_TRY(CheckFeatures(info));
  if (train.empty()) {
    return Status::Invalid(info.name + ": standardising needs at least one training sample");
  }
  const auto channels = static_cast<size_t>(info.x_shape.channels());
  std::vector<Column> columns(channels);
  std::vector<float> sample(static_cast<size_t>(info.x_shape.size()));
  const Tensor x(sample.data(), dataset.XShape(1));
  for (const int64_t& index : train) {
    LOCKSTEP_TRY(dataset.Gather(std::span(&index, 1), x, {}));
    for (size_t i = 0; i < sample.size(); ++i) Add(columns[i % channels], sample[i]);
  }

  std::vector<float> mean(channels), sd(channels);
  for (size_t c = 0; c < channels; ++c) {
    const Column& column = columns[c];
    const bool constant = !(column.low < column.high);  // rounding must not make it vary
    mean[c] = constant && column.count > 0 ? column.low : static_cast<float>(column.mean);
    if (constant) continue;
    const double variance = column.m2 / static_cast<double>(column.count);
    sd[c] = static_cast<float>(std::sqrt(variance));
    if (sd[c] < kSmallestSd) sd[c] = 0.0f;
  }
  return Standardizer(std::move(mean), std::move(sd));
}

Result<Standardizer> Standardizer::FromVectors(std::vector<float> mean, std::vector<float> sd) {
  if (mean.size() != sd.size() || mean.empty()) {
    return Status::Corrupt("a standardisation of " + std::to_string(mean.size()) + " means and " +
                           std::to_string(sd.size()) + " standard deviations cannot be used");
  }
  for (size_t c = 0; c < mean.size(); ++c) {
    if (std::isfinite(mean[c]) && std::isfinite(sd[c]) && sd[c] >= 0.0f) continue;
    return Status::Corrupt("the standardisation of feature " + std::to_string(c) +
                           " is no finite mean with a standard deviation of at least 0");
  }
  return Standardizer(std::move(mean), std::move(sd));
}

void Standardizer::Apply(Tensor x) const {
  LOCKSTEP_CHECK_EQ(x.shape().channels(), channels());
  const auto channel_count = static_cast<size_t>(channels());
  const auto rows = static_cast<size_t>(x.shape().rows());
  const float* __restrict mean = mean_.data();
  const float* __restrict inv_sd = inv_sd_.data();
  float* __restrict row = x.f32();
  for (size_t r = 0; r < rows; ++r, row += channel_count) {
    for (size_t c = 0; c < channel_count; ++c) {
      const float y = (row[c] - mean[c]) * inv_sd[c];
      row[c] = y == y ? y : 0.0f;  // a missing value is NaN
    }
  }
}

Result<std::shared_ptr<const Dataset>> Standardized(std::shared_ptr<const Dataset> base,
                                                    Standardizer standardizer) {
  LOCKSTEP_TRY(CheckFeatures(base->info()));
  if (base->info().x_shape.channels() != standardizer.channels()) {
    return Status::Invalid(
        base->info().name + ": has " + std::to_string(base->info().x_shape.channels()) +
        " features per sample, the standardisation has " + std::to_string(standardizer.channels()));
  }
  DatasetInfo info = base->info();
  info.has_missing = false;
  return std::shared_ptr<const Dataset>(std::make_shared<StandardizedDataset>(
      std::move(info), std::move(base), std::move(standardizer)));
}

}  // namespace lockstep
