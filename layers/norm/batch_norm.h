// Batch normalisation over every dimension but the last (torch.nn.BatchNorm1d/2d/3d, channels
// last). Ioffe, Szegedy, "Batch normalization: accelerating deep network training by reducing
// internal covariate shift", 2015.
#ifndef LOCKSTEP_LAYERS_NORM_BATCH_NORM_H_
#define LOCKSTEP_LAYERS_NORM_BATCH_NORM_H_

#include <optional>
#include <string>

#include "engine/layer.h"

namespace lockstep::inline v0_1 {

// How running statistics are kept. The normalisation itself is the same in all three. With s the
// batch's statistic:
//   kTorch    running = (1 - momentum) running + momentum s, unbiased variance; momentum 0.1
//   kKeras    running = momentum running + (1 - momentum) s, biased variance;   momentum 0.99
//   kLesson   as kTorch, but of the biased variance;                            momentum 0.1
enum class Convention { kTorch, kKeras, kLesson };

// What training does with a batch that holds a single value for each channel, which has no
// variance.
enum class SingleValuePolicy {
  kError,    // the step fails with a message
  kSkip,     // the batch is left out
  kRunning,  // the batch is normalised by the running statistics, which stay as they are
};

struct BatchNormOptions {
  double eps = 1e-5;
  std::optional<double> momentum{};  // the convention's own
  bool affine = true;                // learn gamma and beta
  float gamma = 1.0f;                // how gamma begins
  bool track_running_stats = true;   // otherwise evaluation normalises by the batch as well
  bool cumulative =
      false;  // running statistics are plain averages over all batches (PyTorch: momentum=None)
  Convention convention = Convention::kTorch;
  SingleValuePolicy single_value = SingleValuePolicy::kError;
  // Statistics of the global batch, over all ranks (torch.nn.SyncBatchNorm). Otherwise each rank
  // normalises by those of its own samples, which saves two small messages a step, makes the result
  // depend on the number of ranks, and is noisier; the running statistics are rank 0's, as
  // DistributedDataParallel has it.
  bool sync = true;
};

const char* NameOf(Convention convention);  // "torch", "keras", "lesson"

// x (B, ..., C) -> y of the same shape. Parameters: weight (gamma), bias (beta), each (C). States:
// running_mean, running_var (C) and num_batches_tracked (an i64). Where gamma is frozen nothing of it changes in training: it
// normalises by the running statistics, as in Keras.
class BatchNorm final : public Layer {
 public:
  explicit BatchNorm(BatchNormOptions options = {}) : options_(options) {}

  std::string kind() const override { return "BatchNorm"; }
  const BatchNormOptions& options() const { return options_; }
  Result<Value> Build(Graph& graph, Value x) const override;

 private:
  BatchNormOptions options_;
};

}  // namespace lockstep

#endif  // LOCKSTEP_LAYERS_NORM_BATCH_NORM_H_
