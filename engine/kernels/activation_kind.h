// Activations that a product may apply to its result while the tile is in registers.
#ifndef LOCKSTEP_ENGINE_KERNELS_ACTIVATION_KIND_H_
#define LOCKSTEP_ENGINE_KERNELS_ACTIVATION_KIND_H_

namespace lockstep::kernels {

enum class Activation {
  kNone,  // y = v
  kRelu,  // y = v < 0 ? 0 : v, so a NaN passes through
};

}  // namespace lockstep::kernels

#endif  // LOCKSTEP_ENGINE_KERNELS_ACTIVATION_KIND_H_
