// What a classifier reads of the states of a recurrent net: those behind the whole text. Of the
// forward direction at its last place, of the reverse direction at its first.
#ifndef LOCKSTEP_LAYERS_RECURRENT_LAST_STEP_H_
#define LOCKSTEP_LAYERS_RECURRENT_LAST_STEP_H_

#include <string>

#include "engine/layer.h"

namespace lockstep::inline v0_1 {

struct LastStepOptions {
  bool bidirectional = false;  // the second half of the channels is of the reverse direction
  // i32 (B, T) as RecurrentOptions::segments: what is below 0 is padding, on either side. A row of
  // nothing but padding gives zeros. Or nothing: each row is one text without padding.
  Value segments{};
};

// x (B, T, C) -> y (B, C).
class LastStep final : public Layer {
 public:
  explicit LastStep(const LastStepOptions& options = {}) : options_(options) {}

  std::string kind() const override { return "LastStep"; }
  Result<Value> Build(Graph& graph, Value x) const override;

 private:
  LastStepOptions options_;
};

}  // namespace lockstep

#endif  // LOCKSTEP_LAYERS_RECURRENT_LAST_STEP_H_
