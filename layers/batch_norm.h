// Batch normalisation over every dimension but the last (torch.nn.BatchNorm1d/2d/3d, channels
// last). Ioffe, Szegedy, "Batch normalization: accelerating deep network training by reducing
// internal covariate shift", 2015.
#ifndef LOCKSTEP_LAYERS_BATCH_NORM_H_
#define LOCKSTEP_LAYERS_BATCH_NORM_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "engine/layer.h"
#include "engine/parallel/shards.h"

namespace lockstep {

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
  bool track_running_stats = true;   // otherwise evaluation normalises by the batch as well
  bool cumulative =
      false;  // running statistics are plain averages over all batches (PyTorch: momentum=None)
  Convention convention = Convention::kTorch;
  SingleValuePolicy single_value = SingleValuePolicy::kError;
};

const char* NameOf(Convention convention);  // "torch", "keras", "lesson"

// x (B, ..., C) -> y of the same shape. Parameters: weight (gamma), bias (beta), each (C). States:
// running_mean, running_var (C), num_batches_tracked.
class BatchNorm final : public Layer, public ChannelNorm {
 public:
  explicit BatchNorm(BatchNormOptions options = {}) : options_(options) {}

  std::string kind() const override { return "BatchNorm"; }
  const BatchNormOptions& options() const { return options_; }

  Result<Bound> Bind(const Shape& in, Planner& plan) override;
  void Forward(const Step& step, ConstTensor x, Tensor y) override;
  void Backward(const Step& step, ConstTensor x, ConstTensor y, ConstTensor dy, Tensor dx) override;
  Result<Graph::Value> Export(const Step& step, Graph& graph, const Graph::Value& x) const override;
  Result<Admission> Admit(int64_t samples, Mode mode) const override;

  bool FuseActivation(kernels::Activation activation) override;
  bool FuseAdd() override;
  void ForwardAdd(const Step& step, ConstTensor x, ConstTensor add, Tensor y) override;
  void BackwardAdd(const Step& step, ConstTensor x, ConstTensor y, ConstTensor dy, Tensor dx,
                   Tensor d_add) override;

  ChannelNorm* AsChannelNorm() override { return options_.track_running_stats ? this : nullptr; }
  std::span<const int64_t> MomentRows(const Step& step, int64_t samples) override;
  void TakeMoments(const Step& step, const float* y, int64_t row_begin, int64_t row_end,
                   int64_t col_begin, int64_t col_end) override;
  void Fold(const Step& step, float* scale, float* shift) const override;

 private:
  double Momentum() const;
  bool UsesBatch(const Step& step, int64_t samples) const;
  void Run(const Step& step, ConstTensor x, const float* add, Tensor y);
  void RunBackward(const Step& step, ConstTensor x, ConstTensor y, ConstTensor dy, Tensor dx,
                   float* d_add);
  void UpdateRunning(const Step& step, int64_t rows);

  BatchNormOptions options_;
  int64_t channels_ = 0;
  int64_t rows_per_sample_ = 1;
  kernels::Activation activation_ = kernels::Activation::kNone;
  bool adds_ = false;
  Parameter gamma_, beta_;
  State running_mean_, running_var_, batches_;
  Buffer<float> mean_, mean_low_, inv_std_;  // of the step: the batch's, or the running ones
  Buffer<double> variance_;                  // of the batch, biased
  Buffer<double> moments_;  // of each row block, from the layer in front or from here
  Buffer<double> gradient_sums_;
  Buffer<float> gradient_means_;
  std::unique_ptr<RowGrid> grid_;
  bool moments_taken_ = false;  // the layer in front fills moments_ in this step
};

}  // namespace lockstep

#endif  // LOCKSTEP_LAYERS_BATCH_NORM_H_
