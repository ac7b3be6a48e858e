// What a run must remember beside its tensors, to and from the metadata of a checkpoint.
#ifndef LOCKSTEP_ENGINE_CHECKPOINT_TRAINING_STATE_H_
#define LOCKSTEP_ENGINE_CHECKPOINT_TRAINING_STATE_H_

#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "engine/base/status.h"
#include "engine/io/safetensors.h"

namespace lockstep::inline v0_1 {

struct TrainingState {
  int64_t step = 0;            // steps done
  int64_t epoch = 0;           // the epoch the next step belongs to
  int64_t batch_in_epoch = 0;  // batches of that epoch already done
  uint64_t seed = 0;
  int64_t shards = 1;
  std::optional<double> best_metric{};  // the best validation metric so far
  std::string recipe{};                 // the recipe's text as run
  // What layers compute by that a model's shapes do not show, and must be the same where it is
  // read: {"batch_norm.1", "torch momentum=0.1 eps=1e-05"}.
  std::map<std::string, std::string> layer_traits{};

  bool operator==(const TrainingState&) const = default;
};

// Numbers are written so that they read back to the same value. Add further keys to the result as
// needed; TrainingStateFrom ignores those it does not know.
Metadata MetadataOf(const TrainingState& state);
Result<TrainingState> TrainingStateFrom(const Metadata& metadata);

}  // namespace lockstep

#endif  // LOCKSTEP_ENGINE_CHECKPOINT_TRAINING_STATE_H_
