// layers/loss/cross_entropy.cc — rows r of scores y, targets t, class weights w, label smoothing
// a, C classes; logp = log softmax(y_r).
//   forward   loss_r = - (1 - a) w[t_r] logp[t_r] - (a / C) sum_c w[c] logp[c]
//             mean   = sum_r loss_r / sum_r w[t_r]         rows that are not ignored
//   backward  dy_rc  = scale * d loss_r / d y_rc
// With probabilities t_rc, and t'_rc = (1 - a) t_rc + a / C:
//   forward   loss_r = - sum_c w[c] t'_rc logp[c]
//             mean   = sum_r loss_r / rows                 rows that are not all 0
#include "layers/loss/cross_entropy.h"

#include <algorithm>

#include "engine/kernels/elementwise/softmax.h"
#include "layers/loss/loss_blocks.h"

namespace lockstep {
namespace {

kernels::CrossEntropyOptions KernelOptionsOf(const CrossEntropyLossOptions& options) {
  return {.label_smoothing = static_cast<float>(options.label_smoothing),
          .class_weights = options.class_weights.empty() ? nullptr : options.class_weights.data(),
          .ignored_index = options.ignored_index};
}

class SoftmaxCrossEntropy final : public BlockwiseLoss {
 public:
  SoftmaxCrossEntropy(CrossEntropyLossOptions options, int64_t classes)
      : BlockwiseLoss(/*work=*/4), options_(std::move(options)), classes_(classes) {}

  Status Check(const Step&, const Operands& o) const override {
    const std::span<const int32_t> ids = o.x(1).span<int32_t>();
    for (size_t r = 0; r < ids.size(); ++r) {
      if (ids[r] != options_.ignored_index && (ids[r] < 0 || ids[r] >= classes_)) {
        return Status::Invalid("target " + std::to_string(ids[r]) + " in row " + std::to_string(r) +
                               " is not a class: there are " + std::to_string(classes_));
      }
    }
    return Status::Ok();
  }

  double Weight(const Step& step, const Operands& o) const override {
    const std::span<const int32_t> ids = o.x(1).span<int32_t>();
    return SumOverBlocks(step, static_cast<int64_t>(ids.size()), [&](IndexRange rows) {
      return kernels::CrossEntropyWeight(ids.data() + rows.begin, rows.size(), classes_,
                                         KernelOptionsOf(options_));
    });
  }

 private:
  double Run(const Step&, int64_t, const Block& block) const override {
    return kernels::CrossEntropy(block.y, static_cast<const int32_t*>(block.target), block.rows,
                                 classes_, KernelOptionsOf(options_), block.scale, block.dy);
  }

  CrossEntropyLossOptions options_;
  int64_t classes_;
};

class SoftTargetCrossEntropy final : public BlockwiseLoss {
 public:
  SoftTargetCrossEntropy(CrossEntropyLossOptions options, int64_t classes)
      : BlockwiseLoss(/*work=*/5), options_(std::move(options)), classes_(classes) {}

  Status Check(const Step&, const Operands& o) const override {
    const std::span<const float> p = o.x(1).span<float>();
    const auto bad = std::find_if_not(p.begin(), p.end(), [](float one) {
      return one >= 0.0f && one <= 1.0f;  // NaN is none
    });
    if (bad == p.end()) return Status::Ok();
    const int64_t place = bad - p.begin();
    return Status::Invalid("target " + std::to_string(*bad) + " of class " +
                           std::to_string(place % classes_) + " in row " +
                           std::to_string(place / classes_) + " is not a probability");
  }

  double Weight(const Step& step, const Operands& o) const override {
    const std::span<const float> p = o.x(1).span<float>();
    return SumOverBlocks(step, static_cast<int64_t>(p.size()), [&](IndexRange rows) {
      double count = 0.0;
      for (int64_t r = rows.begin; r < rows.end; ++r) {
        const float* row = p.data() + r * classes_;
        if (std::any_of(row, row + classes_, [](float one) { return one != 0.0f; })) count += 1.0;
      }
      return count;
    });
  }

 private:
  double Run(const Step&, int64_t, const Block& block) const override {
    return kernels::SoftCrossEntropy(block.y, static_cast<const float*>(block.target), block.rows,
                                     classes_, KernelOptionsOf(options_), block.scale, block.dy);
  }

  CrossEntropyLossOptions options_;
  int64_t classes_;
};

}  // namespace

Status CrossEntropyLoss::Build(Graph& graph, const std::string& name, Value y, Value target,
                               double factor) const {
  const Shape& out = graph.shape(y);
  if (out.rank() < 2)
    return Status::Invalid("takes scores of shape (batch, ..., classes), not " + out.ToString());
  const int64_t classes = out.channels();
  if (classes < 2) {
    return Status::Invalid("needs at least two classes, not " + out.ToString() +
                           "; for one output use BCEWithLogitsLoss");
  }
  if (!(options_.label_smoothing >= 0.0 && options_.label_smoothing <= 1.0)) {
    return Status::Invalid("label_smoothing must lie in [0, 1], not " +
                           std::to_string(options_.label_smoothing));
  }
  if (!options_.class_weights.empty() &&
      static_cast<int64_t>(options_.class_weights.size()) != classes) {
    return Status::Invalid(std::to_string(options_.class_weights.size()) + " class weights for " +
                           std::to_string(classes) + " classes");
  }
  if (options_.probabilities)
    return graph.AddLoss(name, SoftTargetCrossEntropy(options_, classes), {y, target}, factor);
  return graph.AddLoss(name, SoftmaxCrossEntropy(options_, classes), {y, target}, factor);
}

}  // namespace lockstep
