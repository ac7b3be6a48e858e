// layers/activation.cc
//   forward   y  = f(x)
//   backward  dx = dy f'(x), from x or from y: whichever the formula needs less of
#include "layers/activation.h"

#include "engine/ops/elementwise.h"

namespace lockstep {

using kernels::ActivationKind;

std::string ActivationLayer::kind() const {
  switch (spec_.kind) {
    case ActivationKind::kRelu:
      return "ReLU";
    case ActivationKind::kLeakyRelu:
      return "LeakyReLU";
    case ActivationKind::kGelu:
    case ActivationKind::kGeluTanh:
      return "GELU";
    case ActivationKind::kSilu:
      return "SiLU";
    case ActivationKind::kSigmoid:
      return "Sigmoid";
    case ActivationKind::kTanh:
      return "Tanh";
    case ActivationKind::kSoftplus:
      return "Softplus";
  }
  return "?";
}

Result<Bound> ActivationLayer::Bind(const Shape& in, Planner&) {
  if (spec_.kind == ActivationKind::kSoftplus && !(spec_.beta > 0.0f)) {
    return Status::Invalid("beta must be positive, not " + std::to_string(spec_.beta));
  }
  const bool from_y = kernels::BackwardTakesOutput(spec_);
  return Bound{.out = in,
               .needs_x = !from_y,
               .needs_y = from_y,
               .y_may_be_x = from_y,
               .dx_may_be_dy = true,
               .flops = static_cast<double>(in.size())};
}

namespace {
// Multiply-adds / 8 for an element: the curved ones evaluate an exponential and divide.
int64_t Work(ActivationKind kind) {
  return kind == ActivationKind::kRelu || kind == ActivationKind::kLeakyRelu ? 1 : 4;
}
}  // namespace

void ActivationLayer::Forward(const Step& step, ConstTensor x, Tensor y) {
  ops::ForStretches(step.ctx, x.size(), Work(spec_.kind), [&](int64_t begin, int64_t end) {
    kernels::ActivationForward(spec_, x.f32() + begin, y.f32() + begin, end - begin);
  });
}

void ActivationLayer::Backward(const Step& step, ConstTensor x, ConstTensor y, ConstTensor dy,
                               Tensor dx) {
  if (dx.empty()) return;
  const float* saved = kernels::BackwardTakesOutput(spec_) ? y.f32() : x.f32();
  ops::ForStretches(step.ctx, dy.size(), Work(spec_.kind), [&](int64_t begin, int64_t end) {
    kernels::ActivationBackward(spec_, saved + begin, dy.f32() + begin, dx.f32() + begin,
                                end - begin);
  });
}

std::optional<kernels::Activation> ActivationLayer::AsActivation() const {
  if (spec_.kind == ActivationKind::kRelu) return kernels::Activation::kRelu;
  return std::nullopt;
}

}  // namespace lockstep
