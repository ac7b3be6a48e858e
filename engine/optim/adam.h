// Adam (Kingma and Ba, 2015) and AdamW (Loshchilov and Hutter, 2019), as torch.optim has them.
//
//   d = g (+ weight_decay * p in Adam)
//   m = beta1 * m + (1 - beta1) * d,   v = beta2 * v + (1 - beta2) * d^2
//   p = (p, or (1 - lr * weight_decay) * p in AdamW)
//       - lr / (1 - beta1^t) * m / (sqrt(v / (1 - beta2^t)) + eps)
//
// With AMSGrad (Reddi et al., 2018) the largest v so far takes v's place in the last line.
#ifndef LOCKSTEP_ENGINE_OPTIM_ADAM_H_
#define LOCKSTEP_ENGINE_OPTIM_ADAM_H_

#include <array>
#include <span>
#include <string>
#include <vector>

#include "engine/base/status.h"
#include "engine/kernels/optimizer/optimizer_update.h"
#include "engine/optim/flat_optimizer.h"
#include "engine/optim/optimizer.h"

namespace lockstep::inline v0_1 {

// The least eps with which the formulas above hold in single floats: sqrt(1.18e-38 / (1 - beta2)),
// as 3.5e-18 of the usual beta2 = 0.999.
//
// What becomes of v is flushed to zero below the smallest normal float, 1.18e-38. From zero that
// takes (1 - beta2) d^2 < 1.18e-38, from a v that decays v < 1.18e-38; as 1 - beta2^t >= 1 - beta2,
// the root of v / (1 - beta2^t) that is lost is at most the limit in either case. With eps at the
// limit or above it, the divisor is then too small by a factor of 2 at most. Without it there is
// none that holds: eps = 1e-30 and gradients of 1e-20 made steps of 1e10 learning rates.
double LeastAdamEps(double beta2);
Status CheckAdamEps(double eps, double beta2);

// Names and defaults are PyTorch's. eps: at least LeastAdamEps(betas[1]).
template <bool kDecoupled>
struct BasicAdamOptions {
  double lr = 1e-3;
  std::array<double, 2> betas = {0.9, 0.999};
  double eps = 1e-8;
  double weight_decay = kDecoupled ? 0.01 : 0.0;
  bool amsgrad = false;
  bool maximize = false;
  bool decay_all = false;  // decay parameters declared Decay::kNo as well, as PyTorch does
  std::vector<ParameterGroup> groups = {};
};
using AdamOptions = BasicAdamOptions<false>;
using AdamWOptions = BasicAdamOptions<true>;  // weight decay decoupled from the gradient

// States: exp_avg, exp_avg_sq, and max_exp_avg_sq with amsgrad.
template <bool kDecoupled>
class BasicAdam final : public FlatOptimizer {
 public:
  explicit BasicAdam(BasicAdamOptions<kDecoupled> options = {});
  std::string kind() const override { return kDecoupled ? "AdamW" : "Adam"; }
  bool never_fails() const override { return true; }

 private:
  Status CheckOptions() const override;
  void Prepare(std::span<const Setting> settings, int64_t step, double learning_rate,
               double grad_scale) override;
  bool UpdateRange(size_t setting, const Range& range) const override;

  BasicAdamOptions<kDecoupled> options_;
  std::vector<kernels::AdamFactors> factors_;  // by setting
};
using Adam = BasicAdam<false>;
using AdamW = BasicAdam<true>;

extern template class BasicAdam<false>;
extern template class BasicAdam<true>;

}  // namespace lockstep

#endif  // LOCKSTEP_ENGINE_OPTIM_ADAM_H_
