// K-fold cross-validation: every sample is held back for testing in one of K runs.
//
//   all alike, by class   folds of sizes that differ by one at most, every class spread over them
//                         to within one sample (sklearn's StratifiedKFold, shuffled)
//   by group              whole groups, see AssignGroups (StratifiedGroupKFold)
//   by time               K + 1 blocks of time: fold k tests block k and trains on all before it,
//                         so that nothing is learned from the future; the first block is never
//                         tested, and what comes after the tested one is not used (TimeSeriesSplit)
#ifndef LOCKSTEP_ENGINE_DATA_FOLDS_H_
#define LOCKSTEP_ENGINE_DATA_FOLDS_H_

#include <cstdint>

#include "engine/base/status.h"
#include "engine/data/split.h"

namespace lockstep::inline v0_1 {

struct FoldOptions {
  int64_t folds = 5;
  int64_t fold = 1;  // from 1: the one that is tested
  // Of the samples that are not held back; by the same rule as the folds.
  Share validation = Share::Fraction(0.15);
  uint64_t seed = 0;
};

// The folds are a function of folds, seed and keys, whichever of them is tested. Errors: fewer than
// two folds, a fold that there is not; fewer samples, groups or times than folds need; a class that
// some fold would hold back whole, so that none is left to train on (except by time); those of
// SplitBy for the validation samples.
Result<Splits> FoldSplit(int64_t size, const SplitKeys& keys, const FoldOptions& options);

}  // namespace lockstep

#endif  // LOCKSTEP_ENGINE_DATA_FOLDS_H_
