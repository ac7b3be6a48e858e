// What the machine's own limits allow a network's layers and its whole training step, by what the
// plan says they compute and move (the roofline model: Williams, Waterman and Patterson, 2009).
//
//   of a layer   bound = max(operations / peak_fma, bytes / stream_peak)
//                operations: as the plan counts them, forward; backward as many again for each of
//                dx and dW that is wanted, and twice as many where there are no weights.
//                bytes: inputs, outputs and weights once each; backward dy, what is read again, and
//                the gradients that are written.
//   of a step    floor = operations / peak_fma + bytes / stream_peak
//                operations: of what does 8 or more for each number that it reads or writes
//                (products, convolutions, attention). Norms, activations and losses count nothing:
//                they can ride on those.
//                bytes: each gradient is written once, and the optimizer reads gradient, parameter
//                and states and writes parameter and states (SGD with momentum 24 a parameter in
//                all, AdamW 32). Activations count nothing, nor do the weights that products read:
//                a schedule can be thought of that keeps either in cache.
//
// A layer whose numbers stay in the caches is not bound by memory, and may then be above 100 % of a
// bound that is. Ways to multiply with fewer operations (Winograd) may be, too.
#ifndef LOCKSTEP_TOOLS_SCALE_ROOFLINE_H_
#define LOCKSTEP_TOOLS_SCALE_ROOFLINE_H_

#include <string>
#include <vector>

#include "engine/optim/optimizer.h"
#include "engine/plan/program.h"
#include "tools/scale/peaks.h"

namespace lockstep::inline v0_1::scale {

struct Cost {
  double operations = 0.0;
  double bytes = 0.0;

  Cost& operator+=(const Cost& other) {
    operations += other.operations;
    bytes += other.bytes;
    return *this;
  }
};

// Seconds: whichever of both takes longer, and the one behind the other.
double Bound(const Cost& cost, const Peaks& peaks);
double Floor(const Cost& cost, const Peaks& peaks);

struct LayerCost {
  std::string path{};  // "" is the loss
  std::string kind{};
  Cost forward{}, backward{};
};

// Of each layer that computes something, in the order in which they run, at the largest batch of
// this process. What was fused counts where it is computed.
std::vector<LayerCost> LayerCosts(const Program& program);

// Of a whole step, at that batch. The optimizer is bound.
Cost StepCost(const Program& program, const Optimizer& optimizer);

}  // namespace lockstep::scale

#endif  // LOCKSTEP_TOOLS_SCALE_ROOFLINE_H_
