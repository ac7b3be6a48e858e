// layers/loss/bce_with_logits.cc — x logits, t targets, w weights, p positive weights, s the
// sigmoid.
//   forward   loss = w ((1 - t) x + (1 + (p - 1) t) ln(1 + e^-x)),   mean over all elements
//   backward  dx   = scale * w ((1 + (p - 1) t) s(x) - p t)
#include "layers/loss/bce_with_logits.h"

#include "engine/kernels/elementwise/losses.h"
#include "layers/loss/loss_blocks.h"

namespace lockstep::inline v0_1 {
namespace {

// One value for each column, from none, one or all of them.
Status Spread(const char* what, int64_t columns, std::vector<float>& values) {
  if (values.empty()) return Status::Ok();
  if (values.size() == 1) values.resize(static_cast<size_t>(columns), values.front());
  if (static_cast<int64_t>(values.size()) == columns) return Status::Ok();
  return Status::Invalid(std::to_string(values.size()) + " values of " + what + " for " +
                         std::to_string(columns) + " outputs");
}

class BinaryCrossEntropy final : public BlockwiseLoss {
 public:
  explicit BinaryCrossEntropy(BceWithLogitsLossOptions options)
      : BlockwiseLoss(/*work=*/8), options_(std::move(options)) {}

  void Book(std::span<const TensorSpec> x, Booking& booking) override {
    BlockwiseLoss::Book(x, booking);
    if (!options_.weight.empty()) weights_ = booking.Book(x[0].shape.size(), Life::kCall);
  }

 private:
  double Run(const Step& step, int64_t first_row, const Block& block) const override {
    kernels::BceOptions options{
        .pos_weight = options_.pos_weight.empty() ? nullptr : options_.pos_weight.data()};
    if (weights_.valid()) {
      float* weights = step[weights_] + first_row * block.channels;
      for (int64_t i = 0; i < block.rows * block.channels; ++i)
        weights[i] = options_.weight[static_cast<size_t>(i % block.channels)];
      options.weights = weights;
    }
    return kernels::BceWithLogits(block.y, static_cast<const float*>(block.target), block.rows,
                                  block.channels, options, block.scale, block.dy);
  }

  BceWithLogitsLossOptions options_;
  Buffer<float> weights_;  // (rows, columns), only where `weight` is given
};

}  // namespace

Status BceWithLogitsLoss::Build(Graph& graph, const std::string& name, Value y, Value target,
                                double factor) const {
  const Shape& out = graph.shape(y);
  if (out.rank() < 2)
    return Status::Invalid("takes logits of shape (batch, ..., outputs), not " + out.ToString());
  BceWithLogitsLossOptions options = options_;
  LOCKSTEP_TRY(Spread("weight", out.channels(), options.weight));
  LOCKSTEP_TRY(Spread("pos_weight", out.channels(), options.pos_weight));
  return graph.AddLoss(name, BinaryCrossEntropy(std::move(options)), {y, target}, factor);
}

}  // namespace lockstep
