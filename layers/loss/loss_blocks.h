// What all losses share: a sum over the batch, by the fixed tree of the step's cut. Samples of
// several rows (the places of a text) are summed one by one before: rows in order, in parts of 16.
// Rows that count for nothing add exactly 0, so to fill samples up with them changes no bit.
// Samples may have weights w (Graph::SetSampleWeights): loss = sum w l, weight = sum w, dy = scale
// w dl/dy, sample by sample, so that a loss itself knows nothing of them.
#ifndef LOCKSTEP_LAYERS_LOSS_LOSS_BLOCKS_H_
#define LOCKSTEP_LAYERS_LOSS_LOSS_BLOCKS_H_

#include <cstdint>

#include "engine/parallel/function_ref.h"
#include "engine/parallel/shards.h"
#include "engine/plan/operation.h"

namespace lockstep::inline v0_1 {

// Inputs: y, seen as (rows, channels), targets, and weights where there are; the output is the sum
// of the loss, the gradient that of y.
class BlockwiseLoss : public LossOperation {
 public:
  Result<Declaration> Declare(std::span<const TensorSpec> x, const Fused& fused,
                              const PlanOptions& options) const override;
  void Book(std::span<const TensorSpec> x, Booking& booking) override;
  void Forward(const Step& step, const Operands& o) override;
  void Backward(const Step& step, const Operands& o) override;
  // Names a weight that is not finite or below 0.
  Status Check(const Step& step, const Operands& o) const override;
  double Weight(const Step& step, const Operands& o) const override;
  bool takes_weights() const override { return true; }

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
  // What the targets of these rows count for, their sample's weight apart. Every one counts once.
  virtual double WeightOf(const Operands& o, IndexRange rows) const;

  // The sum of body(rows), which adds up its rows in order, over ranges that make up the batch.
  double SumOverBlocks(const Step& step, int64_t work,
                       FunctionRef<double(IndexRange rows)> body) const;
  // For losses that do not use Book: y, seen as (rows, channels), and all inputs.
  void BookSums(const Shape& y, std::span<const TensorSpec> x, Booking& booking);
  // Of the sample that a row is of; 1 where there are no weights.
  float SampleWeight(const Operands& o, int64_t row) const;

 private:
  static constexpr int64_t kPartRows = 16;

  Block BlockOf(const Operands& o, IndexRange rows, double scale = 0.0, float* dy = nullptr) const;
  double RunWeighted(const Step& step, const Operands& o, IndexRange rows, double scale,
                     float* dy) const;
  double WeightedSum(const Operands& o, IndexRange rows,
                     FunctionRef<double(IndexRange rows, double weight)> body) const;

  int64_t work_;
  int64_t channels_ = 1;
  int64_t targets_per_row_ = 1;
  int64_t rows_per_sample_ = 1;
  bool weighted_ = false;
  Rows rows_, samples_;
  Buffer<double> sums_;   // of blocks of samples
  Buffer<double> parts_;  // of parts of samples, where those have several rows
};

}  // namespace lockstep

#endif  // LOCKSTEP_LAYERS_LOSS_LOSS_BLOCKS_H_
