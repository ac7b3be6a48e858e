// Where the time of a training step goes, and how large what flows through the layers is.
#ifndef LOCKSTEP_TOOLS_REPORT_LAYER_PROBE_H_
#define LOCKSTEP_TOOLS_REPORT_LAYER_PROBE_H_

#include <cstdint>
#include <string>
#include <vector>

#include "engine/base/status.h"
#include "engine/train/evaluate.h"
#include "engine/train/network.h"

namespace lockstep::inline v0_1::tools {

// Of a tensor: the root of the mean of the squares, and the share of exact zeros. Negative: not
// known.
struct Scale {
  double rms = -1.0;
  double zeros = -1.0;
};

struct LayerFacts {
  std::string path{};                          // "0", "3.body.1"
  std::string kind{};                          // "Linear"
  double forward_ms = 0.0, backward_ms = 0.0;  // medians, of one step
  Scale output{};                              // y in training
  Scale input_gradient{};              // dx; not known for the first layer, which does not make it
  Scale weights{}, weight_gradient{};  // over all its parameters; not known where it has none
};

// Runs `passes` + 1 training steps without an update on the first samples of `samples`, as many as
// a step takes, and puts back what they change (running statistics): afterwards the network holds
// the same bits as before. Its gradients are those of the last pass.
Result<std::vector<LayerFacts>> ProbeLayers(Network& network, const Subset& samples, int passes);

}  // namespace lockstep::tools

#endif  // LOCKSTEP_TOOLS_REPORT_LAYER_PROBE_H_
