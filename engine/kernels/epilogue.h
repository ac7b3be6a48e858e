// What an operation does to a finished element before it is written: shared by products,
// convolutions and normalisations.
//
//   y = act(scale * v + bias + add)        scale * v + bias is one fused multiply-add
//
// A part that is absent costs nothing and changes no bit.
#ifndef LOCKSTEP_ENGINE_KERNELS_EPILOGUE_H_
#define LOCKSTEP_ENGINE_KERNELS_EPILOGUE_H_

#include <cstdint>

#include "engine/kernels/elementwise/activation_kind.h"

namespace lockstep::inline v0_1::kernels {

struct Epilogue {
  const float* scale = nullptr;  // (columns), or null: 1
  const float* bias = nullptr;   // (columns), or null: 0
  const float* add = nullptr;    // (rows, columns), rows add_stride floats apart, or null; may be y
  int64_t add_stride = 0;
  Activation activation = Activation::kNone;
};

}  // namespace lockstep::kernels

#endif  // LOCKSTEP_ENGINE_KERNELS_EPILOGUE_H_
