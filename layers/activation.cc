// layers/activation.cc
//   forward   y  = f(x)
//   backward  dx = dy f'(x), from x or from y: whichever the formula needs less of
#include "layers/activation.h"

#include <cmath>
#include <numbers>

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

namespace {

// Above it ln(1 + e^t) and t are the same fp32 number: e^-16 is less than half a step at 16.
constexpr float kSoftplusIsLinear = 16.0f;

Graph::Value ExportSoftplus(Graph& graph, const kernels::ActivationSpec& spec,
                            const Graph::Value& x) {
  const Graph::Value t = spec.beta == 1.0f ? x : graph.Add("Mul", {x, graph.Scalar(spec.beta)});
  Graph::Value y = graph.Add("Softplus", {t});
  if (spec.beta != 1.0f) y = graph.Add("Div", {y, graph.Scalar(spec.beta)});
  if (spec.threshold >= kSoftplusIsLinear) return y;
  const Graph::Value linear = graph.Add("Greater", {t, graph.Scalar(spec.threshold)});
  return graph.Add("Where", {linear, x, y});
}

// x/2 (1 + erf(x/sqrt 2)), or with tanh(sqrt(2/pi) (x + 0.044715 x^3)) in the place of erf.
Graph::Value ExportGelu(Graph& graph, bool tanh, const Graph::Value& x) {
  Graph::Value bent;
  if (tanh) {
    const Graph::Value cube = graph.Add("Mul", {graph.Add("Mul", {x, x}), x});
    const Graph::Value sum =
        graph.Add("Add", {x, graph.Add("Mul", {cube, graph.Scalar(0.044715)})});
    bent = graph.Add(
        "Tanh", {graph.Add("Mul", {sum, graph.Scalar(std::sqrt(2.0 * std::numbers::inv_pi))})});
  } else {
    bent = graph.Add("Erf", {graph.Add("Mul", {x, graph.Scalar(std::sqrt(0.5))})});
  }
  const Graph::Value half = graph.Add("Mul", {x, graph.Scalar(0.5)});
  return graph.Add("Mul", {half, graph.Add("Add", {bent, graph.Scalar(1.0)})});
}

}  // namespace

Result<Graph::Value> ActivationLayer::Export(const Step& step, Graph& graph,
                                             const Graph::Value& x) const {
  switch (spec_.kind) {
    case ActivationKind::kRelu:
      return graph.Add("Relu", {x});
    case ActivationKind::kLeakyRelu:
      return graph.Add("LeakyRelu", {x}, {{"alpha", spec_.slope}});
    case ActivationKind::kGelu:
    case ActivationKind::kGeluTanh:
      return ExportGelu(graph, spec_.kind == ActivationKind::kGeluTanh, x);
    case ActivationKind::kSilu:
      return graph.Add("Mul", {x, graph.Add("Sigmoid", {x})});
    case ActivationKind::kSigmoid:
      return graph.Add("Sigmoid", {x});
    case ActivationKind::kTanh:
      return graph.Add("Tanh", {x});
    case ActivationKind::kSoftplus:
      return ExportSoftplus(graph, spec_, x);
  }
  return Layer::Export(step, graph, x);
}

}  // namespace lockstep
