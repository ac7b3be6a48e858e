// Why a network says what it says of one sample: what each of its columns contributes, by Shapley's
// values. A column's contribution is the mean, over all orders in which columns could become known,
// of how what is told changes when this one does; one that is not known yet holds its usual value.
//
//   contribution_i = sum over S without i of |S|! (n - |S| - 1)! / n! (v(S + i) - v(S))
//
// v(S): what is told where the columns S are the sample's and all others the baseline's. For up to
// ExplainOptions::exact columns that differ from the baseline this is computed as it stands; for
// more, orders are drawn: Strumbelj and Kononenko, "Explaining prediction models and individual
// predictions with feature contributions", 2014, each order with its reverse (Mitchell and others,
// "Sampling permutations for Shapley value estimation", 2022). Either way contributions add up to
// the difference between prediction and baseline, to the rounding of doubles.
#ifndef LOCKSTEP_ENGINE_TRAIN_EXPLAIN_H_
#define LOCKSTEP_ENGINE_TRAIN_EXPLAIN_H_

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "engine/base/status.h"
#include "engine/data/dataset.h"
#include "engine/train/network.h"

namespace lockstep::inline v0_1 {

struct ExplainOptions {
  int64_t exact = 10;    // 2^exact samples are predicted at most
  int64_t orders = 256;  // drawn where there are more columns; an even number
  uint64_t seed = 1;
};

struct Explanation {
  double baseline = 0.0, prediction = 0.0;  // what is told of either
  std::vector<double> contributions{};      // of each column
  // The largest standard error of a contribution that comes from drawing orders; 0: none is drawn.
  double error = 0.0;
};

// The number that is told of a sample, of its outputs as Network::Predict gives them.
using ToldOf = std::function<double(std::span<const float> y)>;

// The same numbers for the same arguments, whatever the threads and the bound batch. A column whose
// numbers are those of the baseline contributes 0.
//   x, baseline   one sample each, as the network takes it
//   columns       disjoint ranges of it, which hold all that differs
// Errors: lengths that do not fit the network, columns that leave out a difference, a number of
// either sample, or what is told, is not finite, what `told` throws.
Result<Explanation> Explain(Network& network, std::span<const float> x,
                            std::span<const float> baseline, std::span<const FeatureColumn> columns,
                            const ToldOf& told, const ExplainOptions& options = {});

}  // namespace lockstep

#endif  // LOCKSTEP_ENGINE_TRAIN_EXPLAIN_H_
