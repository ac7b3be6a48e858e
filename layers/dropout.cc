// layers/dropout.cc
//   forward   y  = keep ? x / (1 - p) : 0
//   backward  dx = keep ? dy / (1 - p) : 0
#include "layers/dropout.h"

#include "engine/kernels/elementwise/dropout.h"
#include "engine/ops/elementwise.h"

namespace lockstep::inline v0_1 {
namespace {

class DropoutOperation final : public Operation {
 public:
  DropoutOperation(double p, uint64_t stream) : p_(p), stream_(stream) {}

  Result<Declaration> Declare(std::span<const TensorSpec> x, const Fused&,
                              const PlanOptions&) const override {
    if (x[0].dtype != DType::kF32)
      return Status::Invalid(std::string("takes f32, not ") + NameOf(x[0].dtype));
    return Declaration{.outputs = {x[0]},
                       .y_may_overwrite_x = true,
                       .dx_may_overwrite_dy = true,
                       .flops = static_cast<double>(x[0].shape.size())};
  }

  void Forward(const Step& step, const Operands& o) override {
    Mask(step, o.y().shape(), o.x_f32(0), o.y_f32());
  }
  void Backward(const Step& step, const Operands& o) override {
    Mask(step, o.dy().shape(), o.dy_f32(), o.dx_f32(0));
  }

 private:
  // Steps take streams of their own; within one, elements count from the first sample of the global
  // batch.
  void Mask(const Step& step, const Shape& shape, const float* x, float* y) const {
    const kernels::DropoutMask mask{.seed = step.seed,
                                    .stream = stream_ + step.index * 0x9E3779B97F4A7C15,
                                    .p = static_cast<float>(p_)};
    const int64_t first = step.first_sample * shape.sample_size();
    ops::ForStretches(step.ctx, shape.size(), 8, [&](int64_t begin, int64_t end) {
      kernels::Dropout(mask, first + begin, first + end, x - first, y - first);
    });
  }

  double p_;
  uint64_t stream_;
};

}  // namespace

Result<Value> Dropout::Build(Graph& graph, Value x) const {
  if (!(p_ >= 0.0 && p_ <= 1.0))
    return Status::Invalid("p must lie in [0, 1], not " + std::to_string(p_));
  if (!graph.training() || p_ == 0.0) return x;
  return graph.Add(DropoutOperation(p_, graph.NewStream("dropout")), {x});
}

}  // namespace lockstep
