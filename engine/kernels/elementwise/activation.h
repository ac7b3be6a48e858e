// Activations, element by element.
//
//   ReLU       y = max(x, 0)                         dx = x > 0 ? dy : 0
//   ReLU6      y = min(max(x, 0), 6)                 dx = 0 < x < 6 ? dy : 0
//   LeakyReLU  y = x > 0 ? x : slope x               dx = x > 0 ? dy : slope dy
//   GELU       y = x Phi(x) = x/2 (1 + erf(x/sqrt 2))
//              dx = dy (Phi(x) + x phi(x))
//   GELU tanh  y = x/2 (1 + tanh u), u = sqrt(2/pi) (x + 0.044715 x^3)
//              dx = dy ((1 + tanh u)/2 + x/2 (1 - tanh^2 u) u')
//   SiLU       y = x s(x), s = sigmoid               dx = dy s (1 + x (1 - s))
//   Sigmoid    y = s(x)                              dx = dy y (1 - y)
//   Tanh       y = tanh x                            dx = dy (1 - y^2)
//   Softplus   y = ln(1 + e^(beta x)) / beta         dx = dy s(beta x)
//              and y = x, dx = dy where beta x > threshold (as in PyTorch)
//
// A NaN stays a NaN. Pure functions of one element: any range may be processed alone, and every
// SIMD target with fused multiply-add gives the same bits. Thread-safe.
#ifndef LOCKSTEP_ENGINE_KERNELS_ELEMENTWISE_ACTIVATION_H_
#define LOCKSTEP_ENGINE_KERNELS_ELEMENTWISE_ACTIVATION_H_

#include <cstdint>

namespace lockstep::inline v0_1::kernels {

enum class ActivationKind : uint8_t {
  kRelu,
  kRelu6,
  kLeakyRelu,
  kGelu,
  kGeluTanh,
  kSilu,
  kSigmoid,
  kTanh,
  kSoftplus,
};

struct ActivationSpec {
  ActivationKind kind = ActivationKind::kRelu;
  float slope = 0.01f;      // LeakyReLU
  float beta = 1.0f;        // Softplus, > 0
  float threshold = 20.0f;  // Softplus
};

// What ActivationBackward takes: the output (so that the layer may run in place and its input need
// not be kept) or the input.
constexpr bool BackwardTakesOutput(const ActivationSpec& spec) {
  switch (spec.kind) {
    case ActivationKind::kRelu:
    case ActivationKind::kRelu6:
    case ActivationKind::kSigmoid:
    case ActivationKind::kTanh:
      return true;
    case ActivationKind::kLeakyRelu:
      return spec.slope >= 0.0f;  // otherwise the sign of y does not tell the sign of x
    default:
      return false;
  }
}

// Where whole arrays of at least this many floats are walked through, `stream` pays: they are
// beyond the caches, so what is written goes past them. The bits are the same either way.
inline constexpr int64_t kStreamedFloats = int64_t{1} << 24;

// y (n) from x (n). y may be x; otherwise they do not overlap.
void ActivationForward(const ActivationSpec& spec, const float* x, float* y, int64_t n,
                       bool stream = false);

// dx (n) from dy (n) and `saved` (n): y if BackwardTakesOutput(spec), otherwise x. dx may be dy or
// `saved`.
void ActivationBackward(const ActivationSpec& spec, const float* saved, const float* dy, float* dx,
                        int64_t n, bool stream = false);

}  // namespace lockstep::kernels

#endif  // LOCKSTEP_ENGINE_KERNELS_ELEMENTWISE_ACTIVATION_H_
