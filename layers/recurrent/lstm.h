// A long short-term memory (torch.nn.LSTM with batch_first): Hochreiter and Schmidhuber, 1997.
// Formulas: engine/kernels/recurrent/recurrent_cell.h; shapes and names: recurrent.h.
#ifndef LOCKSTEP_LAYERS_RECURRENT_LSTM_H_
#define LOCKSTEP_LAYERS_RECURRENT_LSTM_H_

#include <cstdint>
#include <string>

#include "layers/recurrent/recurrent.h"

namespace lockstep::inline v0_1 {

class Lstm final : public RecurrentLayer {
 public:
  explicit Lstm(int64_t hidden, const RecurrentOptions& options = {})
      : RecurrentLayer(ops::RecurrentCell::kLstm, hidden, options) {}

  std::string kind() const override { return "LSTM"; }
};

}  // namespace lockstep

#endif  // LOCKSTEP_LAYERS_RECURRENT_LSTM_H_
