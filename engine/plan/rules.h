// What is fused: rewrite rules on the graph of a network, each a function of its own. They ask what
// operations declare and know none by name, so a new operation takes part by declaring what it can.
//
//   rule                      before                        after
//   fold a norm               v = product(x)                y = product(x) with scale and shift of
//     (evaluation)            y = affine(v)                 each channel in its epilogue
//   add in the epilogue       v = op(x),  y = v + s         y = op(x, add = s)
//   activate in the epilogue  v = op(x),  y = act(v)        y = op(x, act); y, v = op(x, act)
//                                                           where Backward needs v (GELU, SiLU)
//   moments by the producer   v = product(x)                v, m = product(x), m moments of v
//     (training)              y = norm(v)                   y = norm(v, m): one read of v less
//   head and loss in chunks   v = product(x)                loss(x), which computes v and its
//     (training)              loss(v)                         gradient some rows at a time
//   sums by the last writer   dy = dx of op(y)              dy, and the sums of each cell of it as
//     of a gradient (training)  norm sums over dy             it is finished: one read of dy less
//                             dz = dy act'(v) of op(y)      dz in the place of dy, likewise
//
// Where v of the head is an output of the model besides, training graphs leave that output out.
// None of them changes a bit in training, and only the first does in evaluation (it rounds less).
//
// Not a rule: to apply a norm and its activation where the next product packs its operand, so that
// y is never written. In mlp_deep_b512 (Zen 4, one thread) the pass that it would save takes 2.1 %
// of a step; the product reads that operand in place and would have to pack it (an estimate: 1 %),
// and the weight gradient would have to make y a second time. It may pay where y leaves the caches.
#ifndef LOCKSTEP_ENGINE_PLAN_RULES_H_
#define LOCKSTEP_ENGINE_PLAN_RULES_H_

#include <string>
#include <vector>

#include "engine/plan/graph.h"

namespace lockstep::inline v0_1 {

enum class Fusion {
  kNone,      // every operation by itself: what tests compare with
  kFoldOnly,  // for export
  kAll,
};

// Applies the rules wherever they fit. What was done, one line each: "1 BatchNorm applies 2 ReLU".
Result<std::vector<std::string>> Fuse(Graph& graph, Fusion fusion);

}  // namespace lockstep

#endif  // LOCKSTEP_ENGINE_PLAN_RULES_H_
