#include "models/recurrent_net.h"

#include "layers/dropout.h"
#include "layers/linear.h"
#include "layers/recurrent/gru.h"
#include "layers/recurrent/last_step.h"
#include "layers/recurrent/lstm.h"
#include "layers/sequence/embedding.h"
#include "layers/sequence/places.h"

namespace lockstep::inline v0_1 {

Result<Value> RecurrentNet::Build(Graph& graph, Value x) const {
  const RecurrentNetOptions& o = options_;
  const int64_t width = o.embedding > 0 ? o.embedding : o.hidden;
  const Embedding embedding(o.vocabulary, width, {.padded = o.padded});
  Value segments;
  if (o.vocabulary > 0) {
    if (o.padded) {
      LOCKSTEP_TRY_ASSIGN(const Places places, PlacesOf(graph, x, {.padded = true}));
      segments = places.segments;
    }
    LOCKSTEP_TRY_ASSIGN(x, Apply(graph, "embedding", embedding, x));
  }
  const RecurrentOptions recurrent{.layers = o.layers,
                                   .bidirectional = o.bidirectional,
                                   .dropout = o.dropout,
                                   .norm = o.norm,
                                   .segments = segments};
  if (o.cell == ops::RecurrentCell::kLstm) {
    LOCKSTEP_TRY_ASSIGN(x, Apply(graph, "rnn", Lstm(o.hidden, recurrent), x));
  } else {
    LOCKSTEP_TRY_ASSIGN(x, Apply(graph, "rnn", Gru(o.hidden, recurrent), x));
  }
  if (!o.every_step) {
    LOCKSTEP_TRY_ASSIGN(
        x, Apply(graph, "last", LastStep({.bidirectional = o.bidirectional, .segments = segments}),
                 x));
  }
  LOCKSTEP_TRY_ASSIGN(x, Apply(graph, "dropout", Dropout(o.dropout), x));
  if (!o.tie_head) return Apply(graph, "head", Linear(o.outputs), x);
  LOCKSTEP_TRY_ASSIGN(
      const Value weight,
      graph.AddParameter("embedding.weight", {o.vocabulary, width}, Init{}, Decay::kYes));
  return AddProduct(graph, x, weight);
}

}  // namespace lockstep
