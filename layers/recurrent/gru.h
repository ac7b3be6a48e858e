// A gated recurrent unit (torch.nn.GRU with batch_first): Cho et al., 2014, with the reset gate
// behind the product with the state and its bias, as PyTorch has it.
// Formulas: engine/kernels/recurrent/recurrent_cell.h; shapes and names: recurrent.h.
#ifndef LOCKSTEP_LAYERS_RECURRENT_GRU_H_
#define LOCKSTEP_LAYERS_RECURRENT_GRU_H_

#include <cstdint>
#include <string>

#include "layers/recurrent/recurrent.h"

namespace lockstep::inline v0_1 {

class Gru final : public RecurrentLayer {
 public:
  explicit Gru(int64_t hidden, const RecurrentOptions& options = {})
      : RecurrentLayer(ops::RecurrentCell::kGru, hidden, options) {}

  std::string kind() const override { return "GRU"; }
};

}  // namespace lockstep

#endif  // LOCKSTEP_LAYERS_RECURRENT_GRU_H_
