// What this machine is to the kernels: its instruction set, and the most multiply-adds it can do,
// which the speed of a product is held against.
#ifndef LOCKSTEP_ENGINE_KERNELS_PRODUCT_PEAK_H_
#define LOCKSTEP_ENGINE_KERNELS_PRODUCT_PEAK_H_

#include <cstdint>

namespace lockstep::kernels {

struct Peak {
  float mean = 0.0f;       // of the chains: for many rounds and |factor| < 1, addend / (1 - factor)
  int64_t operations = 0;  // a multiply-add counts as two
};

// Runs `rounds` rounds of x = x * factor + addend on as many independent chains as keep every adder
// of the core busy, with nothing but registers. Serial.
Peak PeakMultiplyAdds(int64_t rounds, float factor, float addend);

// The instruction set that the kernels run on here, as Highway names it: "AVX2", "AVX3" (AVX-512),
// "NEON", ... A static string.
const char* SimdTarget();

}  // namespace lockstep::kernels

#endif  // LOCKSTEP_ENGINE_KERNELS_PRODUCT_PEAK_H_
