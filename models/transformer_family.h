// Transformers as recipes name them: model.kind = "transformer".
#ifndef LOCKSTEP_MODELS_TRANSFORMER_FAMILY_H_
#define LOCKSTEP_MODELS_TRANSFORMER_FAMILY_H_

#include <cstdint>
#include <memory>
#include <string>

#include "engine/base/status.h"
#include "engine/data/dataset.h"
#include "engine/layer.h"
#include "models/gpt.h"
#include "models/recipe_choice.h"
#include "models/transformer_encoder.h"

namespace lockstep::inline v0_1 {

struct TransformerFamily {
  static constexpr const char* kKind = "transformer";
  static constexpr const char* kTitle = "A transformer";

  // Defaults are what a recipe that does not name the key gets. Meanings: VisitKeys.
  std::string architecture = "gpt";
  int64_t layers = 4;
  int64_t heads = 4;
  int64_t key_heads = 0;
  int64_t width = 128;
  int64_t feed_forward = 0;
  std::string norm = "layer";
  bool norm_first = true;
  std::string activation = "gelu_tanh";
  std::string positions = "learned";
  double dropout = 0.0;
  double attention_dropout = 0.0;
  bool bias = true;
  bool checkpoint_activations = false;
  bool tie_head = true;
  std::string pool = "mean";
  int64_t patch = 4;

  // Samples to layers; the function that builds an architecture.
  using Builder = Result<std::unique_ptr<Layer>> (*)(const TransformerFamily& family,
                                                     const TransformerBlockOptions& block,
                                                     const DatasetInfo& samples);
  static KeyLimits ArchitectureNames();

  using Block = TransformerBlockOptions;
  static constexpr Choice<Block::Norm> kNorms[] = {{"layer", Block::Norm::kLayer},
                                                   {"rms", Block::Norm::kRms}};
  static constexpr Choice<Block::Activation> kActivations[] = {
      {"gelu", Block::Activation::kGelu},
      {"gelu_tanh", Block::Activation::kGeluTanh},
      {"relu", Block::Activation::kRelu},
      {"silu", Block::Activation::kSilu},
      {"swiglu", Block::Activation::kSwiGlu}};
  static constexpr Choice<bool> kPositions[] = {{"learned", false}, {"rotary", true}};
  static constexpr Choice<EncoderOptions::Pool> kPools[] = {
      {"mean", EncoderOptions::Pool::kMean}, {"class_token", EncoderOptions::Pool::kClassToken}};

  // visit(key, member, limits, meaning) for each of its keys, in the order a reader wants them.
  template <class Self, class Visit>
  static void VisitKeys(Self& m, Visit&& visit) {
    visit("model.architecture", m.architecture, ArchitectureNames(),
          "gpt: what comes next after each token of a text; encoder: what a text or series is, or "
          "each of its places; vit: what a picture is");
    visit("model.layers", m.layers, Between(1, 10000), "blocks");
    visit("model.heads", m.heads, AtLeast(1), "of attention; they divide the width");
    visit("model.key_heads", m.key_heads, AtLeast(0),
          "heads of keys and values, that several heads share (0: as many as heads)");
    visit("model.width", m.width, Between(1, 1 << 20), "of the vector of each token");
    visit("model.feed_forward", m.feed_forward, Between(0, 1 << 22),
          "width within the position-wise networks (0: 4 times the width)");
    visit("model.norm", m.norm, OneOf(kNorms), "LayerNorm or RMSNorm");
    visit("model.norm_first", m.norm_first, KeyLimits{},
          "norms in front of attention and networks; false: behind the sums, as at first");
    visit("model.activation", m.activation, OneOf(kActivations),
          "of the position-wise networks; swiglu has gates and a third matrix");
    visit("model.positions", m.positions, OneOf(kPositions),
          "a learned vector for each place, or queries and keys that turn with it");
    visit("model.dropout", m.dropout, Between(0, 0.999),
          "probability of dropping what blocks add, and within their networks");
    visit("model.attention_dropout", m.attention_dropout, Between(0, 0.999),
          "probability of dropping a weight of attention");
    visit("model.bias", m.bias, KeyLimits{}, "whether products have a bias");
    visit("model.checkpoint_activations", m.checkpoint_activations, KeyLimits{},
          "training computes what is within a block again instead of holding it: less memory, more "
          "time, the same bits");
    visit("model.tie_head", m.tie_head, KeyLimits{},
          "gpt: the last product's weight is the embedding's");
    visit("model.pool", m.pool, OneOf(kPools),
          "encoder, vit: what the last layer sees, the mean or a token of its own");
    visit("model.patch", m.patch, Between(1, 16384),
          "vit: height and width of the squares that become tokens");
  }

  // The layers for samples as `samples` describes them. Errors name the key: samples that are no
  // texts, series or pictures, heads that do not divide the width, patches that do not divide the
  // pictures.
  Result<std::unique_ptr<Layer>> Build(const DatasetInfo& samples) const;
};

}  // namespace lockstep

#endif  // LOCKSTEP_MODELS_TRANSFORMER_FAMILY_H_
