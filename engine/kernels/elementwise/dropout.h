// Dropout: y = keep ? x / (1 - p) : 0.
//
// Element i of the tensor draws word i % 4 of Philox(seed, stream, i / 4) (engine/base/random.h)
// and is kept if word >= p * 2^32. The mask is a pure function of (seed, stream, i): nothing is
// stored, and backward calls the same function with dy for x.
#ifndef LOCKSTEP_ENGINE_KERNELS_ELEMENTWISE_DROPOUT_H_
#define LOCKSTEP_ENGINE_KERNELS_ELEMENTWISE_DROPOUT_H_

#include <cstdint>

namespace lockstep::inline v0_1::kernels {

struct DropoutMask {
  uint64_t seed = 0;
  uint64_t stream = 0;  // another one for every layer and every step
  float p = 0.5f;       // the share that is dropped, in [0, 1]
};

// Elements [begin, end) of y from those of x; both point to the element 0 of their tensor. Any
// range may be processed alone and gives the same result. y may be x. A dropped element is 0
// whatever x held, NaN too. Thread-safe.
void Dropout(const DropoutMask& mask, int64_t begin, int64_t end, const float* x, float* y);

}  // namespace lockstep::kernels

#endif  // LOCKSTEP_ENGINE_KERNELS_ELEMENTWISE_DROPOUT_H_
