// Where each token of a batch stands: which text it belongs to, and how far into it. Layers over
// sequences (attention, embeddings of positions, recurrent layers) take these as values, so that
// short texts may be padded on either side, or packed one behind the other, and each is computed as
// if it were alone.
#ifndef LOCKSTEP_LAYERS_SEQUENCE_PLACES_H_
#define LOCKSTEP_LAYERS_SEQUENCE_PLACES_H_

#include <cstdint>

#include "engine/base/status.h"
#include "engine/plan/graph.h"

namespace lockstep::inline v0_1 {

// The token id of padding: an embedding gives zeros for it, attention neither lets it see nor be
// seen, a recurrent layer carries its state past it, and as a target it is to be kIgnoredTarget.
inline constexpr int32_t kPaddingToken = -1;

struct Places {
  // i32 (B, T): the number of the text within its row, from 0; padding is -1. Stands for nothing
  // where each row is one text without padding.
  Value segments{};
  // i32 (B, T): how many tokens of the same text come before; padding is 0. In a graph that goes on
  // with one text (PlanOptions::cache_tokens), counted from the text's beginning.
  Value positions{};
};

struct PlacesOptions {
  bool padded = false;     // rows may hold kPaddingToken
  int32_t separator = -1;  // a token behind which a new text begins; -1: rows are one text each
};

// Of tokens i32 (B, T).
Result<Places> PlacesOf(Graph& graph, Value tokens, const PlacesOptions& options = {});

}  // namespace lockstep

#endif  // LOCKSTEP_LAYERS_SEQUENCE_PLACES_H_
