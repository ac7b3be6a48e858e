// layers/loss/huber.cc — y predictions, t targets.
//   forward   e = y - t,  loss = |e| <= delta ? e^2 / 2 : delta (|e| - delta / 2)
//             mean over all elements
//   backward  dy = scale * clamp(e, -delta, delta)
#include "layers/loss/huber.h"

#include "engine/kernels/elementwise/losses.h"
#include "layers/loss/loss_blocks.h"

namespace lockstep::inline v0_1 {
namespace {

class HuberError final : public BlockwiseLoss {
 public:
  explicit HuberError(double delta) : BlockwiseLoss(/*work=*/1), delta_(delta) {}

 private:
  double Run(const Step&, int64_t, const Block& block) const override {
    return kernels::Huber(block.y, static_cast<const float*>(block.target),
                          block.rows * block.channels, static_cast<float>(delta_), block.scale,
                          block.dy);
  }

  double delta_;
};

}  // namespace

Status HuberLoss::Build(Graph& graph, const std::string& name, Value y, Value target,
                        double factor) const {
  if (!(delta_ > 0.0))
    return Status::Invalid("delta must be positive, not " + std::to_string(delta_));
  return graph.AddLoss(name, HuberError(delta_), {y, target}, factor);
}

}  // namespace lockstep
