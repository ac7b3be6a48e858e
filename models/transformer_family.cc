#include "models/transformer_family.h"

namespace lockstep::inline v0_1 {
namespace {

Status WrongSamples(const std::string& architecture, const std::string& wanted,
                    const DatasetInfo& samples) {
  return Status::Invalid("model.architecture = \"" + architecture + "\" takes " + wanted +
                         ", but each sample is " + NameOf(samples.x_dtype) + " " +
                         samples.x_shape.ToString() + "; choose another data.kind or architecture");
}

bool IsText(const DatasetInfo& samples) {
  return samples.x_dtype == DType::kI32 && samples.x_shape.rank() == 1;
}
// A class for each place, rather than for each sample.
bool IsPerPosition(const DatasetInfo& samples) {
  return samples.task == Task::kClasses && samples.target_dtype == DType::kI32 &&
         samples.target_shape.rank() == 1;
}

Result<std::unique_ptr<Layer>> BuildGpt(const TransformerFamily& family,
                                        const TransformerBlockOptions& block,
                                        const DatasetInfo& samples) {
  if (!IsText(samples) || !IsPerPosition(samples)) {
    return WrongSamples("gpt", "texts (tokens) with the token that follows each as its target",
                        samples);
  }
  if (samples.classes != samples.vocabulary) {
    return Status::Invalid("model.architecture = \"gpt\" says which of " +
                           std::to_string(samples.vocabulary) + " tokens follows, but there are " +
                           std::to_string(samples.classes) +
                           " classes; choose model.architecture = \"encoder\"");
  }
  LOCKSTEP_TRY_ASSIGN(const bool rotary,
                      Chosen("model.positions", TransformerFamily::kPositions, family.positions));
  return std::unique_ptr<Layer>(std::make_unique<Gpt>(GptOptions{
      .vocabulary = samples.vocabulary,
      .context = samples.x_shape[0],
      .layers = family.layers,
      .heads = block.heads,
      .key_heads = block.key_heads,
      .width = block.width,
      .feed_forward = block.feed_forward,
      .norm = block.norm,
      .eps = block.eps,
      .norm_first = block.norm_first,
      .activation = block.activation,
      .positions = rotary ? GptOptions::Positions::kRotary : GptOptions::Positions::kLearned,
      .dropout = block.dropout,
      .attention_dropout = block.attention_dropout,
      .bias = block.bias,
      .recomputed = block.recomputed,
      .tie_head = family.tie_head,
      .places = {.padded = samples.padded}}));
}

Result<EncoderOptions> EncoderOf(const TransformerFamily& family,
                                 const TransformerBlockOptions& block, const DatasetInfo& samples) {
  EncoderOptions encoder{.block = block,
                         .layers = family.layers,
                         .outputs = OutputsOf(samples),
                         .per_position = IsPerPosition(samples),
                         .dropout = family.dropout};
  LOCKSTEP_TRY_ASSIGN(encoder.pool, Chosen("model.pool", TransformerFamily::kPools, family.pool));
  LOCKSTEP_TRY_ASSIGN(const bool rotary,
                      Chosen("model.positions", TransformerFamily::kPositions, family.positions));
  if (rotary) encoder.positions = EncoderOptions::Positions::kRotary;
  return encoder;
}

Result<std::unique_ptr<Layer>> BuildEncoder(const TransformerFamily& family,
                                            const TransformerBlockOptions& block,
                                            const DatasetInfo& samples) {
  const bool series = samples.x_dtype == DType::kF32 && samples.x_shape.rank() == 2;
  if (!IsText(samples) && !series)
    return WrongSamples("encoder", "texts (tokens) or series (steps, numbers)", samples);
  LOCKSTEP_TRY_ASSIGN(const EncoderOptions encoder, EncoderOf(family, block, samples));
  return std::unique_ptr<Layer>(std::make_unique<TransformerEncoder>(
      TransformerEncoderOptions{.encoder = encoder,
                                .vocabulary = series ? 0 : samples.vocabulary,
                                .padded = samples.padded}));
}

Result<std::unique_ptr<Layer>> BuildVit(const TransformerFamily& family,
                                        const TransformerBlockOptions& block,
                                        const DatasetInfo& samples) {
  if (samples.x_dtype != DType::kF32 || samples.x_shape.rank() != 3)
    return WrongSamples("vit", "pictures (height, width, channels)", samples);
  for (const int side : {0, 1}) {
    if (samples.x_shape[side] % family.patch == 0) continue;
    return Status::Invalid("model.patch = " + std::to_string(family.patch) +
                           " does not divide pictures of " + std::to_string(samples.x_shape[0]) +
                           " x " + std::to_string(samples.x_shape[1]) +
                           " pixels; give a divisor, or another data.picture_size");
  }
  LOCKSTEP_TRY_ASSIGN(const EncoderOptions encoder, EncoderOf(family, block, samples));
  return std::unique_ptr<Layer>(
      std::make_unique<Vit>(VitOptions{.encoder = encoder, .patch = family.patch}));
}

constexpr Choice<TransformerFamily::Builder> kArchitectures[] = {
    {"gpt", BuildGpt}, {"encoder", BuildEncoder}, {"vit", BuildVit}};

}  // namespace

KeyLimits TransformerFamily::ArchitectureNames() { return OneOf(kArchitectures); }

Result<std::unique_ptr<Layer>> TransformerFamily::Build(const DatasetInfo& samples) const {
  LOCKSTEP_TRY_ASSIGN(const Builder build,
                      Chosen("model.architecture", kArchitectures, architecture));
  if (heads < 1 || width % heads != 0) {
    return Status::Invalid("model.heads = " + std::to_string(heads) +
                           " does not divide model.width = " + std::to_string(width));
  }
  if (key_heads > 0 && heads % key_heads != 0) {
    return Status::Invalid("model.key_heads = " + std::to_string(key_heads) +
                           " does not divide model.heads = " + std::to_string(heads));
  }
  if (positions == "rotary" && width / heads % 2 != 0) {
    return Status::Invalid(
        "model.positions = \"rotary\" turns pairs, but model.width / "
        "model.heads = " +
        std::to_string(width / heads) + " is odd");
  }
  TransformerBlockOptions block{.width = width,
                                .heads = heads,
                                .key_heads = key_heads,
                                .feed_forward = feed_forward > 0 ? feed_forward : 4 * width,
                                .norm_first = norm_first,
                                .dropout = dropout,
                                .attention_dropout = attention_dropout,
                                .bias = bias,
                                .recomputed = checkpoint_activations};
  LOCKSTEP_TRY_ASSIGN(block.norm, Chosen("model.norm", kNorms, norm));
  LOCKSTEP_TRY_ASSIGN(block.activation, Chosen("model.activation", kActivations, activation));
  return build(*this, block, samples);
}

}  // namespace lockstep
