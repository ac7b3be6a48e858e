// The activations that a product or a normalisation can apply to its result before it is written.
#ifndef LOCKSTEP_ENGINE_KERNELS_ELEMENTWISE_ACTIVATION_KIND_H_
#define LOCKSTEP_ENGINE_KERNELS_ELEMENTWISE_ACTIVATION_KIND_H_

namespace lockstep::inline v0_1::kernels {

// Only those whose derivative is known from the result, so that fusing them needs no more memory.
enum class Activation {
  kNone,  // y = v
  kRelu,  // y = v < 0 ? 0 : v, so a NaN passes through
};

}  // namespace lockstep::kernels

#endif  // LOCKSTEP_ENGINE_KERNELS_ELEMENTWISE_ACTIVATION_KIND_H_
