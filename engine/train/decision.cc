#include "engine/train/decision.h"

#include <charconv>
#include <string>
#include <string_view>

#include "engine/base/text.h"
#include "engine/io/file.h"
#include "engine/kernels/elementwise/activation.h"
#include "engine/kernels/elementwise/softmax.h"

namespace lockstep::inline v0_1 {
namespace {

constexpr char kTemperature[] = "decision.temperature", kThreshold[] = "decision.threshold";

Status ReadNumber(const Metadata& metadata, const char* key, float least, float most,
                  float& number) {
  const auto found = metadata.find(key);
  if (found == metadata.end()) return Status::Ok();
  const std::string_view text = found->second;
  float value = 0.0f;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  // Written so that NaN does not pass.
  if (error != std::errc() || end != text.data() + text.size() ||
      !(value >= least && value <= most)) {
    return Status::Corrupt("metadata " + Quoted(key) + " is " + Quoted(found->second) +
                           ", expected a number from " + FloatText(least) + " to " +
                           FloatText(most) + "; use another file");
  }
  number = value;
  return Status::Ok();
}

}  // namespace

Metadata MetadataOf(const Decision& decision) {
  Metadata metadata;
  if (decision.temperature != 1.0f) metadata[kTemperature] = FloatText(decision.temperature);
  if (decision.threshold != 0.5f) metadata[kThreshold] = FloatText(decision.threshold);
  return metadata;
}

Result<Decision> DecisionFrom(const Metadata& metadata) {
  Decision decision;
  LOCKSTEP_TRY(ReadNumber(metadata, kTemperature, kLeastTemperature, kMostTemperature,
                          decision.temperature));
  LOCKSTEP_TRY(ReadNumber(metadata, kThreshold, 0.0f, 1.0f, decision.threshold));
  return decision;
}

int64_t ClassOf(const Decision& decision, Reading reading, std::span<const float> predictions) {
  if (reading == Reading::kPositive) return predictions[0] > decision.threshold ? 1 : 0;
  return PredictedClass(reading, predictions);
}

void MakePredictions(Reading reading, float temperature, Tensor y) {
  if (reading == Reading::kValues) return;
  if (temperature != 1.0f) {
    for (float& logit : y.span<float>()) logit /= temperature;
  }
  if (reading == Reading::kPositive) {
    kernels::ActivationForward({.kind = kernels::ActivationKind::kSigmoid}, y.f32(), y.f32(),
                               y.size());
  } else {
    kernels::SoftmaxForward(y.f32(), y.shape().rows(), y.shape().channels(), y.f32());
  }
}

}  // namespace lockstep
