#include "models/recurrent_family.h"

namespace lockstep::inline v0_1 {

Result<std::unique_ptr<Layer>> RecurrentFamily::Build(const DatasetInfo& samples) const {
  const Shape& x = samples.x_shape;
  const bool tokens = samples.x_dtype == DType::kI32 && x.rank() == 1;
  if (!tokens && (samples.x_dtype != DType::kF32 || x.rank() != 2)) {
    return Status::Invalid(
        "model.kind = \"recurrent\" takes tokens (steps) or series (steps, channels), but each "
        "sample is " +
        std::string(NameOf(samples.x_dtype)) + " " + x.ToString() +
        "; choose another data.kind, or model.kind = \"mlp\"");
  }
  RecurrentNetOptions options{.hidden = hidden,
                              .layers = layers,
                              .bidirectional = bidirectional,
                              .dropout = dropout,
                              .vocabulary = tokens ? samples.vocabulary : 0,
                              .embedding = embedding,
                              .padded = samples.padded,
                              .every_step = samples.task == Task::kClasses &&
                                            samples.target_dtype == DType::kI32 &&
                                            samples.target_shape == Shape{x[0]},
                              .tie_head = tie_head,
                              .outputs = OutputsOf(samples)};
  LOCKSTEP_TRY_ASSIGN(options.cell, Chosen("model.cell", kCells, cell));
  LOCKSTEP_TRY_ASSIGN(options.norm, Chosen("model.norm", kNorms, norm));
  if (options.norm == RecurrentOptions::Norm::kBatch) {
    return Status::Invalid(
        "model.norm = \"batch\": batch norm in the recurrence mixes the samples of a batch at "
        "every step, and has no statistics for steps later than any in training; give \"layer\"");
  }
  const bool language_model = tokens && options.every_step && samples.classes == samples.vocabulary;
  if (language_model && bidirectional) {
    return Status::Invalid(
        "model.bidirectional: a language model that reads from the end sees what it is to say");
  }
  if (tie_head) {
    const int64_t width = embedding > 0 ? embedding : hidden;
    if (!language_model)
      return Status::Invalid("model.tie_head is for language models, whose outputs are tokens");
    if (width != hidden) {
      return Status::Invalid("model.tie_head needs model.embedding = model.hidden (" +
                             std::to_string(hidden) + "), not " + std::to_string(embedding));
    }
  }
  return std::unique_ptr<Layer>(std::make_unique<RecurrentNet>(options));
}

}  // namespace lockstep
