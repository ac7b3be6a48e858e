// How much a model relies on each column of its table: what a score loses when the column's values
// are dealt anew among the samples, everything else staying as it is (Breiman, Random forests,
// 2001; Fisher, Rudin, Dominici, All models are wrong, but many are useful, 2019). All features
// that were made of a column move together. Columns that say the same share their importance: each
// alone can be missed.
#ifndef LOCKSTEP_ENGINE_TRAIN_ASSESS_IMPORTANCE_H_
#define LOCKSTEP_ENGINE_TRAIN_ASSESS_IMPORTANCE_H_

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "engine/base/status.h"
#include "engine/data/dataset.h"
#include "engine/train/decision.h"
#include "engine/train/evaluate.h"
#include "engine/train/network.h"

namespace lockstep::inline v0_1 {

// Of samples that are rows of a table, where that says no more each feature is a column; else none.
std::vector<FeatureColumn> ColumnsOf(const DatasetInfo& info);

struct Importance {
  std::string column{};
  double mean = 0.0, sd = 0.0;  // of the loss in the score over the repetitions
};

struct Importances {
  std::string score{};  // which: see Scorer. Of those that are better the smaller, the gain counts
  double value = 0.0;   // with everything in its place, on these samples
  int64_t samples = 0, repetitions = 0;
  std::vector<Importance> columns{};  // the most important first
};

struct ImportanceOptions {
  int64_t repetitions = 5;
  int64_t samples = 5000;  // at most: so many are drawn by a fixed seed
  uint64_t seed = 1;
};

// By this process alone, in evaluation mode: columns * repetitions times through the samples.
// Score: the first of the Scorer's that is defined for these samples. A pure function of network
// and arguments. Errors: as Collect; a column outside the features.
Result<Importances> PermutationImportance(Network& network, const Subset& samples,
                                          std::span<const FeatureColumn> columns,
                                          const Decision& decision,
                                          const ImportanceOptions& options = {});

}  // namespace lockstep

#endif  // LOCKSTEP_ENGINE_TRAIN_ASSESS_IMPORTANCE_H_
