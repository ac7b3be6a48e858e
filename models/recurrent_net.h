// Recurrent networks over tokens or series: language models, and classifiers of whole texts.
#ifndef LOCKSTEP_MODELS_RECURRENT_NET_H_
#define LOCKSTEP_MODELS_RECURRENT_NET_H_

#include <cstdint>
#include <string>

#include "engine/layer.h"
#include "layers/recurrent/recurrent.h"

namespace lockstep::inline v0_1 {

struct RecurrentNetOptions {
  ops::RecurrentCell cell = ops::RecurrentCell::kLstm;
  int64_t hidden = 128;
  int64_t layers = 1;
  bool bidirectional = false;
  RecurrentOptions::Norm norm = RecurrentOptions::Norm::kNone;
  double dropout = 0.0;    // between the layers, and in front of the head
  int64_t vocabulary = 0;  // above 0: x is tokens i32 (B, T) below it; 0: series f32 (B, T, C)
  int64_t embedding = 0;   // width of a token's vector; 0: hidden
  bool padded = false;     // tokens may be kPaddingToken, on either side
  bool every_step = true;  // outputs at every step, else of the whole text
  bool tie_head = false;   // the head's weight is the embedding's, and it has no bias
  int64_t outputs = 1;
};

// x -> y (B, T, outputs) where every_step, else (B, outputs), of the state behind the last step but
// for padding (LastStep). Parameters as those of Embedding "embedding", Lstm or Gru "rnn" and
// Linear "head".
class RecurrentNet final : public Layer {
 public:
  explicit RecurrentNet(const RecurrentNetOptions& options) : options_(options) {}

  std::string kind() const override { return "RecurrentNet"; }
  Result<Value> Build(Graph& graph, Value x) const override;

 private:
  RecurrentNetOptions options_;
};

}  // namespace lockstep

#endif  // LOCKSTEP_MODELS_RECURRENT_NET_H_
