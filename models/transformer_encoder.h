// Transformers that read a whole text, series or picture and say what it is, or what each of its
// places is.
#ifndef LOCKSTEP_MODELS_TRANSFORMER_ENCODER_H_
#define LOCKSTEP_MODELS_TRANSFORMER_ENCODER_H_

#include <cstdint>
#include <string>

#include "engine/layer.h"
#include "layers/attention/transformer_block.h"

namespace lockstep::inline v0_1 {

// Blocks with what follows them, which texts, series and pictures share.
struct EncoderOptions {
  enum class Positions { kLearned, kRotary };
  enum class Pool { kMean, kClassToken };  // of what is no padding; or a token of its own in front

  TransformerBlockOptions block{};
  int64_t layers = 6;
  int64_t outputs = 2;
  // Outputs for each place, (B, T, outputs), rather than for each row, (B, outputs): no pool then.
  bool per_position = false;
  Pool pool = Pool::kMean;
  Positions positions = Positions::kLearned;
  double theta = 10000.0;  // of rotary positions
  double dropout = 0.0;    // of the vectors that the first block sees
};

// x f32 (B, T, width), embedded; segments and positions as in Places, segments or nothing. Names
// positions.weight or nothing, class_token (1, width), layers.0, layers.1, ..., norm (where the
// norms stand in front), head.
Result<Value> AddEncoder(Graph& graph, const EncoderOptions& options, Value x, Value segments,
                         Value positions);

struct TransformerEncoderOptions {
  EncoderOptions encoder{};
  int64_t vocabulary = 0;  // of tokens; 0: x is a series of numbers
  bool padded = false;     // tokens may be kPaddingToken
};

// tokens i32 (B, T), or a series f32 (B, T, C) -> scores. Parameters: embedding (an Embedding, or
// a Linear where x is a series), and those of AddEncoder.
class TransformerEncoder final : public Layer {
 public:
  explicit TransformerEncoder(const TransformerEncoderOptions& options) : options_(options) {}

  std::string kind() const override { return "TransformerEncoder"; }
  Result<Value> Build(Graph& graph, Value x) const override;

 private:
  TransformerEncoderOptions options_;
};

struct VitOptions {
  EncoderOptions encoder{.pool = EncoderOptions::Pool::kClassToken};
  int64_t patch = 16;  // height and width of the squares that become tokens
};

// Pictures f32 (B, H, W, C) -> scores (B, outputs). H and W must be multiples of the patch.
// Parameters: conv_proj, and those of AddEncoder. Dosovitskiy and others, "An image is worth 16x16
// words", 2020.
class Vit final : public Layer {
 public:
  explicit Vit(const VitOptions& options) : options_(options) {}

  std::string kind() const override { return "VisionTransformer"; }
  Result<Value> Build(Graph& graph, Value x) const override;

 private:
  VitOptions options_;
};

}  // namespace lockstep

#endif  // LOCKSTEP_MODELS_TRANSFORMER_ENCODER_H_
