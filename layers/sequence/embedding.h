// A learned vector for each id (torch.nn.Embedding): of tokens, and of places within a text.
#ifndef LOCKSTEP_LAYERS_SEQUENCE_EMBEDDING_H_
#define LOCKSTEP_LAYERS_SEQUENCE_EMBEDDING_H_

#include <cstdint>
#include <string>

#include "engine/layer.h"

namespace lockstep::inline v0_1 {

struct EmbeddingOptions {
  float init_sd = 1.0f;  // of the normal distribution that vectors begin from; PyTorch's is 1
  bool padded = true;    // ids may be kPaddingToken: zeros, and no gradient
};

// ids i32 (B, ...) -> y (B, ..., width). Parameter: weight (count, width). An id that is not in
// [0, count) is an error, found before anything is computed. Whoever names the weight again, by
// Graph::AddParameter("NAME.weight", {count, width}, ...), is given the same value: a head that is
// tied to the embedding is AddProduct with it.
class Embedding final : public Layer {
 public:
  Embedding(int64_t count, int64_t width, EmbeddingOptions options = {})
      : count_(count), width_(width), options_(options) {}

  std::string kind() const override { return "Embedding"; }
  Result<Value> Build(Graph& graph, Value ids) const override;

 private:
  int64_t count_, width_;
  EmbeddingOptions options_;
};

// A learned vector for each place. positions i32 (B, T), as PlacesOf gives them, with T at most
// `context` -> y (B, T, width). Parameter: weight (context, width). Where a text goes on
// (PlanOptions::cache_tokens), there must not be room for more than `context` tokens.
class PositionEmbedding final : public Layer {
 public:
  PositionEmbedding(int64_t context, int64_t width, float init_sd = 1.0f)
      : context_(context), width_(width), init_sd_(init_sd) {}

  std::string kind() const override { return "PositionEmbedding"; }
  Result<Value> Build(Graph& graph, Value positions) const override;

 private:
  int64_t context_, width_;
  float init_sd_;
};

}  // namespace lockstep

#endif  // LOCKSTEP_LAYERS_SEQUENCE_EMBEDDING_H_
