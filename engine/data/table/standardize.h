// Features brought to mean 0 and standard deviation 1, as measured on the training samples alone.
//
//   y = (x - mean) / sd    per channel
//   y = 0                  where x is missing (NaN), or the channel is constant (sd = 0)
#ifndef LOCKSTEP_ENGINE_DATA_TABLE_STANDARDIZE_H_
#define LOCKSTEP_ENGINE_DATA_TABLE_STANDARDIZE_H_

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "engine/base/status.h"
#include "engine/data/dataset.h"

namespace lockstep::inline v0_1 {

// Two float vectors that travel in checkpoints. Thread-safety: immutable once made.
class Standardizer {
 public:
  // Mean and (biased) standard deviation of each channel over the samples `train` (and over all
  // positions of an image), in double; missing values do not count. Errors: no samples, x not f32,
  // or a failing Gather.
  static Result<Standardizer> Measure(const Dataset& dataset, std::span<const int64_t> train);
  // From a checkpoint. Errors: lengths that differ, values that are not finite, sd < 0.
  static Result<Standardizer> FromVectors(std::vector<float> mean, std::vector<float> sd);

  int64_t channels() const { return static_cast<int64_t>(mean_.size()); }
  const std::vector<float>& mean() const { return mean_; }
  const std::vector<float>& sd() const { return sd_; }  // 0: constant

  const std::vector<float>& inv_sd() const { return inv_sd_; }  // 0 where constant

  // In place, x f32 (..., channels()).
  void Apply(Tensor x) const;

 private:
  Standardizer(std::vector<float> mean, std::vector<float> sd);
  std::vector<float> mean_, sd_, inv_sd_;
};

// `base`, standardised whenever it is gathered. Its info is base's, without missing values. Errors:
// the number of channels differs, x is not f32.
Result<std::shared_ptr<const Dataset>> Standardized(std::shared_ptr<const Dataset> base,
                                                    Standardizer standardizer);

}  // namespace lockstep

#endif  // LOCKSTEP_ENGINE_DATA_TABLE_STANDARDIZE_H_
