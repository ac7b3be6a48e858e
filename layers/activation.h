// Activations, element by element (torch.nn.ReLU, ReLU6, LeakyReLU, GELU, SiLU, Sigmoid, Tanh,
// Softplus). Formulas: engine/kernels/elementwise/activation.h. Any shape; no parameters. A ReLU
// becomes part of the operation in front of it where that can apply it, and so do those whose
// derivative is taken from x (GELU, SiLU, Softplus) behind a Linear.
#ifndef LOCKSTEP_LAYERS_ACTIVATION_H_
#define LOCKSTEP_LAYERS_ACTIVATION_H_

#include <string>

#include "engine/kernels/elementwise/activation.h"
#include "engine/layer.h"

namespace lockstep::inline v0_1 {

// What all of them share.
class ActivationLayer : public Layer {
 public:
  std::string kind() const override;
  Result<Value> Build(Graph& graph, Value x) const override;

 protected:
  explicit ActivationLayer(kernels::ActivationSpec spec) : spec_(spec) {}

 private:
  kernels::ActivationSpec spec_;
};

class Relu final : public ActivationLayer {
 public:
  Relu() : ActivationLayer({.kind = kernels::ActivationKind::kRelu}) {}
};

class Relu6 final : public ActivationLayer {
 public:
  Relu6() : ActivationLayer({.kind = kernels::ActivationKind::kRelu6}) {}
};

class LeakyRelu final : public ActivationLayer {
 public:
  explicit LeakyRelu(float negative_slope = 0.01f)
      : ActivationLayer({.kind = kernels::ActivationKind::kLeakyRelu, .slope = negative_slope}) {}
};

enum class GeluApproximation { kNone, kTanh };

class Gelu final : public ActivationLayer {
 public:
  explicit Gelu(GeluApproximation approximate = GeluApproximation::kNone)
      : ActivationLayer({.kind = approximate == GeluApproximation::kTanh
                                     ? kernels::ActivationKind::kGeluTanh
                                     : kernels::ActivationKind::kGelu}) {}
};

class Silu final : public ActivationLayer {
 public:
  Silu() : ActivationLayer({.kind = kernels::ActivationKind::kSilu}) {}
};

class Sigmoid final : public ActivationLayer {
 public:
  Sigmoid() : ActivationLayer({.kind = kernels::ActivationKind::kSigmoid}) {}
};

class Tanh final : public ActivationLayer {
 public:
  Tanh() : ActivationLayer({.kind = kernels::ActivationKind::kTanh}) {}
};

class Softplus final : public ActivationLayer {
 public:
  explicit Softplus(float beta = 1.0f, float threshold = 20.0f)
      : ActivationLayer(
            {.kind = kernels::ActivationKind::kSoftplus, .beta = beta, .threshold = threshold}) {}
};

}  // namespace lockstep

#endif  // LOCKSTEP_LAYERS_ACTIVATION_H_
