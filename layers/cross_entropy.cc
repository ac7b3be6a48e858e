// layers/cross_entropy.cc — rows r of scores y, targets t, class weights w, label smoothing a, C
// classes.
//   forward   loss_r = - (1 - a) w[t_r] logp[t_r] - (a / C) sum_c w[c] logp[c],   logp = log
//   softmax(y_r)
//             mean   = sum_r loss_r / sum_r w[t_r]                                rows that are not
//             ignored
//   backward  dy_rc  = scale * d loss_r / d y_rc
#include "layers/cross_entropy.h"

#include "engine/kernels/elementwise/softmax.h"

namespace lockstep {
namespace {

kernels::CrossEntropyOptions KernelOptions(const CrossEntropyLossOptions& options) {
  return {.label_smoothing = static_cast<float>(options.label_smoothing),
          .class_weights = options.class_weights.empty() ? nullptr : options.class_weights.data(),
          .ignored_index = options.ignored_index};
}

}  // namespace

Status CrossEntropyLoss::Bind(const Shape& out, Planner& plan) {
  if (out.rank() < 2)
    return Status::Invalid("takes scores of shape (batch, ..., classes), not " + out.ToString());
  classes_ = out.channels();
  if (classes_ < 2) {
    return Status::Invalid("needs at least two classes, not " + out.ToString() +
                           "; for one output use BCEWithLogitsLoss");
  }
  if (!(options_.label_smoothing >= 0.0 && options_.label_smoothing <= 1.0)) {
    return Status::Invalid("label_smoothing must lie in [0, 1], not " +
                           std::to_string(options_.label_smoothing));
  }
  if (!options_.class_weights.empty() &&
      static_cast<int64_t>(options_.class_weights.size()) != classes_) {
    return Status::Invalid(std::to_string(options_.class_weights.size()) + " class weights for " +
                           std::to_string(classes_) + " classes");
  }
  blocks_.Bind(out, plan);
  return Status::Ok();
}

Result<LossSum> CrossEntropyLoss::Forward(const Step& step, ConstTensor y, ConstTensor target) {
  const int32_t* ids = target.as<int32_t>();
  const int64_t rows = y.shape().rows();
  for (int64_t r = 0; r < rows; ++r) {
    if (ids[r] != options_.ignored_index && (ids[r] < 0 || ids[r] >= classes_)) {
      return Status::Invalid("target " + std::to_string(ids[r]) + " in row " + std::to_string(r) +
                             " is not a class: there are " + std::to_string(classes_));
    }
  }
  const kernels::CrossEntropyOptions options = KernelOptions(options_);
  LossSum loss;
  loss.weight = blocks_.Sum(step, y.shape().batch(), rows, [&](IndexRange block) {
    return kernels::CrossEntropyWeight(ids + block.begin, block.size(), classes_, options);
  });
  loss.sum = blocks_.Sum(step, y.shape().batch(), 4 * y.size(), [&](IndexRange block) {
    return kernels::CrossEntropy(y.f32() + block.begin * classes_, ids + block.begin, block.size(),
                                 classes_, options, 0.0f, nullptr);
  });
  return loss;
}

void CrossEntropyLoss::Backward(const Step& step, ConstTensor y, ConstTensor target, double scale,
                                Tensor dy) {
  const kernels::CrossEntropyOptions options = KernelOptions(options_);
  blocks_.ForEach(step, y.shape().batch(), 4 * y.size(), [&](IndexRange block) {
    kernels::CrossEntropy(y.f32() + block.begin * classes_, target.as<int32_t>() + block.begin,
                          block.size(), classes_, options, static_cast<float>(scale),
                          dy.f32() + block.begin * classes_);
  });
}

}  // namespace lockstep
