// Rotary positions: queries and keys are turned by angles that grow with their position, so that
// what a query makes of a key depends on how far apart they are. Su et al., "RoFormer", 2021.
#ifndef LOCKSTEP_LAYERS_ATTENTION_ROTARY_H_
#define LOCKSTEP_LAYERS_ATTENTION_ROTARY_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "engine/base/status.h"
#include "engine/plan/graph.h"

namespace lockstep::inline v0_1 {

// cos and sin of p theta^(-2i / head_size) for positions p and pairs i, which are elements i and
// i + head_size / 2 of a head. Immutable once made: all layers of a network share one.
class RotaryTable {
 public:
  // REQUIRES: an even head_size.
  RotaryTable(int64_t positions, int64_t head_size, double theta);

  int64_t positions() const { return positions_; }
  int64_t head_size() const { return head_size_; }
  double theta() const { return theta_; }
  const float* cos(int64_t position) const { return values_.data() + position * head_size_; }
  const float* sin(int64_t position) const { return cos(position) + head_size_ / 2; }

 private:
  int64_t positions_, head_size_;
  double theta_;
  std::vector<float> values_;  // (positions, 2, head_size / 2)
};

// What attention that turns its queries and keys is given; a default-made one stands for none.
struct Rotary {
  Value positions{};  // i32 (B, T), as PlacesOf gives them
  std::shared_ptr<const RotaryTable> table{};
};

// For heads of this size, and all positions there can be among `positions`. Heads of odd size are
// an error.
Result<Rotary> MakeRotary(const Graph& graph, Value positions, int64_t head_size,
                          double theta = 10000.0);

// x (B, T, heads head_size + more) with the heads in front turned; the rest stays.
Result<Value> Rotated(Graph& graph, Value x, int64_t heads, const Rotary& rotary);

}  // namespace lockstep

#endif  // LOCKSTEP_LAYERS_ATTENTION_ROTARY_H_
