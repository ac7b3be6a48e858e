// layers/attention/rotary.cc — for each row, its position p, each head, each pair (low, high):
//   forward   low' = low cos - high sin,   high' = high cos + low sin,   angle p theta^(-2i/D)
//   backward  the same turned back
#include "layers/attention/rotary.h"

#include <algorithm>
#include <cstring>
#include <numbers>
#include <string>

#include "engine/base/portable_math.h"
#include "engine/kernels/elementwise/rotary.h"
#include "layers/onnx_ops.h"

namespace lockstep::inline v0_1 {
namespace {

// Inputs: x, positions.
class RotaryOperation final : public Operation {
 public:
  RotaryOperation(int64_t heads, std::shared_ptr<const RotaryTable> table)
      : heads_(heads), table_(std::move(table)) {}

  Result<Declaration> Declare(std::span<const TensorSpec> x, const Fused&,
                              const PlanOptions&) const override {
    if (x[1].dtype != DType::kI32 || x[0].shape.rank() != 3 ||
        !(x[1].shape.rank() == 2 && x[1].shape[0] == x[0].shape[0] &&
          x[1].shape[1] == x[0].shape[1])) {
      return Status::Invalid("positions " + x[1].shape.ToString() + " are not those of " +
                             x[0].shape.ToString());
    }
    return Declaration{
        .outputs = {x[0]},
        .reads_x = {false, true},
        .y_may_overwrite_x = true,
        .dx_may_overwrite_dy = true,
        .flops = 3.0 * static_cast<double>(x[0].shape.rows() * heads_ * table_->head_size())};
  }

  void Forward(const Step& step, const Operands& o) override {
    Turn(step, o.x(1).as<int32_t>(), o.y().shape(), o.x_f32(0), o.y_f32(), /*backward=*/false);
  }
  void Backward(const Step& step, const Operands& o) override {
    Turn(step, o.x(1).as<int32_t>(), o.dy().shape(), o.dy_f32(), o.dx_f32(0), /*backward=*/true);
  }

  Result<OnnxGraph::Value> Export(const Step&, const Operands&, OnnxGraph& graph,
                                  std::span<const OnnxGraph::Value> x) const override {
    const int64_t size = table_->head_size(), half = size / 2, turned = heads_ * size;
    const int64_t length = x[0].shape[1];
    const auto factors = [&](const std::string& name, bool sin) {
      std::vector<float> values;
      for (int64_t p = 0; p < table_->positions(); ++p) {
        const float* row = sin ? table_->sin(p) : table_->cos(p);
        values.insert(values.end(), row, row + half);
      }
      const OnnxGraph::Value all =
          graph.AddConstant(name, {table_->positions(), half}, std::move(values));
      return graph.Reshape(graph.Add("Gather", {all, x[1]}, {1, length, half}),
                           {1, length, 1, half});
    };
    const OnnxGraph::Value cos = factors("cos", false), sin = factors("sin", true);
    const OnnxGraph::Value heads =
        graph.Reshape(Slice(graph, x[0], -1, 0, turned), {1, length, heads_, size});
    const OnnxGraph::Value low = Slice(graph, heads, -1, 0, half);
    const OnnxGraph::Value high = Slice(graph, heads, -1, half, size);
    const auto product = [&](const OnnxGraph::Value& a, const OnnxGraph::Value& b) {
      return graph.Add("Mul", {a, b});
    };
    const OnnxGraph::Value y =
        graph.Add("Concat",
                  {graph.Add("Sub", {product(low, cos), product(high, sin)}),
                   graph.Add("Add", {product(high, cos), product(low, sin)})},
                  heads.shape, {{"axis", int64_t{-1}}});
    const OnnxGraph::Value rows = graph.Reshape(y, {1, length, turned});
    if (turned == x[0].shape.channels()) return rows;
    return graph.Add("Concat", {rows, Slice(graph, x[0], -1, turned, x[0].shape.channels())},
                     x[0].shape, {{"axis", int64_t{-1}}});
  }

 private:
  void Turn(const Step& step, const int32_t* positions, const Shape& shape, const float* x,
            float* y, bool backward) const {
    const int64_t width = shape.channels(), turned = heads_ * table_->head_size();
    const int64_t rows = shape.rows();
    constexpr int64_t kRows = 16;
    step.ctx.For((rows + kRows - 1) / kRows, shape.size(), [&](int64_t block) {
      for (int64_t r = block * kRows; r < std::min(rows, (block + 1) * kRows); ++r) {
        kernels::Rotate(table_->cos(positions[r]), table_->sin(positions[r]), x + r * width,
                        y + r * width, heads_, table_->head_size(), backward);
        if (x == y || width == turned) continue;
        std::memcpy(y + r * width + turned, x + r * width + turned,
                    static_cast<size_t>(width - turned) * sizeof(float));
      }
    });
  }

  int64_t heads_;
  std::shared_ptr<const RotaryTable> table_;
};

}  // namespace

RotaryTable::RotaryTable(int64_t positions, int64_t head_size, double theta)
    : positions_(positions), head_size_(head_size), theta_(theta) {
  const int64_t half = head_size / 2;
  values_.resize(static_cast<size_t>(positions * head_size));
  for (int64_t i = 0; i < half; ++i) {
    const double exponent = -2.0 * static_cast<double>(i) / static_cast<double>(head_size);
    const double turns =
        portable::Exp(exponent * portable::Log(theta)) * 0.5 * std::numbers::inv_pi;
    for (int64_t p = 0; p < positions; ++p) {
      const portable::SinCos at = portable::Turn(static_cast<double>(p) * turns);
      values_[static_cast<size_t>(p * head_size + i)] = static_cast<float>(at.cos);
      values_[static_cast<size_t>(p * head_size + half + i)] = static_cast<float>(at.sin);
    }
  }
}

Result<Rotary> MakeRotary(const Graph& graph, Value positions, int64_t head_size, double theta) {
  if (head_size < 2 || head_size % 2 != 0) {
    return Status::Invalid("rotary positions turn pairs: heads of " + std::to_string(head_size) +
                           " numbers are odd");
  }
  if (!(theta > 1.0) || !(theta < 1e12))
    return Status::Invalid("theta must lie between 1 and 1e12, not " + std::to_string(theta));
  const int64_t room = graph.options().cache_tokens;
  const int64_t count = room > 0 ? room : graph.shape(positions).channels();
  return Rotary{positions, std::make_shared<const RotaryTable>(count, head_size, theta)};
}

Result<Value> Rotated(Graph& graph, Value x, int64_t heads, const Rotary& rotary) {
  return graph.Add(RotaryOperation(heads, rotary.table), {x, rotary.positions});
}

}  // namespace lockstep
