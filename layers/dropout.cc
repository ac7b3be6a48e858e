// layers/dropout.cc
//   forward   y  = keep ? x / (1 - p) : 0
//   backward  dx = keep ? dy / (1 - p) : 0
#include "layers/dropout.h"

#include <cstring>

#include "engine/base/random.h"
#include "engine/kernels/elementwise/dropout.h"
#include "engine/ops/elementwise.h"

namespace lockstep {

Result<Bound> Dropout::Bind(const Shape& in, Planner& plan) {
  if (!(p_ >= 0.0 && p_ <= 1.0))
    return Status::Invalid("p must lie in [0, 1], not " + std::to_string(p_));
  stream_ = StreamOf("dropout:" + plan.path());
  return Bound{
      .out = in, .y_may_be_x = true, .dx_may_be_dy = true, .flops = static_cast<double>(in.size())};
}

void Dropout::Forward(const Step& step, ConstTensor x, Tensor y) { Apply(step, x, y); }

void Dropout::Backward(const Step& step, ConstTensor, ConstTensor, ConstTensor dy, Tensor dx) {
  if (!dx.empty()) Apply(step, dy, dx);
}

void Dropout::Apply(const Step& step, ConstTensor x, Tensor y) const {
  if (!step.training() || p_ == 0.0) {
    if (x.data() != y.data()) std::memcpy(y.data(), x.data(), x.bytes());
    return;
  }
  // Steps take streams of their own; within one, elements count from the first sample of the global
  // batch.
  const kernels::DropoutMask mask{.seed = step.seed,
                                  .stream = stream_ + step.index * 0x9E3779B97F4A7C15,
                                  .p = static_cast<float>(p_)};
  const int64_t first = step.first_sample * x.shape().sample_size();
  ops::ForStretches(step.ctx, x.size(), 8, [&](int64_t begin, int64_t end) {
    kernels::Dropout(mask, first + begin, first + end, x.f32() - first, y.f32() - first);
  });
}

Result<Graph::Value> Dropout::Export(const Step&, Graph&, const Graph::Value& x) const { return x; }

}  // namespace lockstep
