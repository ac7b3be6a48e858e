// layers/swiglu.cc — x is seen as (R, 2F): a row is (a b).
//   forward   y  = silu(a) b
//   backward  da = dy b silu'(a),  db = dy silu(a)
#include "layers/swiglu.h"

#include <algorithm>

#include "engine/kernels/elementwise/activation.h"
#include "engine/kernels/elementwise/elementwise.h"
#include "layers/onnx_ops.h"
#include "layers/rows.h"

namespace lockstep::inline v0_1 {
namespace {

constexpr kernels::ActivationSpec kSilu{.kind = kernels::ActivationKind::kSilu};

// Input: x.
class SwiGluOperation final : public Operation {
 public:
  Result<Declaration> Declare(std::span<const TensorSpec> x, const Fused&,
                              const PlanOptions&) const override {
    const int64_t width = x[0].shape.channels();
    if (width % 2 != 0) {
      return Status::Invalid("takes gates and as many values, not " + std::to_string(width) +
                             " numbers");
    }
    TensorSpec y = x[0];
    y.shape = x[0].shape.WithChannels(width / 2);
    y.picture = {};
    return Declaration{
        .outputs = {y}, .reads_x = {true}, .flops = 2.0 * static_cast<double>(y.shape.size())};
  }

  void Forward(const Step& step, const Operands& o) override {
    const int64_t width = o.y().shape().channels();
    ForRows(step, o.y().shape(), [&](int64_t r) {
      const float* a = o.x_f32(0) + r * 2 * width;
      float* y = o.y_f32() + r * width;
      kernels::ActivationForward(kSilu, a, y, width);
      kernels::Multiply(y, a + width, y, width);
    });
  }

  void Backward(const Step& step, const Operands& o) override {
    const int64_t width = o.dy().shape().channels();
    ForRows(step, o.dy().shape(), [&](int64_t r) {
      const float *a = o.x_f32(0) + r * 2 * width, *b = a + width;
      const float* dy = o.dy_f32() + r * width;
      float *da = o.dx_f32(0) + r * 2 * width, *db = da + width;
      kernels::ActivationForward(kSilu, a, db, width);
      kernels::Multiply(dy, db, db, width);
      kernels::Multiply(dy, b, da, width);
      kernels::ActivationBackward(kSilu, a, da, da, width);
    });
  }

  Result<OnnxGraph::Value> Export(const Step&, const Operands&, OnnxGraph& graph,
                                  std::span<const OnnxGraph::Value> x) const override {
    const int64_t width = x[0].shape.channels() / 2;
    const OnnxGraph::Value a = Slice(graph, x[0], -1, 0, width);
    const OnnxGraph::Value b = Slice(graph, x[0], -1, width, 2 * width);
    return graph.Add("Mul", {graph.Add("Mul", {a, graph.Add("Sigmoid", {a})}), b});
  }

 private:
  template <class Body>
  static void ForRows(const Step& step, const Shape& y, Body&& body) {
    const int64_t rows = y.rows();
    constexpr int64_t kRows = 16;
    step.ctx.For((rows + kRows - 1) / kRows, y.size() * 6, [&](int64_t block) {
      for (int64_t r = block * kRows; r < std::min(rows, (block + 1) * kRows); ++r) body(r);
    });
  }
};

}  // namespace

Result<Value> SwiGlu::Build(Graph& graph, Value x) const {
  LOCKSTEP_TRY(CheckRows(graph.spec(x), "gates and values"));
  return graph.Add(SwiGluOperation(), {x});
}

}  // namespace lockstep
