#include "models/transformer_encoder.h"

#include "layers/arithmetic.h"
#include "layers/conv/conv.h"
#include "layers/dropout.h"
#include "layers/linear.h"
#include "layers/sequence/embedding.h"
#include "layers/sequence/places.h"
#include "layers/sequence/token_pool.h"

namespace lockstep::inline v0_1 {
namespace {

constexpr float kInitSd = 0.02f;  // of vectors for places and of the class token, as ViT's

}  // namespace

Result<Value> AddEncoder(Graph& graph, const EncoderOptions& options, Value x, Value segments,
                         Value positions) {
  const int64_t width = options.block.width;
  if (options.layers < 1)
    return Status::Invalid("needs at least one layer, not " + std::to_string(options.layers));
  const bool class_token =
      options.pool == EncoderOptions::Pool::kClassToken && !options.per_position;
  Rotary rotary;
  if (options.positions == EncoderOptions::Positions::kLearned) {
    const PositionEmbedding places(graph.shape(positions)[1], width, kInitSd);
    LOCKSTEP_TRY_ASSIGN(const Value where, Apply(graph, "positions", places, positions));
    LOCKSTEP_TRY_ASSIGN(x, graph.Add(Sum(), {x, where}));
  }
  if (class_token) {
    LOCKSTEP_TRY_ASSIGN(const Value token, graph.AddParameter("class_token", {1, width},
                                                              Init::Normal(kInitSd), Decay::kNo));
    LOCKSTEP_TRY_ASSIGN(x, AddTokenInFront(graph, x, token));
    LOCKSTEP_TRY_ASSIGN(segments, AddSegmentInFront(graph, segments));
  }
  if (options.positions == EncoderOptions::Positions::kRotary) {
    if (class_token) {  // at the place of the first
      LOCKSTEP_TRY_ASSIGN(positions, AddSegmentInFront(graph, positions));
    }
    if (options.block.heads < 1)
      return Status::Invalid("needs heads, not " + std::to_string(options.block.heads));
    LOCKSTEP_TRY_ASSIGN(rotary,
                        MakeRotary(graph, positions, width / options.block.heads, options.theta));
  }
  LOCKSTEP_TRY_ASSIGN(x, Apply(graph, "dropout", Dropout(options.dropout), x));
  const AttentionValues values{.segments = segments, .rotary = rotary};
  for (int64_t i = 0; i < options.layers; ++i) {
    LOCKSTEP_TRY_ASSIGN(
        x, Apply(graph, "layers." + std::to_string(i), TransformerBlock(options.block, values), x));
  }
  if (options.block.norm_first) {
    LOCKSTEP_TRY_ASSIGN(
        x, ApplyTransformerNorm(graph, "norm", options.block.norm, options.block.eps, x));
  }
  if (class_token) {
    LOCKSTEP_TRY_ASSIGN(x, AddFirstToken(graph, x));
  } else if (!options.per_position) {
    LOCKSTEP_TRY_ASSIGN(x, AddTokenMean(graph, x, segments));
  }
  return Apply(graph, "head", Linear(options.outputs), x);
}

Result<Value> TransformerEncoder::Build(Graph& graph, Value x) const {
  const int64_t width = options_.encoder.block.width;
  if (options_.vocabulary > 0) {
    LOCKSTEP_TRY_ASSIGN(const Places places, PlacesOf(graph, x, {.padded = options_.padded}));
    const Embedding embedding(options_.vocabulary, width, {.padded = options_.padded});
    LOCKSTEP_TRY_ASSIGN(x, Apply(graph, "embedding", embedding, x));
    return AddEncoder(graph, options_.encoder, x, places.segments, places.positions);
  }
  const Shape& shape = graph.shape(x);
  if (shape.rank() != 3)
    return Status::Invalid("takes a series (batch, steps, numbers), not " + shape.ToString());
  LOCKSTEP_TRY_ASSIGN(const Value positions, AddPositions(graph, x));
  LOCKSTEP_TRY_ASSIGN(x, Apply(graph, "embedding", Linear(width), x));
  return AddEncoder(graph, options_.encoder, x, {}, positions);
}

Result<Value> Vit::Build(Graph& graph, Value x) const {
  const Shape& shape = graph.shape(x);
  const int64_t patch = options_.patch;
  if (shape.rank() != 4)
    return Status::Invalid("takes pictures (batch, height, width, channels), not " +
                           shape.ToString());
  if (options_.encoder.per_position)
    return Status::Invalid("says what a picture is, not what each of its patches is");
  if (patch < 1 || shape[1] % patch != 0 || shape[2] % patch != 0) {
    const std::string side = std::to_string(patch);
    return Status::Invalid("pictures of " + std::to_string(shape[1]) + " x " +
                           std::to_string(shape[2]) + " pixels are not divided by patches of " +
                           side + " x " + side);
  }
  LOCKSTEP_TRY_ASSIGN(
      x, Apply(graph, "conv_proj",
               Conv2d(options_.encoder.block.width, {.kernel = patch, .stride = patch}), x));
  LOCKSTEP_TRY_ASSIGN(x, AddPixelsAsTokens(graph, x));
  LOCKSTEP_TRY_ASSIGN(const Value positions, AddPositions(graph, x));
  return AddEncoder(graph, options_.encoder, x, {}, positions);
}

}  // namespace lockstep
