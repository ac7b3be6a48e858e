// layers/loss/cross_entropy.cc — rows r of scores y, targets t, class weights w, label smoothing
// a, C classes; logp = log softmax(y_r).
//   forward   loss_r = - (1 - a) w[t_r] logp[t_r] - (a / C) sum_c w[c] logp[c]
//             mean   = sum_r loss_r / sum_r w[t_r]         rows that are not ignored
//   backward  dy_rc  = scale * d loss_r / d y_rc
// Where the scores are a product y = x W^T + b and there are many classes, the loss computes them
// itself, a chunk of rows at a time (layers/loss/chunked_product.h). Where Backward follows, all is
// done there: y, the loss, dy in its place, and from that dx, dW and db.
// With probabilities t_rc, and t'_rc = (1 - a) t_rc + a / C:
//   forward   loss_r = - sum_c w[c] t'_rc logp[c]
//             mean   = sum_r loss_r / rows                 rows that are not all 0
#include "layers/loss/cross_entropy.h"

#include <algorithm>
#include <numeric>

#include "engine/kernels/elementwise/softmax.h"
#include "layers/loss/chunked_product.h"
#include "layers/loss/loss_blocks.h"

namespace lockstep::inline v0_1 {
namespace {

kernels::CrossEntropyOptions KernelOptionsOf(const CrossEntropyLossOptions& options) {
  return {.label_smoothing = static_cast<float>(options.label_smoothing),
          .class_weights = options.class_weights.empty() ? nullptr : options.class_weights.data(),
          .ignored_index = options.ignored_index};
}

// Scores of fewer classes are cheap to keep, and a user can then look at them.
constexpr int64_t kFewestClassesInChunks = 2048;

class SoftmaxCrossEntropy final : public BlockwiseLoss {
 public:
  SoftmaxCrossEntropy(CrossEntropyLossOptions options, int64_t classes)
      : BlockwiseLoss(kWork), options_(std::move(options)), classes_(classes) {}

  Result<Declaration> Declare(std::span<const TensorSpec> x, const Fused& fused,
                              const PlanOptions& options) const override {
    LOCKSTEP_TRY_ASSIGN(Declaration declared, BlockwiseLoss::Declare(x, fused, options));
    declared.takes_product = options.training && classes_ >= kFewestClassesInChunks;
    if (fused.product < 0) return declared;
    declared.reads_y = {true};
    declared.flops = static_cast<double>(kWork * x[0].shape.rows() * classes_);
    ChunkedProduct::Declare(x, fused, declared);
    return declared;
  }

  void Book(std::span<const TensorSpec> x, Booking& booking) override {
    chunked_ = booking.fused().product >= 0;
    if (!chunked_) return BlockwiseLoss::Book(x, booking);
    const Shape y = ChunkedProduct::ProductShape(x, booking.fused());
    BookSums(y, x, booking);
    losses_ = booking.Book<double>(y.rows(), Life::kCall);
    product_.Book(x, booking);
  }

  void Forward(const Step& step, const Operands& o) override {
    if (!chunked_) return BlockwiseLoss::Forward(step, o);
    if (!(step.backward_follows && product_.learns())) RunInChunks(step, o, /*backward=*/false);
  }

  void Backward(const Step& step, const Operands& o) override {
    if (!chunked_) return BlockwiseLoss::Backward(step, o);
    RunInChunks(step, o, /*backward=*/true);
  }

  Status Check(const Step& step, const Operands& o) const override {
    LOCKSTEP_TRY(BlockwiseLoss::Check(step, o));
    const std::span<const int32_t> ids = o.x(1).span<int32_t>();
    for (size_t r = 0; r < ids.size(); ++r) {
      if (ids[r] != options_.ignored_index && (ids[r] < 0 || ids[r] >= classes_)) {
        return Status::Invalid("target " + std::to_string(ids[r]) + " in row " + std::to_string(r) +
                               " is not a class: there are " + std::to_string(classes_));
      }
    }
    return Status::Ok();
  }

 private:
  static constexpr int64_t kWork = 4;

  double WeightOf(const Operands& o, IndexRange rows) const override {
    return kernels::CrossEntropyWeight(static_cast<const int32_t*>(o.x(1).data()) + rows.begin,
                                       rows.size(), classes_, KernelOptionsOf(options_));
  }

  void RunInChunks(const Step& step, const Operands& o, bool backward) {
    const auto* targets = static_cast<const int32_t*>(o.x(1).data());
    const double scale = backward ? *o.dy().as<double>() : 0.0;
    double* losses = step[losses_];
    product_.Run(step, o, backward, [&](IndexRange rows, float* y) {
      step.ctx.For(rows.size(), kWork * rows.size() * classes_, [&](int64_t i) {
        float* row = y + i * classes_;
        const auto weight = static_cast<double>(SampleWeight(o, rows.begin + i));
        losses[rows.begin + i] = weight * kernels::CrossEntropy(row, targets + rows.begin + i, 1,
                                                                classes_, KernelOptionsOf(options_),
                                                                static_cast<float>(scale * weight),
                                                                backward ? row : nullptr);
      });
    });
    *o.y().as<double>() = SumOverBlocks(step, o.x(1).size(), [&](IndexRange rows) {
      return std::accumulate(losses + rows.begin, losses + rows.end, 0.0);
    });
  }

  double Run(const Step&, int64_t, const Block& block) const override {
    return kernels::CrossEntropy(block.y, static_cast<const int32_t*>(block.target), block.rows,
                                 classes_, KernelOptionsOf(options_), block.scale, block.dy);
  }

  CrossEntropyLossOptions options_;
  int64_t classes_;
  bool chunked_ = false;
  ChunkedProduct product_;
  Buffer<double> losses_;  // of rows, where they come in chunks
};

class SoftTargetCrossEntropy final : public BlockwiseLoss {
 public:
  SoftTargetCrossEntropy(CrossEntropyLossOptions options, int64_t classes)
      : BlockwiseLoss(/*work=*/5), options_(std::move(options)), classes_(classes) {}

  Status Check(const Step& step, const Operands& o) const override {
    LOCKSTEP_TRY(BlockwiseLoss::Check(step, o));
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

 private:
  double WeightOf(const Operands& o, IndexRange rows) const override {
    double count = 0.0;
    for (int64_t r = rows.begin; r < rows.end; ++r) {
      const float* row = o.x_f32(1) + r * classes_;
      if (std::any_of(row, row + classes_, [](float one) { return one != 0.0f; })) count += 1.0;
    }
    return count;
  }
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
