// layers/attention/transformer_block.cc — for each f of attention, attention to the memory (where
// there is one) and the position-wise network:
//   norm_first   x = x + dropout(f(norm(x)))
//   else         x = norm(x + dropout(f(x)))
//   network(x) = linear2(dropout(activation(linear1(x))))
#include "layers/attention/transformer_block.h"

#include <optional>

#include "layers/activation.h"
#include "layers/arithmetic.h"
#include "layers/dropout.h"
#include "layers/linear.h"
#include "layers/norm/layer_norm.h"
#include "layers/norm/rms_norm.h"
#include "layers/swiglu.h"

namespace lockstep::inline v0_1 {
namespace {

const char* NameOf(TransformerBlockOptions::Activation activation) {
  switch (activation) {
    case TransformerBlockOptions::Activation::kGelu:
      return "gelu";
    case TransformerBlockOptions::Activation::kGeluTanh:
      return "gelu_tanh";
    case TransformerBlockOptions::Activation::kRelu:
      return "relu";
    case TransformerBlockOptions::Activation::kSilu:
      return "silu";
    case TransformerBlockOptions::Activation::kSwiGlu:
      return "swiglu";
  }
  LOCKSTEP_CHECK(false, "every activation has a name");
}

}  // namespace

Result<Value> ApplyTransformerNorm(Graph& graph, const std::string& name,
                                   TransformerBlockOptions::Norm norm, double eps, Value x) {
  if (norm == TransformerBlockOptions::Norm::kRms)
    return Apply(graph, name, RmsNorm({.eps = eps}), x);
  return Apply(graph, name, LayerNorm({.eps = eps}), x);
}

Result<Value> TransformerBlock::Normed(Graph& graph, const std::string& name, Value x) const {
  return ApplyTransformerNorm(graph, name, options_.norm, options_.eps, x);
}

Result<Value> TransformerBlock::Attend(Graph& graph, const std::string& name,
                                       const AttentionValues& values, bool causal, Value x) const {
  return Apply(graph, name,
               MultiHeadAttention({.heads = options_.heads,
                                   .key_heads = options_.key_heads,
                                   .causal = causal,
                                   .dropout = options_.attention_dropout,
                                   .bias = options_.bias,
                                   .init_sd = options_.init_sd,
                                   .out_init_sd = options_.residual_init_sd},
                                  values),
               x);
}

Result<Value> TransformerBlock::FeedForward(Graph& graph, Value x) const {
  using Activation = TransformerBlockOptions::Activation;
  const auto linear = [&](float sd) {
    LinearOptions options{.bias = options_.bias};
    if (sd > 0.0f) options.init = LinearOptions::WeightInit::kNormal, options.init_scale = sd;
    return options;
  };
  const bool gated = options_.activation == Activation::kSwiGlu;
  LOCKSTEP_TRY_ASSIGN(
      Value y, Apply(graph, "linear1",
                     Linear((gated ? 2 : 1) * options_.feed_forward, linear(options_.init_sd)), x));
  const auto activate = [&]() -> Result<Value> {
    switch (options_.activation) {
      case Activation::kGelu:
        return Apply(graph, "activation", Gelu(), y);
      case Activation::kGeluTanh:
        return Apply(graph, "activation", Gelu(GeluApproximation::kTanh), y);
      case Activation::kRelu:
        return Apply(graph, "activation", Relu(), y);
      case Activation::kSilu:
        return Apply(graph, "activation", Silu(), y);
      case Activation::kSwiGlu:
        return Apply(graph, "activation", SwiGlu(), y);
    }
    LOCKSTEP_CHECK(false, "every activation is there");
  };
  LOCKSTEP_TRY_ASSIGN(y, activate());
  LOCKSTEP_TRY_ASSIGN(y, Apply(graph, "dropout", Dropout(options_.dropout), y));
  const float sd = options_.residual_init_sd > 0.0f ? options_.residual_init_sd : options_.init_sd;
  return Apply(graph, "linear2", Linear(options_.width, linear(sd)), y);
}

template <class Branch>
Result<Value> TransformerBlock::WithShortcut(Graph& graph, int number, Value x,
                                             Branch&& branch) const {
  const std::string norm = "norm" + std::to_string(number);
  Value y = x;
  if (options_.norm_first) {
    LOCKSTEP_TRY_ASSIGN(y, Normed(graph, norm, x));
  }
  LOCKSTEP_TRY_ASSIGN(y, branch(y));
  LOCKSTEP_TRY_ASSIGN(
      y, Apply(graph, "dropout" + std::to_string(number), Dropout(options_.dropout), y));
  LOCKSTEP_TRY_ASSIGN(y, graph.Add(Sum(), {y, x}));
  if (options_.norm_first) return y;
  return Normed(graph, norm, y);
}

Result<Value> TransformerBlock::Build(Graph& graph, Value x) const {
  const Shape& shape = graph.shape(x);
  if (shape.rank() != 3 || shape.channels() != options_.width) {
    return Status::Invalid("takes (batch, tokens, " + std::to_string(options_.width) + "), not " +
                           shape.ToString());
  }
  if (options_.feed_forward < 1) {
    return Status::Invalid("a position-wise network of width " +
                           std::to_string(options_.feed_forward) + " holds nothing");
  }
  // What no shape tells.
  graph.SetTrait("transformer_block", std::string(options_.norm_first ? "norm_first " : "") +
                                          NameOf(options_.activation));
  std::optional<Graph::Recomputed> region;
  if (options_.recomputed) region.emplace(graph);
  int number = 0;
  LOCKSTEP_TRY_ASSIGN(x, WithShortcut(graph, ++number, x, [&](Value y) {
                        AttentionValues own{.segments = values_.segments, .rotary = values_.rotary};
                        return Attend(graph, "self_attn", own, options_.causal, y);
                      }));
  if (values_.memory.valid()) {
    LOCKSTEP_TRY_ASSIGN(x, WithShortcut(graph, ++number, x, [&](Value y) {
                          const AttentionValues other{.segments = values_.segments,
                                                      .memory = values_.memory,
                                                      .memory_segments = values_.memory_segments};
                          return Attend(graph, "multihead_attn", other, /*causal=*/false, y);
                        }));
  }
  return WithShortcut(graph, ++number, x, [&](Value y) { return FeedForward(graph, y); });
}

}  // namespace lockstep
