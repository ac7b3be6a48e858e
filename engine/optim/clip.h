// The global norm of all gradients, and clipping by it, as torch.nn.utils.clip_grad_norm_.
//
//   norm = sqrt(sum g^2 over all parameters)
//   factor = min(1, max_norm / (norm + 1e-6))
//
// The factor goes to Optimizer::Update as grad_scale, so clipping reads the gradients once and
// writes nothing.
#ifndef LOCKSTEP_ENGINE_OPTIM_CLIP_H_
#define LOCKSTEP_ENGINE_OPTIM_CLIP_H_

#include <cstdint>
#include <span>
#include <vector>

#include "engine/base/status.h"
#include "engine/parallel/context.h"
#include "engine/parallel/shards.h"
#include "engine/plan/parameters.h"

namespace lockstep::inline v0_1 {

// Thread-compatible. Sums in double over fixed cells of the flat array, merged by the tree of
// engine/parallel/shards.h: the same bits for any number of threads and on any target, and for
// ranks that each have a part of the cells.
class GradientNorm {
 public:
  // Books room for the cells of these parameters (or of any others that take as many floats).
  explicit GradientNorm(const ParameterSet& parameters);

  // The norm; an error that names the first parameter with a gradient that is not finite. Allocates
  // nothing but that error.
  Result<double> Measure(Context& ctx, const ParameterSet& parameters);

  // The same in two steps, for who has the gradients of some cells and gets the sums of others from
  // elsewhere. Ranges are whole cells (the last cell of all may be shorter).
  void MeasureCells(Context& ctx, const ParameterSet& parameters,
                    std::span<const IndexRange> floats);
  // Of squares, by cell: to be completed before Finish, which leaves nothing in them.
  std::span<double> sums() { return sums_; }
  Result<double> Finish(const ParameterSet& parameters);

  int64_t cell() const { return cell_; }  // floats: a power of two
  static int64_t CellOf(int64_t floats);

 private:
  int64_t cell_;
  std::vector<double> sums_;
};

// What gradients of this norm are to be multiplied by so that their norm is at most max_norm.
// max_norm > 0; infinity clips nothing.
double ClipFactor(double norm, double max_norm);

}  // namespace lockstep

#endif  // LOCKSTEP_ENGINE_OPTIM_CLIP_H_
