#include "models/mlp_family.h"

namespace lockstep::inline v0_1 {

Result<std::unique_ptr<Layer>> MlpFamily::Build(const DatasetInfo& samples) const {
  if (samples.x_dtype != DType::kF32) {
    return Status::Invalid(
        "model.kind = \"mlp\" takes numbers, but the samples are tokens; choose a model.kind that "
        "embeds them, or another data.kind");
  }
  MlpOptions options{.hidden = hidden,
                     .outputs = OutputsOf(samples),
                     .batch_norm = {.eps = eps},
                     .groups = groups,
                     .dropout = dropout,
                     .flatten = samples.x_shape.rank() > 1,
                     .linear = {.bias = bias, .init_scale = static_cast<float>(init_scale)}};
  for (const EmbeddedFeature& feature : samples.embedded)
    options.embedded.push_back({feature.values, feature.width});
  LOCKSTEP_TRY_ASSIGN(options.norm, Chosen("model.norm", kNorms, norm));
  LOCKSTEP_TRY_ASSIGN(options.activation, Chosen("model.activation", kActivations, activation));
  LOCKSTEP_TRY_ASSIGN(options.linear.init, Chosen("model.init", kInits, init));
  BatchNormOptions& batch_norm = options.batch_norm;
  LOCKSTEP_TRY_ASSIGN(batch_norm.convention, Chosen("model.convention", kConventions, convention));
  LOCKSTEP_TRY_ASSIGN(batch_norm.single_value,
                      Chosen("model.single_value", kSingleValues, single_value));
  if (momentum >= 0.0) batch_norm.momentum = momentum;
  batch_norm.sync = sync;
  return std::unique_ptr<Layer>(std::make_unique<Sequential>(Mlp(options)));
}

}  // namespace lockstep
