// How what a user is told changes with a sample as the user has it: the derivatives of
// Predictor::Run, in the units of the data.
//
//   J(s, k, i) = d p(s, k) / d x(s, i)      p what Predictor::Run gives, x the sample as it came
//   regression  J = scale J_net inv_sd      scale of the targets' unit, inv_sd of feature i
//   binary      J = p (1 - p) / T J_net inv_sd
//   classes     J(k) = p_k / T (J_net(k) - sum_j p_j J_net(j)) inv_sd
// where J_net is that of the network (jacobian.h), and T the temperature of the decision. Quantiles
// are told in ascending order, and their rows of J with them. A missing feature (NaN) is taken as
// the mean and a constant one as 0: their derivatives are 0.
#ifndef LOCKSTEP_ENGINE_TRAIN_PREDICTION_JACOBIAN_H_
#define LOCKSTEP_ENGINE_TRAIN_PREDICTION_JACOBIAN_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "engine/base/status.h"
#include "engine/data/dataset.h"
#include "engine/data/objective.h"
#include "engine/data/table/standardize.h"
#include "engine/tensor/tensor.h"
#include "engine/train/decision.h"
#include "engine/train/interpretation.h"
#include "engine/train/jacobian.h"
#include "engine/train/network.h"

namespace lockstep::inline v0_1 {

// Owns and borrows what Jacobian does, and is as thread-compatible. Movable.
class PredictionJacobian {
 public:
  // With the arguments that the Predictor is made with, and `rows` of JacobianOptions. Errors: as
  // of both, and a network of several inputs.
  static Result<PredictionJacobian> Make(const Network& network, const DatasetInfo& samples,
                                         std::optional<Standardizer> standardizer = std::nullopt,
                                         const Decision& decision = {}, int64_t rows = 0);

  // Of any number of samples; nothing is allocated unless it fails.
  //   x         f32 (samples, ...) as the network's input
  //   jacobian  f32 (samples, outputs(), inputs()), overwritten, or any shape of as many numbers
  //             that begins with the samples
  //   p         f32 (samples, ...) as the network's output, written: the predictions; or empty
  Status Run(ConstTensor x, Tensor jacobian, Tensor p = {});

  void set_decision(const Decision& decision) { predictions_.set_decision(decision); }

  int64_t outputs() const { return jacobian_.outputs(); }  // of a sample
  int64_t inputs() const { return jacobian_.inputs(); }

 private:
  PredictionJacobian(Jacobian jacobian, const Network& network, Interpretation predictions);
  // What becomes of one sample: x as it came, p from outputs to predictions, j (K, N).
  void ToUnits(const float* x, Tensor p, float* j);
  void SortQuantiles(float* p, float* j);

  Jacobian jacobian_;
  Interpretation predictions_;
  Shape x_shape_, y_shape_;    // of as many samples as are done at a time
  std::vector<float> x_, p_;   // room for these
  std::vector<size_t> order_;  // of the quantiles of one value
  std::vector<float> rows_;    // room to put rows of J into it
};

}  // namespace lockstep

#endif  // LOCKSTEP_ENGINE_TRAIN_PREDICTION_JACOBIAN_H_
