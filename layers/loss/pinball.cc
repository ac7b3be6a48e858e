// layers/loss/pinball.cc — y predictions of the quantiles q_i, t targets.
//   forward   e = t - y,  loss = e > 0 ? q e : (q - 1) e,  mean over all elements of y
//   backward  dy = scale / Q * (e > 0 ? -q : e < 0 ? 1 - q : 0)
#include "layers/loss/pinball.h"

#include <algorithm>
#include <cmath>
#include <functional>

#include "layers/loss/loss_blocks.h"

namespace lockstep::inline v0_1 {
namespace {

// Sums stand in double: a block has a few hundred terms, and none of them is rounded before.
class PinballError final : public BlockwiseLoss {
 public:
  explicit PinballError(std::vector<double> quantiles)
      : BlockwiseLoss(/*work=*/4), quantiles_(std::move(quantiles)) {}

 private:
  double Run(const Step&, int64_t, const Block& block) const override {
    const auto count = static_cast<int64_t>(quantiles_.size());
    const double share = 1.0 / static_cast<double>(count);
    const auto* targets = static_cast<const float*>(block.target);
    const int64_t elements = block.rows * block.channels;
    double sum = 0.0;
    for (int64_t i = 0; i < elements; ++i) {
      const double q = quantiles_[static_cast<size_t>(i % count)];
      const double e = static_cast<double>(targets[i / count]) - static_cast<double>(block.y[i]);
      sum += e > 0.0 ? q * e : (q - 1.0) * e;  // a NaN stays one
      if (block.dy == nullptr) continue;
      const double slope = e > 0.0 ? -q : e < 0.0 ? 1.0 - q : 0.0 * e;
      block.dy[i] = static_cast<float>(static_cast<double>(block.scale) * share * slope);
    }
    return share * sum;
  }

  std::vector<double> quantiles_;
};

}  // namespace

Shape PinballLoss::target_shape(const Shape& out) const {
  const auto count = std::max<int64_t>(1, static_cast<int64_t>(quantiles_.size()));
  return out.rank() < 2 ? out : out.WithChannels(out.channels() / count);
}

Status PinballLoss::Build(Graph& graph, const std::string& name, Value y, Value target,
                          double factor) const {
  const auto inside = [](double q) { return q > 0.0 && q < 1.0; };
  const auto& q = quantiles_;
  if (q.empty() || !std::all_of(q.begin(), q.end(), inside) ||
      std::adjacent_find(q.begin(), q.end(), std::greater_equal<>()) != q.end())
    return Status::Invalid("takes ascending quantiles between 0 and 1, at least one");
  const Shape& shape = graph.shape(y);
  const auto count = static_cast<int64_t>(quantiles_.size());
  if (shape.rank() < 2 || shape.channels() % count != 0) {
    return Status::Invalid("takes (batch, ..., " + std::to_string(count) +
                           " quantiles of each target), not " + shape.ToString());
  }
  return graph.AddLoss(name, PinballError(quantiles_), {y, target}, factor);
}

}  // namespace lockstep
