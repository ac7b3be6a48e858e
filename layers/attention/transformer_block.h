// A block of a transformer: attention, attention to a memory where there is one, and a
// position-wise network, each beside a shortcut (torch.nn.TransformerEncoderLayer, and
// TransformerDecoderLayer where there is a memory). Vaswani and others, "Attention is all you
// need", 2017; the norm in front: Xiong and others, "On layer normalization in the transformer
// architecture", 2020.
#ifndef LOCKSTEP_LAYERS_ATTENTION_TRANSFORMER_BLOCK_H_
#define LOCKSTEP_LAYERS_ATTENTION_TRANSFORMER_BLOCK_H_

#include <cstdint>
#include <string>
#include <utility>

#include "engine/layer.h"
#include "layers/attention/multi_head_attention.h"

namespace lockstep::inline v0_1 {

struct TransformerBlockOptions {
  enum class Norm { kLayer, kRms };
  enum class Activation { kGelu, kGeluTanh, kRelu, kSilu, kSwiGlu };

  int64_t width = 512;          // of x
  int64_t heads = 8;            // see MultiHeadAttentionOptions
  int64_t key_heads = 0;        // likewise
  int64_t feed_forward = 2048;  // width within the position-wise network
  Norm norm = Norm::kLayer;
  double eps = 1e-5;       // of the norms
  bool norm_first = true;  // in front of attention and network; else behind the sums
  Activation activation = Activation::kGelu;
  bool causal = false;             // no token sees a later one of x; of a memory it sees all
  double dropout = 0.0;            // of what is added to the shortcuts, and behind the activation
  double attention_dropout = 0.0;  // of the weights of attention
  bool bias = true;                // of products; LayerNorm has its own
  // What a block computes for its own backward pass is computed again, not held: see
  // Graph::Recomputed. Less memory, more time, the same bits.
  bool recomputed = false;
  // Deviation of the normal distributions that weights begin from, of those that end a shortcut's
  // side apart; biases begin at 0 then. 0: as PyTorch's.
  float init_sd = 0.0f, residual_init_sd = 0.0f;
};

// x (B, T, width) -> y of the same shape. Parameters by PyTorch's names: self_attn (and
// multihead_attn, of the memory), linear1, linear2, norm1, norm2 (and norm3). With SwiGLU linear1
// has 2 feed_forward outputs, the gates first.
class TransformerBlock final : public Layer {
 public:
  // `values`: as in MultiHeadAttention. Where there is a memory, x is still attended to first.
  explicit TransformerBlock(TransformerBlockOptions options = {}, AttentionValues values = {})
      : options_(options), values_(std::move(values)) {}

  std::string kind() const override {
    return values_.memory.valid() ? "TransformerDecoderLayer" : "TransformerEncoderLayer";
  }
  Result<Value> Build(Graph& graph, Value x) const override;

 private:
  Result<Value> Normed(Graph& graph, const std::string& name, Value x) const;
  Result<Value> Attend(Graph& graph, const std::string& name, const AttentionValues& values,
                       bool causal, Value x) const;
  Result<Value> FeedForward(Graph& graph, Value x) const;
  template <class Branch>
  Result<Value> WithShortcut(Graph& graph, int number, Value x, Branch&& branch) const;

  TransformerBlockOptions options_;
  AttentionValues values_;
};

// The norm that a block has, for what stands behind the last one.
Result<Value> ApplyTransformerNorm(Graph& graph, const std::string& name,
                                   TransformerBlockOptions::Norm norm, double eps, Value x);

}  // namespace lockstep

#endif  // LOCKSTEP_LAYERS_ATTENTION_TRANSFORMER_BLOCK_H_
