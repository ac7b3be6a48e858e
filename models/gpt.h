// Language models of the GPT kind: what comes after each token of a text. Radford and others,
// "Language models are unsupervised multitask learners", 2019 (GPT-2); with rotary positions,
// RMSNorm, SwiGLU and shared heads of keys they are those of Touvron and others, "LLaMA", 2023.
//
//   Network::Bind(ctx, Gpt(GptNano()), CrossEntropyLoss(),
//                 {.input = {12, 64}, .input_dtype = DType::kI32})
#ifndef LOCKSTEP_MODELS_GPT_H_
#define LOCKSTEP_MODELS_GPT_H_

#include <cstdint>
#include <string>

#include "engine/layer.h"
#include "layers/attention/transformer_block.h"
#include "layers/sequence/places.h"

namespace lockstep::inline v0_1 {

struct GptOptions {
  enum class Positions { kLearned, kRotary };

  int64_t vocabulary = 50257;
  int64_t context = 1024;  // tokens of a text at most
  int64_t layers = 12;
  int64_t heads = 12;
  int64_t key_heads = 0;  // 0: heads
  int64_t width = 768;
  int64_t feed_forward = 0;  // 0: 4 width
  TransformerBlockOptions::Norm norm = TransformerBlockOptions::Norm::kLayer;
  double eps = 1e-5;
  bool norm_first = true;
  TransformerBlockOptions::Activation activation = TransformerBlockOptions::Activation::kGeluTanh;
  Positions positions = Positions::kLearned;
  double theta = 10000.0;  // of rotary positions
  double dropout = 0.0;
  double attention_dropout = 0.0;
  bool bias = true;
  bool recomputed = false;  // see TransformerBlockOptions
  bool tie_head = true;     // the head's weight is the embedding's
  PlacesOptions places{};   // whether texts are padded, or several in a row
};

// tokens i32 (B, T), T at most the context -> scores (B, T, vocabulary) of the tokens that come
// next. Parameters: wte, wpe (learned positions), h.0, h.1, ... (TransformerBlock), ln_f, lm_head
// (where it is not tied). Weights begin normal with deviation 0.02, those that end a shortcut's
// side with 0.02 / sqrt(2 layers), biases at 0, as GPT-2's.
class Gpt final : public Layer {
 public:
  explicit Gpt(const GptOptions& options = {}) : options_(options) {}

  std::string kind() const override { return "GPT"; }
  Result<Value> Build(Graph& graph, Value tokens) const override;

 private:
  GptOptions options_;
};

// GPT-2 of 124 million parameters is GptOptions{}. Small ones, for a few thousand characters and
// for a million:
GptOptions GptNano(int64_t vocabulary = 65);  // 4 layers, 4 heads, width 128, context 64
GptOptions GptMini(int64_t vocabulary = 65);  // 6 layers, 6 heads, width 384, context 256

}  // namespace lockstep

#endif  // LOCKSTEP_MODELS_GPT_H_
