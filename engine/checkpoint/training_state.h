// What a run must remember beside its tensors, to and from the metadata of a checkpoint.
#ifndef LOCKSTEP_ENGINE_CHECKPOINT_TRAINING_STATE_H_
#define LOCKSTEP_ENGINE_CHECKPOINT_TRAINING_STATE_H_

#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "engine/base/status.h"
#include "engine/io/safetensors.h"

namespace lockstep {

struct BatchNormConvention {
  std::string convention = "torch";  // torch, keras or lesson
  double momentum = 0.1;
  double eps = 1e-5;

  bool operator==(const BatchNormConvention&) const = default;
};

struct TrainingState {
  int64_t step = 0;            // steps done
  int64_t epoch = 0;           // the epoch the next step belongs to
  int64_t batch_in_epoch = 0;  // batches of that epoch already done
  uint64_t seed = 0;
  int64_t shards = 1;
  std::optional<double> best_metric{};                       // the best validation metric so far
  std::string recipe{};                                      // the recipe's text as run
  std::map<std::string, BatchNormConvention> batch_norms{};  // by the layer's name: "1"

  bool operator==(const TrainingState&) const = default;
};

// Numbers are written so that they read back to the same value. Add further keys to the result as
// needed; TrainingStateFrom ignores those it does not know.
Metadata MetadataOf(const TrainingState& state);
Result<TrainingState> TrainingStateFrom(const Metadata& metadata);

}  // namespace lockstep

#endif  // LOCKSTEP_ENGINE_CHECKPOINT_TRAINING_STATE_H_
