// A whole network as plain C++: its inputs, what is computed of them, its outputs and its losses.
//
//   Status Build(Graph& g) const override {
//     LOCKSTEP_TRY_ASSIGN(const Value image, g.AddInput("image", {g.batch(), 28 * 28}));
//     LOCKSTEP_TRY_ASSIGN(const Value age, g.AddInput("age", {g.batch(), 1}));
//     LOCKSTEP_TRY_ASSIGN(const Value seen, Apply(g, "encoder", encoder_, image));
//     LOCKSTEP_TRY_ASSIGN(const Value both, g.Add(Concatenate(), {seen, age}));
//     LOCKSTEP_TRY_ASSIGN(const Value y, Apply(g, "head", head_, both));
//     LOCKSTEP_TRY(g.AddOutput("y", y));
//     return AddLoss(g, "target", BceWithLogitsLoss(), y);
//   }
#ifndef LOCKSTEP_ENGINE_MODEL_H_
#define LOCKSTEP_ENGINE_MODEL_H_

#include "engine/base/status.h"
#include "engine/plan/graph.h"

namespace lockstep::inline v0_1 {

// Thread-compatible. Built once for training and once for evaluation, always to the same inputs,
// outputs and losses.
class Model {
 public:
  virtual ~Model() = default;
  virtual Status Build(Graph& graph) const = 0;
};

}  // namespace lockstep

#endif  // LOCKSTEP_ENGINE_MODEL_H_
