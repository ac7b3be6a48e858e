// layers/recurrent/last_step.cc
//   forward   y = x at the last place that is no padding; the reverse half at the first such
//   backward  dx = dy there, 0 elsewhere
#include "layers/recurrent/last_step.h"

#include <algorithm>
#include <cstdint>
#include <vector>

#include "engine/ops/elementwise.h"
#include "layers/rows.h"

namespace lockstep::inline v0_1 {
namespace {

// Inputs: x, segments or nothing.
class LastStepOperation final : public Operation {
 public:
  explicit LastStepOperation(bool bidirectional) : bidirectional_(bidirectional) {}

  Result<Declaration> Declare(std::span<const TensorSpec> x, const Fused&,
                              const PlanOptions&) const override {
    const Shape& shape = x[0].shape;
    if (shape.rank() != 3)
      return Status::Invalid("takes (batch, steps, channels), not " + shape.ToString());
    if (bidirectional_ && shape[2] % 2 != 0)
      return Status::Invalid("the channels of two directions are an even number, not " +
                             std::to_string(shape[2]));
    const TensorSpec& segments = x[1];
    if (segments.shape.rank() != 0 &&
        (segments.dtype != DType::kI32 || segments.shape != Shape{shape[0], shape[1]})) {
      return Status::Invalid("segments must be i32 " + Shape{shape[0], shape[1]}.ToString() +
                             ", not " + NameOf(segments.dtype) + " " + segments.shape.ToString());
    }
    TensorSpec y = x[0];
    y.shape = {shape[0], shape[2]};
    y.picture = {};
    return Declaration{.outputs = {y}, .reads_x = {false, true}};
  }

  void Forward(const Step& step, const Operands& o) override {
    const Shape shape = o.x(0).shape();
    const int64_t steps = shape[1], channels = shape[2];
    const float* x = o.x_f32(0);
    float* y = o.y_f32();
    step.ctx.For(shape[0], o.y().size(), [&](int64_t sample) {
      ForHalves(o, sample, steps, channels, [&](int64_t place, IndexRange half) {
        float* to = y + sample * channels;
        if (place < 0) return std::fill(to + half.begin, to + half.end, 0.0f);
        const float* from = x + (sample * steps + place) * channels;
        std::copy(from + half.begin, from + half.end, to + half.begin);
      });
    });
  }

  void Backward(const Step& step, const Operands& o) override {
    const Shape shape = o.dx(0).shape();
    const int64_t steps = shape[1], channels = shape[2];
    const float* dy = o.dy_f32();
    float* dx = o.dx_f32(0);
    step.ctx.For(shape[0], shape.size(), [&](int64_t sample) {
      float* to = dx + sample * steps * channels;
      std::fill(to, to + steps * channels, 0.0f);
      ForHalves(o, sample, steps, channels, [&](int64_t place, IndexRange half) {
        const float* from = dy + sample * channels;
        if (place < 0) return;
        std::copy(from + half.begin, from + half.end, to + place * channels + half.begin);
      });
    });
  }

  Result<OnnxGraph::Value> Export(const Step&, const Operands&, OnnxGraph& graph,
                                  std::span<const OnnxGraph::Value> x) const override {
    if (!x[1].name.empty())
      return Status::Invalid("the place at which a padded text ends has no operator in ONNX");
    const Shape& shape = x[0].shape;
    const int64_t batch = shape[0], steps = shape[1], channels = shape[2];
    const auto part = [&](int64_t place, int64_t begin, int64_t end, const std::string& name) {
      const auto pair = [&](const std::string& what, int64_t first, int64_t second) {
        return graph.AddIntegers(name + what, {2}, {first, second});
      };
      const OnnxGraph::Value at = graph.Add(
          "Slice",
          {x[0], pair("_from", place, begin), pair("_to", place + 1, end), pair("_axes", 1, 2)},
          {batch, 1, end - begin});
      return graph.Reshape(at, {batch, end - begin});
    };
    if (!bidirectional_) return part(steps - 1, 0, channels, "last");
    const int64_t half = channels / 2;
    return graph.Add("Concat", {part(steps - 1, 0, half, "last"), part(0, half, channels, "first")},
                     {batch, channels}, {{"axis", int64_t{1}}});
  }

 private:
  // of(place, channels) for each half of the channels; place is -1 where all is padding.
  template <class Of>
  void ForHalves(const Operands& o, int64_t sample, int64_t steps, int64_t channels,
                 const Of& of) const {
    int64_t first = 0, last = steps - 1;
    if (const ConstTensor all = o.x(1); !all.empty()) {
      const int32_t* segments = all.as<int32_t>() + sample * steps;
      while (last >= 0 && segments[last] < 0) --last;
      while (first < last && segments[first] < 0) ++first;
      if (last < 0) first = -1;
    }
    const int64_t half = bidirectional_ ? channels / 2 : channels;
    of(last, {0, half});
    if (bidirectional_) of(first, {half, channels});
  }

  bool bidirectional_;
};

}  // namespace

Result<Value> LastStep::Build(Graph& graph, Value x) const {
  LOCKSTEP_TRY(CheckRows(graph.spec(x), "channels"));
  return graph.Add(LastStepOperation(options_.bidirectional), {x, options_.segments});
}

}  // namespace lockstep
