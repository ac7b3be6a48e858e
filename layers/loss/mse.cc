// layers/loss/mse.cc — y predictions, t targets.
//   forward   loss = (y - t)^2, mean over all elements
//   backward  dy   = scale * 2 (y - t)
#include "layers/loss/mse.h"

#include "engine/kernels/elementwise/losses.h"
#include "layers/loss/loss_blocks.h"

namespace lockstep::inline v0_1 {
namespace {

class SquaredError final : public BlockwiseLoss {
 public:
  SquaredError() : BlockwiseLoss(/*work=*/1) {}

 private:
  double Run(const Step&, int64_t, const Block& block) const override {
    return kernels::SquaredError(block.y, static_cast<const float*>(block.target),
                                 block.rows * block.channels, block.scale, block.dy);
  }
};

}  // namespace

Status MseLoss::Build(Graph& graph, const std::string& name, Value y, Value target,
                      double factor) const {
  return graph.AddLoss(name, SquaredError(), {y, target}, factor);
}

}  // namespace lockstep
