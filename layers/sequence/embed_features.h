// Features of which some are numbers of categories: each of these is looked up in a table of
// learned vectors of its own, and the others pass (torch.nn.ModuleList of torch.nn.Embedding, and
// torch.cat).
#ifndef LOCKSTEP_LAYERS_SEQUENCE_EMBED_FEATURES_H_
#define LOCKSTEP_LAYERS_SEQUENCE_EMBED_FEATURES_H_

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "engine/layer.h"

namespace lockstep::inline v0_1 {

struct EmbeddingTable {
  int64_t values = 0;  // a feature is a whole number below this, exact in a float
  int64_t width = 0;   // of a vector
};

// x f32 (B, ..., D + E), E = tables.size() -> y (B, ..., D + sum of widths): the first D features,
// then the vectors of the last E, in order. Parameters: "0.weight" (values, width), "1.weight", ...
// Where x is an input of the network, a number that is none of its table (not whole, NaN, out of
// range) is an error that names row and feature, found before anything is computed; where x was
// computed, fractions are cut off and any other counts as the last of its table. The gradient of x
// is 0 at the last E features.
class EmbedFeatures final : public Layer {
 public:
  // Vectors begin from a normal distribution; PyTorch's has the standard deviation 1.
  explicit EmbedFeatures(std::vector<EmbeddingTable> tables, float init_sd = 1.0f)
      : tables_(std::move(tables)), init_sd_(init_sd) {}

  std::string kind() const override { return "EmbedFeatures"; }
  Result<Value> Build(Graph& graph, Value x) const override;

 private:
  std::vector<EmbeddingTable> tables_;
  float init_sd_;
};

}  // namespace lockstep

#endif  // LOCKSTEP_LAYERS_SEQUENCE_EMBED_FEATURES_H_
