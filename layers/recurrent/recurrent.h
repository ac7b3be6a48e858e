// What Lstm and Gru have in common: layers one above the other, in one direction or both.
#ifndef LOCKSTEP_LAYERS_RECURRENT_RECURRENT_H_
#define LOCKSTEP_LAYERS_RECURRENT_RECURRENT_H_

#include <cstdint>
#include <string>

#include "engine/layer.h"
#include "engine/ops/recurrent.h"

namespace lockstep::inline v0_1 {

struct RecurrentOptions {
  int64_t layers = 1;
  bool bidirectional = false;  // a second net from the last step to the first, beside the first
  bool bias = true;            // with layer norm there are none: the norms have their own
  double dropout = 0.0;        // of what one layer gives the next
  // Layer norm in the recurrence: Ba, Kiros, Hinton, "Layer normalization", 2016; see
  // engine/ops/recurrent.h. kBatch is refused: its statistics would mix the samples of a batch at
  // each step, and for steps later than any in training there would be none.
  enum class Norm : uint8_t { kNone, kLayer, kBatch } norm = Norm::kNone;
  double eps = 1e-5;  // of the norms
  // Places::segments (layers/sequence/places.h), i32 (B, T), or nothing: each row is one text
  // without padding. A text then has the bits that it has alone, and padding gives zeros; in both
  // directions.
  Value segments{};
};

// x (B, T, C) -> y (B, T, H), or (B, T, 2 H) where bidirectional: the states at each step, of the
// forward direction first. In a graph that goes on with one text (PlanOptions::cache_tokens) x is
// (tokens, 1, C), and the state is kept from one step to the next; bidirectional is refused there.
//
// Parameters, for each layer l from 0 and each direction, the second with "_reverse" behind: G
// gates, 4 of an LSTM in the order i, f, g, o, 3 of a GRU in the order r, z, n
//   weight_ih_l0 (G H, C), weight_hh_l0 (G H, H), bias_ih_l0 (G H), bias_hh_l0 (G H)
// and with layer norm, instead of the biases,
//   norm_ih_l0.weight, norm_ih_l0.bias (G H), norm_hh_l0.weight, norm_hh_l0.bias (G H),
//   norm_cell_l0.weight, norm_cell_l0.bias (H) of an LSTM
// All but the norms' begin uniform on +-1/sqrt(H), as in PyTorch.
class RecurrentLayer : public Layer {
 public:
  Result<Value> Build(Graph& graph, Value x) const final;

 protected:
  RecurrentLayer(ops::RecurrentCell cell, int64_t hidden, const RecurrentOptions& options)
      : cell_(cell), hidden_(hidden), options_(options) {}

 private:
  Status CheckOptions(const Graph& graph) const;
  Result<Value> BuildDirection(Graph& graph, Value x, const std::string& suffix,
                               bool reverse) const;

  ops::RecurrentCell cell_;
  int64_t hidden_;
  RecurrentOptions options_;
};

}  // namespace lockstep

#endif  // LOCKSTEP_LAYERS_RECURRENT_RECURRENT_H_
