// Multi-head attention (torch.nn.MultiheadAttention). Vaswani and others, "Attention is all you
// need", 2017; heads of keys that are shared: Ainslie and others, "GQA", 2023.
#ifndef LOCKSTEP_LAYERS_ATTENTION_MULTI_HEAD_ATTENTION_H_
#define LOCKSTEP_LAYERS_ATTENTION_MULTI_HEAD_ATTENTION_H_

#include <cstdint>
#include <string>
#include <utility>

#include "engine/layer.h"
#include "layers/attention/rotary.h"

namespace lockstep::inline v0_1 {

struct MultiHeadAttentionOptions {
  int64_t heads = 8;      // divides the width
  int64_t key_heads = 0;  // heads of keys and values, each shared by heads / key_heads; 0: heads
  bool causal = false;    // no token sees a later one
  double dropout = 0.0;   // of the weights of attention
  bool bias = true;
  // Deviation of the normal distributions that weights begin from; 0: as PyTorch's, uniform. Of
  // the projection to the output apart; 0: as the others. Biases begin at 0.
  float init_sd = 0.0f, out_init_sd = 0.0f;
};

// What attention reads beside x. Of the graph that the layer is built in: whoever builds it makes
// the layer then and there. All may be left out.
struct AttentionValues {
  Value segments{};         // of x, see Places; where left out each row is one text
  Value memory{};           // (B, S, width): what is attended to; where left out x itself
  Value memory_segments{};  // of memory
  Rotary rotary{};          // not with memory
};

// x (B, T, width) -> y of the same shape. Parameters, with D = width / heads: in_proj_weight
// ((heads + 2 key_heads) D, width), in_proj_bias, out_proj.weight (width, width), out_proj.bias.
class MultiHeadAttention final : public Layer {
 public:
  explicit MultiHeadAttention(MultiHeadAttentionOptions options = {}, AttentionValues values = {})
      : options_(options), values_(std::move(values)) {}

  std::string kind() const override { return "MultiheadAttention"; }
  Result<Value> Build(Graph& graph, Value x) const override;

 private:
  MultiHeadAttentionOptions options_;
  AttentionValues values_;
};

}  // namespace lockstep

#endif  // LOCKSTEP_LAYERS_ATTENTION_MULTI_HEAD_ATTENTION_H_
