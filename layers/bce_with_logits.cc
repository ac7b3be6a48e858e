// layers/bce_with_logits.cc — x logits, t targets, w weights, p positive weights, s the sigmoid.
//   forward   loss = w ((1 - t) x + (1 + (p - 1) t) ln(1 + e^-x)),   mean over all elements
//   backward  dx   = scale * w ((1 + (p - 1) t) s(x) - p t)
#include "layers/bce_with_logits.h"

#include "engine/kernels/elementwise/losses.h"

namespace lockstep {
namespace {

// One value for each column, from none, one or all of them.
Status Spread(const char* what, int64_t columns, std::vector<float>& values) {
  if (values.empty()) return Status::Ok();
  if (values.size() == 1) values.resize(static_cast<size_t>(columns), values.front());
  if (static_cast<int64_t>(values.size()) == columns) return Status::Ok();
  return Status::Invalid(std::to_string(values.size()) + " values of " + what + " for " +
                         std::to_string(columns) + " outputs");
}

}  // namespace

Status BceWithLogitsLoss::Bind(const Shape& out, Planner& plan) {
  if (out.rank() < 2)
    return Status::Invalid("takes logits of shape (batch, ..., outputs), not " + out.ToString());
  columns_ = out.channels();
  LOCKSTEP_TRY(Spread("weight", columns_, options_.weight));
  LOCKSTEP_TRY(Spread("pos_weight", columns_, options_.pos_weight));
  if (!options_.weight.empty()) weights_ = plan.Book(out.size(), Life::kCall);
  blocks_.Bind(out, plan);
  return Status::Ok();
}

double BceWithLogitsLoss::Run(const Step& step, IndexRange block, ConstTensor y, ConstTensor target,
                              float scale, float* dy) const {
  const int64_t offset = block.begin * columns_;
  kernels::BceOptions options{
      .pos_weight = options_.pos_weight.empty() ? nullptr : options_.pos_weight.data()};
  if (weights_.valid()) {
    float* weights = step[weights_] + offset;
    for (int64_t i = 0; i < block.size() * columns_; ++i) {
      weights[i] = options_.weight[static_cast<size_t>(i % columns_)];
    }
    options.weights = weights;
  }
  return kernels::BceWithLogits(y.f32() + offset, target.f32() + offset, block.size(), columns_,
                                options, scale, dy == nullptr ? nullptr : dy + offset);
}

Result<LossSum> BceWithLogitsLoss::Forward(const Step& step, ConstTensor y, ConstTensor target) {
  const double sum = blocks_.Sum(step, y.shape().batch(), 8 * y.size(), [&](IndexRange block) {
    return Run(step, block, y, target, 0.0f, nullptr);
  });
  return LossSum{.sum = sum, .weight = static_cast<double>(y.size())};
}

void BceWithLogitsLoss::Backward(const Step& step, ConstTensor y, ConstTensor target, double scale,
                                 Tensor dy) {
  blocks_.ForEach(step, y.shape().batch(), 8 * y.size(), [&](IndexRange block) {
    Run(step, block, y, target, static_cast<float>(scale), dy.f32());
  });
}

}  // namespace lockstep
