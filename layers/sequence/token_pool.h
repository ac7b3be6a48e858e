// From a row of vectors to one: their mean, or a vector of its own that is put in front of them,
// the class token (Devlin and others, "BERT", 2018; Dosovitskiy and others, "An image is worth
// 16x16 words", 2020).
#ifndef LOCKSTEP_LAYERS_SEQUENCE_TOKEN_POOL_H_
#define LOCKSTEP_LAYERS_SEQUENCE_TOKEN_POOL_H_

#include "engine/base/status.h"
#include "engine/plan/graph.h"

namespace lockstep {

// x (B, T, C), segments as in Places or nothing -> y (B, C), the mean over what is no padding; of a
// row that is all padding zeros.
Result<Value> AddTokenMean(Graph& graph, Value x, Value segments = {});

// x (B, T, C), token (1, C), a parameter -> y (B, T + 1, C) with the token in front of each row.
Result<Value> AddTokenInFront(Graph& graph, Value x, Value token);
// The segments of that: the token belongs to text 0. Nothing stays nothing.
Result<Value> AddSegmentInFront(Graph& graph, Value segments);
// x (B, T, C) -> y (B, C), the first of each row.
Result<Value> AddFirstToken(Graph& graph, Value x);

}  // namespace lockstep

#endif  // LOCKSTEP_LAYERS_SEQUENCE_TOKEN_POOL_H_
