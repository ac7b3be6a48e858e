// layers/activation.cc
//   forward   y  = f(x)
//   backward  dx = dy f'(x), from x or from y: whichever the formula needs less of
#include "layers/activation.h"

#include <cmath>
#include <numbers>

#include "engine/base/check.h"
#include "engine/ops/elementwise.h"

namespace lockstep::inline v0_1 {
namespace {

using kernels::ActivationKind;

// Multiply-adds / 8 for an element: the curved ones evaluate an exponential and divide.
int64_t Work(ActivationKind kind) {
  return kind == ActivationKind::kRelu || kind == ActivationKind::kRelu6 ||
                 kind == ActivationKind::kLeakyRelu
             ? 1
             : 4;
}
// Above it ln(1 + e^t) and t are the same fp32 number: e^-16 is less than half a step at 16.
constexpr float kSoftplusIsLinear = 16.0f;

OnnxGraph::Value ExportSoftplus(OnnxGraph& graph, const kernels::ActivationSpec& spec,
                                const OnnxGraph::Value& x) {
  const OnnxGraph::Value t = spec.beta == 1.0f ? x : graph.Add("Mul", {x, graph.Scalar(spec.beta)});
  // max(t, 0) + ln(1 + e^-|t|): as it stands, e^t overflows from 89 on in programs that take it so.
  const OnnxGraph::Value minus = graph.Add("Neg", {graph.Add("Abs", {t})});
  OnnxGraph::Value y = graph.Add("Add", {graph.Add("Relu", {t}), graph.Add("Softplus", {minus})});
  if (spec.beta != 1.0f) y = graph.Add("Div", {y, graph.Scalar(spec.beta)});
  if (spec.threshold >= kSoftplusIsLinear) return y;
  const OnnxGraph::Value linear = graph.Add("Greater", {t, graph.Scalar(spec.threshold)});
  return graph.Add("Where", {linear, x, y});
}

// x/2 (1 + erf(x/sqrt 2)), or with tanh(sqrt(2/pi) (x + 0.044715 x^3)) in the place of erf.
OnnxGraph::Value ExportGelu(OnnxGraph& graph, bool tanh, const OnnxGraph::Value& x) {
  OnnxGraph::Value bent;
  if (tanh) {
    const OnnxGraph::Value cube = graph.Add("Mul", {graph.Add("Mul", {x, x}), x});
    const OnnxGraph::Value sum =
        graph.Add("Add", {x, graph.Add("Mul", {cube, graph.Scalar(0.044715)})});
    bent = graph.Add(
        "Tanh", {graph.Add("Mul", {sum, graph.Scalar(std::sqrt(2.0 * std::numbers::inv_pi))})});
  } else {
    bent = graph.Add("Erf", {graph.Add("Mul", {x, graph.Scalar(std::sqrt(0.5))})});
  }
  const OnnxGraph::Value half = graph.Add("Mul", {x, graph.Scalar(0.5)});
  return graph.Add("Mul", {half, graph.Add("Add", {bent, graph.Scalar(1.0)})});
}

class ActivationOperation final : public Operation {
 public:
  explicit ActivationOperation(kernels::ActivationSpec spec) : spec_(spec) {}

  Result<Declaration> Declare(std::span<const TensorSpec> x, const Fused&,
                              const PlanOptions&) const override {
    if (x[0].dtype != DType::kF32)
      return Status::Invalid(std::string("takes f32, not ") + NameOf(x[0].dtype));
    if (spec_.kind == ActivationKind::kSoftplus && !(spec_.beta > 0.0f))
      return Status::Invalid("beta must be positive, not " + std::to_string(spec_.beta));
    const bool from_y = kernels::BackwardTakesOutput(spec_);
    Declaration declared{.outputs = {x[0]},
                         .reads_x = {!from_y},
                         .reads_y = {from_y},
                         .y_may_overwrite_x = from_y,
                         .dx_may_overwrite_dy = true,
                         .flops = static_cast<double>(x[0].shape.size())};
    if (spec_.kind == ActivationKind::kRelu) declared.is_activation = kernels::Activation::kRelu;
    if (!from_y) declared.is_curve = spec_;
    return declared;
  }

  void Forward(const Step& step, const Operands& o) override {
    const float* x = o.x_f32(0);
    float* y = o.y_f32();
    const bool stream = o.y().size() >= kernels::kStreamedFloats;
    ops::ForStretches(step.ctx, o.y().size(), Work(spec_.kind), [&](int64_t begin, int64_t end) {
      kernels::ActivationForward(spec_, x + begin, y + begin, end - begin, stream);
    });
  }

  void Backward(const Step& step, const Operands& o) override {
    const float* saved = kernels::BackwardTakesOutput(spec_) ? o.y_f32() : o.x_f32(0);
    const float* dy = o.dy_f32();
    float* dx = o.dx_f32(0);
    const bool stream = o.dy().size() >= kernels::kStreamedFloats;
    ops::ForStretches(step.ctx, o.dy().size(), Work(spec_.kind), [&](int64_t begin, int64_t end) {
      kernels::ActivationBackward(spec_, saved + begin, dy + begin, dx + begin, end - begin,
                                  stream);
    });
  }

  Result<OnnxGraph::Value> Export(const Step&, const Operands&, OnnxGraph& graph,
                                  std::span<const OnnxGraph::Value> x) const override {
    switch (spec_.kind) {
      case ActivationKind::kRelu:
        return graph.Add("Relu", {x[0]});
      case ActivationKind::kRelu6:
        return graph.Add("Clip", {x[0], graph.Scalar(0.0), graph.Scalar(6.0)});
      case ActivationKind::kLeakyRelu:
        return graph.Add("LeakyRelu", {x[0]}, {{"alpha", spec_.slope}});
      case ActivationKind::kGelu:
      case ActivationKind::kGeluTanh:
        return ExportGelu(graph, spec_.kind == ActivationKind::kGeluTanh, x[0]);
      case ActivationKind::kSilu:
        return graph.Add("Mul", {x[0], graph.Add("Sigmoid", {x[0]})});
      case ActivationKind::kSigmoid:
        return graph.Add("Sigmoid", {x[0]});
      case ActivationKind::kTanh:
        return graph.Add("Tanh", {x[0]});
      case ActivationKind::kSoftplus:
        return ExportSoftplus(graph, spec_, x[0]);
    }
    LOCKSTEP_CHECK(false, "every activation is there");
  }

 private:
  kernels::ActivationSpec spec_;
};

}  // namespace

std::string ActivationLayer::kind() const {
  switch (spec_.kind) {
    case ActivationKind::kRelu:
      return "ReLU";
    case ActivationKind::kRelu6:
      return "ReLU6";
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

Result<Value> ActivationLayer::Build(Graph& graph, Value x) const {
  return graph.Add(ActivationOperation(spec_), {x});
}

}  // namespace lockstep
