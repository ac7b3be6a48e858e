// What all losses share: a sum over the batch, taken in the row blocks of a RowGrid and merged by
// its fixed tree.
#ifndef LOCKSTEP_LAYERS_LOSS_BLOCKS_H_
#define LOCKSTEP_LAYERS_LOSS_BLOCKS_H_

#include <cstdint>
#include <memory>

#include "engine/layer.h"
#include "engine/parallel/function_ref.h"
#include "engine/parallel/shards.h"

namespace lockstep {

class LossBlocks {
 public:
  // For outputs of shape `out`, seen as (rows, channels).
  void Bind(const Shape& out, Planner& plan);

  // The sum over all blocks of body(rows of the block), for `samples` samples. `work` as in
  // Context::For.
  double Sum(const Step& step, int64_t samples, int64_t work,
             FunctionRef<double(IndexRange rows)> body);
  void ForEach(const Step& step, int64_t samples, int64_t work,
               FunctionRef<void(IndexRange rows)> body);

 private:
  std::unique_ptr<RowGrid> grid_;
  Buffer<double> sums_;
};

}  // namespace lockstep

#endif  // LOCKSTEP_LAYERS_LOSS_BLOCKS_H_
