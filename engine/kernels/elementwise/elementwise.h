// Plain elementwise operations and conversions. All arrays hold n elements. An output may be one of
// its inputs of the same type; otherwise nothing overlaps. Any range may be processed alone.
// Thread-safe.
#ifndef LOCKSTEP_ENGINE_KERNELS_ELEMENTWISE_ELEMENTWISE_H_
#define LOCKSTEP_ENGINE_KERNELS_ELEMENTWISE_ELEMENTWISE_H_

#include <cstdint>

#include "engine/tensor/dtype.h"

namespace lockstep::inline v0_1::kernels {

void Add(const float* a, const float* b, float* y, int64_t n);       // y = a + b
void AddTo(const float* x, float* y, int64_t n);                     // y += x
void Multiply(const float* a, const float* b, float* y, int64_t n);  // y = a b

// Rounds to nearest even as BFloat16(float) does; NaN stays NaN. With denormals flushed or not, a
// denormal keeps its leading bits: only integers are used.
void ConvertToBF16(const float* x, BFloat16* y, int64_t n);
void ConvertFromBF16(const BFloat16* x, float* y, int64_t n);

}  // namespace lockstep::kernels

#endif  // LOCKSTEP_ENGINE_KERNELS_ELEMENTWISE_ELEMENTWISE_H_
