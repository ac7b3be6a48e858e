#include "models/seq2seq.h"

#include <string>

#include "layers/arithmetic.h"
#include "layers/dropout.h"
#include "layers/linear.h"
#include "layers/loss/cross_entropy.h"
#include "layers/sequence/embedding.h"
#include "layers/sequence/places.h"

namespace lockstep::inline v0_1 {
namespace {

constexpr float kInitSd = 0.02f;  // of embeddings

struct Embedded {
  Value x{}, segments{};
};

// An input of tokens as vectors with their positions.
Result<Embedded> Embed(Graph& graph, const std::string& input, const std::string& name,
                       int64_t length, int64_t vocabulary, const TransformerBlockOptions& block) {
  LOCKSTEP_TRY_ASSIGN(const Value tokens,
                      graph.AddInput(input, {graph.batch(), length}, DType::kI32));
  LOCKSTEP_TRY_ASSIGN(const Places places, PlacesOf(graph, tokens, {.padded = true}));
  const Embedding embedding(vocabulary, block.width, {.init_sd = kInitSd});
  const PositionEmbedding positions(length, block.width, kInitSd);
  LOCKSTEP_TRY_ASSIGN(Value x, Apply(graph, name, embedding, tokens));
  LOCKSTEP_TRY_ASSIGN(const Value where,
                      Apply(graph, name + "_positions", positions, places.positions));
  LOCKSTEP_TRY_ASSIGN(x, graph.Add(Sum(), {x, where}));
  LOCKSTEP_TRY_ASSIGN(x, Apply(graph, name + "_dropout", Dropout(block.dropout), x));
  return Embedded{x, places.segments};
}

// Blocks NAME.0, NAME.1, ..., and the norm behind them.
Result<Value> Blocks(Graph& graph, const std::string& name, int64_t layers,
                     const TransformerBlockOptions& block, const AttentionValues& values, Value x) {
  for (int64_t i = 0; i < layers; ++i) {
    LOCKSTEP_TRY_ASSIGN(
        x, Apply(graph, name + "." + std::to_string(i), TransformerBlock(block, values), x));
  }
  if (!block.norm_first) return x;
  return ApplyTransformerNorm(graph, name + "_norm", block.norm, block.eps, x);
}

}  // namespace

Status Seq2Seq::Build(Graph& graph) const {
  const Seq2SeqOptions& o = options_;
  if (o.source_length < 1 || o.target_length < 1) {
    return Status::Invalid("needs texts of at least one token, not of " +
                           std::to_string(o.source_length) + " and " +
                           std::to_string(o.target_length));
  }
  TransformerBlockOptions block = o.block;
  LOCKSTEP_TRY_ASSIGN(const Embedded source, Embed(graph, "source", "source", o.source_length,
                                                   o.source_vocabulary, block));
  LOCKSTEP_TRY_ASSIGN(const Embedded target, Embed(graph, "written", "target", o.target_length,
                                                   o.target_vocabulary, block));
  block.causal = false;
  LOCKSTEP_TRY_ASSIGN(const Value memory, Blocks(graph, "encoder", o.encoder_layers, block,
                                                 {.segments = source.segments}, source.x));
  block.causal = true;
  LOCKSTEP_TRY_ASSIGN(
      const Value x,
      Blocks(graph, "decoder", o.decoder_layers, block,
             {.segments = target.segments, .memory = memory, .memory_segments = source.segments},
             target.x));
  LOCKSTEP_TRY_ASSIGN(const Value y, Apply(graph, "head", Linear(o.target_vocabulary), x));
  LOCKSTEP_TRY(graph.AddOutput("y", y));
  return loss_ ? AddLoss(graph, "target", CrossEntropyLoss(), y) : Status::Ok();
}

}  // namespace lockstep
