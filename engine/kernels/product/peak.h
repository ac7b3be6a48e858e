// What this machine is to the kernels: its instruction set, and the most it can do: multiply-adds,
// which the speed of a product is held against, and bytes moved, for what works on whole arrays.
#ifndef LOCKSTEP_ENGINE_KERNELS_PRODUCT_PEAK_H_
#define LOCKSTEP_ENGINE_KERNELS_PRODUCT_PEAK_H_

#include <cstdint>

namespace lockstep::inline v0_1::kernels {

struct Peak {
  float mean = 0.0f;       // of the chains: for many rounds and |factor| < 1, addend / (1 - factor)
  int64_t operations = 0;  // a multiply-add counts as two
};

// Runs `rounds` rounds of x = x * factor + addend on as many independent chains as keep every adder
// of the core busy, with nothing but registers. Serial.
Peak PeakMultiplyAdds(int64_t rounds, float factor, float addend);

// Three ways to move memory, each as fast as a core can: which one is fastest differs between
// machines, and one that only reads or writes over what it has just read moves up to twice as much
// as a copy into other memory. Serial; n is a multiple of kStreamFloats, every array aligned to 64
// bytes.
//
//   StreamRead     returns the sum of x                  4 bytes moved for each element
//   StreamUpdate   x = x * factor                        8
//   StreamTriad    a = b + factor * c, past the caches   12; a store through them reads its line
//                                                        first, and 16 are moved
inline constexpr int64_t kStreamFloats = 64;
float StreamRead(const float* x /* (n) */, int64_t n);
void StreamUpdate(float factor, float* x /* (n) */, int64_t n);
void StreamTriad(const float* b /* (n) */, const float* c /* (n) */, float factor,
                 float* a /* (n) */, int64_t n);

// The instruction set that the kernels run on here, as Highway names it: "AVX2", "AVX3" (AVX-512),
// "NEON", ... A static string.
const char* SimdTarget();

}  // namespace lockstep::kernels

#endif  // LOCKSTEP_ENGINE_KERNELS_PRODUCT_PEAK_H_
