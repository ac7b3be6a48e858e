#include "engine/tensor/shape.h"

#include <limits>

namespace lockstep::inline v0_1 {

void Shape::Refuse() const {
  for (int i = 0; i < rank_; ++i) {
    const int64_t extent = dims_[static_cast<size_t>(i)];
    if (extent >= 0) continue;
    throw ArgumentFailure("the shape " + ToString() + " has the extent " + std::to_string(extent) +
                          ", it must be 0 or more");
  }
  throw ArgumentFailure("the shape " + ToString() + " has more elements than can be counted, " +
                        std::to_string(std::numeric_limits<int64_t>::max()));
}

void Shape::RefuseRank(size_t rank) {
  throw ArgumentFailure("a shape has at most " + std::to_string(kMaxRank) + " extents, not " +
                        std::to_string(rank));
}

}  // namespace lockstep
