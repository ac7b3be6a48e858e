// What stands around the blocks of a transformer. From a row of vectors to one: their mean, or a vector of its own that is put in front of them,
// the class token (Devlin and others, "BERT", 2018; Dosovitskiy and others, "An image is worth
// 16x16 words", 2020).
#ifndef LOCKSTEP_LAYERS_SEQUENCE_TOKEN_POOL_H_
#define LOCKSTEP_LAYERS_SEQUENCE_TOKEN_POOL_H_

#include "engine/base/status.h"
#include "engine/plan/graph.h"

namespace lockstep::inline v0_1 {

// x (B, T, C), segments as in Places or nothing -> y (B, C), the mean over what is no padding; of a
// row that is all padding zeros.
Result<Value> AddTokenMean(Graph& graph, Value x, Value segments = {});

// x (B, T, C), token (1, C), a parameter -> y (B, T + 1, C) with the token in front of each row.
Result<Value> AddTokenInFront(Graph& graph, Value x, Value token);
// The segments of that: the token belongs to text 0. Nothing stays nothing.
Result<Value> AddSegmentInFront(Graph& graph, Value segments);
// x (B, T, C) -> y (B, C), the first of each row.
Result<Value> AddFirstToken(Graph& graph, Value x);

// x (B, H, W, C) -> y (B, H W, C): a picture's pixels as tokens, line by line. A view.
Result<Value> AddPixelsAsTokens(Graph& graph, Value x);
// i32 (B, T) for x (B, T, ...): 0, 1, ..., T - 1 in each row, as PlacesOf gives for tokens.
Result<Value> AddPositions(Graph& graph, Value x);

}  // namespace lockstep

#endif  // LOCKSTEP_LAYERS_SEQUENCE_TOKEN_POOL_H_
