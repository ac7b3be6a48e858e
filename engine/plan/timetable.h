// When the operations of a network run, and which of them run twice.
//
// Time runs forward through the operations and backward through them in reverse. What a region
// (Graph::Recomputed) computes for its own Backward is not held until then: right before the first
// Backward of the region, what is needed runs forward again, in order, from what was held.
//   Forward of operation i at time i,  then ..., Forward of i again, ..., Backward of i, ...
// That takes the memory of one region at a time, and the time of these operations once more. (Chen,
// Xu, Zhang, Guestrin, "Training deep nets with sublinear memory cost", 2016.)
//
// A value is held from Forward on, and not computed again, if
//   it is computed outside of a region, or is read outside of its own, or is an output;
//   it lies in the memory of one that is held (a view);
//   its operation cannot run twice: a layer's that has states, which would change twice; one that
//   is given moments, in whose memory it works.
#ifndef LOCKSTEP_ENGINE_PLAN_TIMETABLE_H_
#define LOCKSTEP_ENGINE_PLAN_TIMETABLE_H_

#include <cstddef>
#include <span>
#include <vector>

#include "engine/plan/gradient_flow.h"
#include "engine/plan/graph.h"

namespace lockstep::inline v0_1 {

class Timetable {
 public:
  Timetable() = default;
  // After fusion. `views_share`: a view lies in the memory of what it is a view of.
  Timetable(const Graph& graph, const GradientFlow& flow, bool views_share);

  int forward(int node) const { return node; }
  int again(int node) const { return again_[static_cast<size_t>(node)]; }  // -1: it does not
  int backward(int node) const { return backward_[static_cast<size_t>(node)]; }
  int end() const { return end_; }  // after everything

  bool held(Value value) const { return held_[static_cast<size_t>(value.id)]; }
  // What runs forward again right before Backward of `node`, in this order.
  std::span<const size_t> before(size_t node) const { return before_[node]; }

 private:
  void FindHeld(const Graph& graph, bool views_share);
  // By node: whether it computes something that is not held and is needed again.
  std::vector<char> FindRepeated(const Graph& graph, const GradientFlow& flow) const;

  std::vector<char> held_;             // by value
  std::vector<int> again_, backward_;  // by node
  std::vector<std::vector<size_t>> before_;
  int end_ = 0;
};

}  // namespace lockstep

#endif  // LOCKSTEP_ENGINE_PLAN_TIMETABLE_H_
