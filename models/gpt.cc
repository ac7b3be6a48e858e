#include "models/gpt.h"

#include <cmath>

#include "layers/arithmetic.h"
#include "layers/dropout.h"
#include "layers/linear.h"
#include "layers/sequence/embedding.h"

namespace lockstep::inline v0_1 {
namespace {

constexpr float kInitSd = 0.02f;

}  // namespace

Result<Value> Gpt::Build(Graph& graph, Value tokens) const {
  const GptOptions& o = options_;
  if (o.layers < 1 || o.context < 1 || o.heads < 1 || o.width < 1) {
    return Status::Invalid("needs at least one layer, one head, a width and a context, not " +
                           std::to_string(o.layers) + ", " + std::to_string(o.heads) + ", " +
                           std::to_string(o.width) + " and " + std::to_string(o.context));
  }
  LOCKSTEP_TRY_ASSIGN(const Places places, PlacesOf(graph, tokens, o.places));
  const int64_t room = graph.options().cache_tokens;
  const int64_t length = room > 0 ? room : graph.shape(tokens)[1];
  if (length > o.context) {
    return Status::Invalid("texts of " + std::to_string(length) +
                           " tokens are longer than the context of " + std::to_string(o.context));
  }

  const Embedding wte(o.vocabulary, o.width, {.init_sd = kInitSd, .padded = o.places.padded});
  LOCKSTEP_TRY_ASSIGN(Value x, Apply(graph, "wte", wte, tokens));
  Rotary rotary;
  if (o.positions == GptOptions::Positions::kRotary) {
    LOCKSTEP_TRY_ASSIGN(rotary, MakeRotary(graph, places.positions, o.width / o.heads, o.theta));
  } else {
    const PositionEmbedding wpe(o.context, o.width, kInitSd);
    LOCKSTEP_TRY_ASSIGN(const Value where, Apply(graph, "wpe", wpe, places.positions));
    LOCKSTEP_TRY_ASSIGN(x, graph.Add(Sum(), {x, where}));
  }
  LOCKSTEP_TRY_ASSIGN(x, Apply(graph, "drop", Dropout(o.dropout), x));

  const TransformerBlockOptions block{
      .width = o.width,
      .heads = o.heads,
      .key_heads = o.key_heads,
      .feed_forward = o.feed_forward > 0 ? o.feed_forward : 4 * o.width,
      .norm = o.norm,
      .eps = o.eps,
      .norm_first = o.norm_first,
      .activation = o.activation,
      .causal = true,
      .dropout = o.dropout,
      .attention_dropout = o.attention_dropout,
      .bias = o.bias,
      .recomputed = o.recomputed,
      .init_sd = kInitSd,
      .residual_init_sd = kInitSd / std::sqrt(2.0f * static_cast<float>(o.layers))};
  const AttentionValues values{.segments = places.segments, .rotary = rotary};
  for (int64_t i = 0; i < o.layers; ++i) {
    LOCKSTEP_TRY_ASSIGN(x,
                        Apply(graph, "h." + std::to_string(i), TransformerBlock(block, values), x));
  }
  // Behind blocks that end with a norm another one would do nothing new.
  if (o.norm_first) {
    LOCKSTEP_TRY_ASSIGN(x, ApplyTransformerNorm(graph, "ln_f", o.norm, o.eps, x));
  }

  if (!o.tie_head) {
    return Apply(
        graph, "lm_head",
        Linear(o.vocabulary,
               {.bias = false, .init = LinearOptions::WeightInit::kNormal, .init_scale = kInitSd}),
        x);
  }
  LOCKSTEP_TRY_ASSIGN(const Value weight, graph.AddParameter("wte.weight", {o.vocabulary, o.width},
                                                             Init::Normal(kInitSd), Decay::kYes));
  Graph::Scope scope(graph, "lm_head", "Linear", this, graph.shape(x));
  LOCKSTEP_TRY(scope.status());
  scope.SetOutput(graph.shape(x).WithChannels(o.vocabulary));
  return AddProduct(graph, x, weight);
}

GptOptions GptNano(int64_t vocabulary) {
  return {.vocabulary = vocabulary, .context = 64, .layers = 4, .heads = 4, .width = 128};
}

GptOptions GptMini(int64_t vocabulary) {
  return {.vocabulary = vocabulary, .context = 256, .layers = 6, .heads = 6, .width = 384};
}

}  // namespace lockstep
