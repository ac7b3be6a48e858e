// The fixed blocks that flat arrays of parameters are worked on in. A function of the array's size
// alone, so that sums over blocks have the same bits for any number of threads.
#ifndef LOCKSTEP_ENGINE_OPTIM_FLAT_BLOCKS_H_
#define LOCKSTEP_ENGINE_OPTIM_FLAT_BLOCKS_H_

#include <algorithm>
#include <cstdint>

#include "engine/base/integers.h"
#include "engine/parallel/context.h"

namespace lockstep::inline v0_1 {

// Small enough that a network of a few thousand parameters is one block and never leaves its
// thread, and that a second thread helps as soon as there are two; large enough that handing out a
// block costs nothing beside its memory traffic.
inline constexpr int64_t kFlatBlock = 8192;

constexpr int64_t FlatBlocks(int64_t floats) { return CeilDiv(floats, kFlatBlock); }

// body(block, begin, end) for every block of an array of `floats`, in parallel. `touched`: how many
// floats are read or written for each element.
template <class Body>
void ForFlatBlocks(Context& ctx, int64_t floats, int64_t touched, const Body& body) {
  ctx.For(FlatBlocks(floats), floats * touched, [&](int64_t block) {
    body(block, block * kFlatBlock, std::min(floats, (block + 1) * kFlatBlock));
  });
}

}  // namespace lockstep

#endif  // LOCKSTEP_ENGINE_OPTIM_FLAT_BLOCKS_H_
