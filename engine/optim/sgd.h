// Stochastic gradient descent with momentum, as torch.optim.SGD.
//
//   d = g + weight_decay * p
//   b = momentum * b + (1 - dampening) * d        b = d in the first step
//   p = p - lr * (b, or d + momentum * b with Nesterov)
//
// Nesterov's form and the place of the learning rate follow PyTorch (torch/optim/sgd.py), which
// differ from Sutskever et al. (2013).
#ifndef LOCKSTEP_ENGINE_OPTIM_SGD_H_
#define LOCKSTEP_ENGINE_OPTIM_SGD_H_

#include <span>
#include <string>
#include <vector>

#include "engine/base/status.h"
#include "engine/kernels/optimizer/optimizer_update.h"
#include "engine/optim/flat_optimizer.h"
#include "engine/optim/optimizer.h"

namespace lockstep::inline v0_1 {

// Names and defaults are PyTorch's.
struct SgdOptions {
  double lr = 1e-3;
  double momentum = 0.0;
  double dampening = 0.0;
  double weight_decay = 0.0;
  bool nesterov = false;
  bool maximize = false;
  bool decay_all = false;  // decay parameters declared Decay::kNo as well, as PyTorch does
  std::vector<ParameterGroup> groups = {};
};

// States: momentum_buffer, where momentum is not zero.
class Sgd final : public FlatOptimizer {
 public:
  explicit Sgd(SgdOptions options = {});
  std::string kind() const override { return "SGD"; }
  bool never_fails() const override { return true; }

 private:
  Status CheckOptions() const override;
  void Prepare(std::span<const Setting> settings, int64_t step, double learning_rate,
               double grad_scale) override;
  bool UpdateRange(size_t setting, const Range& range) const override;

  SgdOptions options_;
  std::vector<kernels::SgdFactors> factors_;  // by setting
};

}  // namespace lockstep

#endif  // LOCKSTEP_ENGINE_OPTIM_SGD_H_
