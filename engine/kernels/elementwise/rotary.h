// Rotates the heads of one row by the angles of its position (Su et al., "RoFormer", 2021), first
// half of a head against second half (as Llama and GPT-NeoX do; the paper pairs neighbours).
//
//   forward   low' = low cos - high sin,   high' = high cos + low sin
//   backward  the same with -sin
//
// Every SIMD target with fused multiply-add gives the same bits. Thread-safe.
#ifndef LOCKSTEP_ENGINE_KERNELS_ELEMENTWISE_ROTARY_H_
#define LOCKSTEP_ENGINE_KERNELS_ELEMENTWISE_ROTARY_H_

#include <cstdint>

namespace lockstep::inline v0_1::kernels {

// x, y (heads, head_size), head_size even; y may be x, otherwise they do not overlap. cos, sin
// (head_size / 2).
void Rotate(const float* cos, const float* sin, const float* x, float* y, int64_t heads,
            int64_t head_size, bool backward);

}  // namespace lockstep::kernels

#endif  // LOCKSTEP_ENGINE_KERNELS_ELEMENTWISE_ROTARY_H_
