// From one text to another: a transformer with an encoder that reads the source and a decoder that
// writes the target, one token after the other. Vaswani and others, "Attention is all you need",
// 2017; norms in front, as blocks have them by default.
#ifndef LOCKSTEP_MODELS_SEQ2SEQ_H_
#define LOCKSTEP_MODELS_SEQ2SEQ_H_

#include <cstdint>

#include "engine/model.h"
#include "layers/attention/transformer_block.h"

namespace lockstep::inline v0_1 {

struct Seq2SeqOptions {
  int64_t source_vocabulary = 0, target_vocabulary = 0;
  int64_t source_length = 0, target_length = 0;  // tokens of a row; shorter texts are padded
  TransformerBlockOptions block{};               // causal is the decoder's own affair
  int64_t encoder_layers = 6, decoder_layers = 6;
};

// Inputs "source" i32 (B, source_length), "written" i32 (B, target_length): the target behind a
// token of its own that begins it, each token seeing those up to itself. Output "y" (B,
// target_length, target_vocabulary): scores of the token that comes next. Where `loss`, an input
// "target" i32 (B, target_length) and the cross entropy against it. Padding is kPaddingToken in
// source and written, -100 in target. Parameters: source, target (embeddings), source_positions,
// target_positions, encoder.0, ..., encoder_norm, decoder.0, ..., decoder_norm, head.
class Seq2Seq final : public Model {
 public:
  explicit Seq2Seq(const Seq2SeqOptions& options, bool loss = true)
      : options_(options), loss_(loss) {}

  Status Build(Graph& graph) const override;

 private:
  Seq2SeqOptions options_;
  bool loss_;
};

}  // namespace lockstep

#endif  // LOCKSTEP_MODELS_SEQ2SEQ_H_
