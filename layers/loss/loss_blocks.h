// What all losses share: a sum over the batch, taken in the row blocks of the step's cut and merged
// by its fixed tree.
#ifndef LOCKSTEP_LAYERS_LOSS_LOSS_BLOCKS_H_
#define LOCKSTEP_LAYERS_LOSS_LOSS_BLOCKS_H_

#include <cstdint>

#include "engine/parallel/function_ref.h"
#include "engine/parallel/shards.h"
#include "engine/plan/operation.h"

namespace lockstep {

// Inputs: y, seen as (rows, channels), and targets; the output is the sum of the loss, the gradient
// that of y.
class BlockwiseLoss : public LossOperation {
 public:
  Result<Declaration> Declare(std::span<const TensorSpec> x, const Fused& fused,
                              const PlanOptions& options) const override;
  void Book(std::span<const TensorSpec> x, Booking& booking) override;
  void Forward(const Step& step, const Operands& o) override;
  void Backward(const Step& step, const Operands& o) override;
  // Every target counts once.
  double Weight(const Step& step, const Operands& o) const override;

 protected:
  // `work`: about how many elementary operations an element of y costs, as in Context::For.
  explicit BlockwiseLoss(int64_t work) : work_(work) {}

  struct Block {
    const float* y;      // (rows, channels)
    const void* target;  // of these rows, of the type that the loss declares
    int64_t rows;
    int64_t channels;
    float scale;  // of dy
    float* dy;    // (rows, channels), or null: only the sum is wanted
  };
  // The sum of the loss over a block, and dy = scale * d sum / dy. On any thread.
  virtual double Run(const Step& step, int64_t first_row, const Block& block) const = 0;

  // The sum of body(rows) over all blocks.
  double SumOverBlocks(const Step& step, int64_t work,
                       FunctionRef<double(IndexRange rows)> body) const;

 private:
  Block BlockOf(const Operands& o, IndexRange rows) const;

  int64_t work_;
  int64_t channels_ = 1;
  int64_t targets_per_row_ = 1;
  Rows rows_;
  Buffer<double> sums_;
};

}  // namespace lockstep

#endif  // LOCKSTEP_LAYERS_LOSS_LOSS_BLOCKS_H_
