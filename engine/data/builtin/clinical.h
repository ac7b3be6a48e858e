// Built-in data: patients with 20 measurements and an outcome whose probability is known, so that a
// model can be held against the best one possible.
//
// A pure function of the options, the same bits on every machine; row i does not depend on `size`.
#ifndef LOCKSTEP_ENGINE_DATA_BUILTIN_CLINICAL_H_
#define LOCKSTEP_ENGINE_DATA_BUILTIN_CLINICAL_H_

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "engine/base/status.h"
#include "engine/data/dataset.h"

namespace lockstep::inline v0_1 {

struct ClinicalOptions {
  uint64_t seed = 1;
  int64_t size = 8000;
};

struct ClinicalData {
  std::shared_ptr<const InMemoryDataset> dataset;  // x f32 {20}, kBinary
  std::vector<double> probability;                 // of outcome 1, per sample
};

Result<ClinicalData> MakeClinical(const ClinicalOptions& options = {});

// What a model that knew the true probabilities would score. "drawn": against the outcomes that
// were drawn; "expected": on average over all outcomes that could have been drawn for these
// samples.
struct BestPossible {
  double drawn_auc = 0.0, expected_auc = 0.0;
  double drawn_log_loss = 0.0, expected_log_loss = 0.0;  // in nats
  double drawn_accuracy = 0.0, expected_accuracy = 0.0;  // at threshold 0.5
};
// Over the samples `indices`. Errors: no samples; a drawn AUC needs both outcomes.
Result<BestPossible> BestPossibleScores(const ClinicalData& data, std::span<const int64_t> indices);

}  // namespace lockstep

#endif  // LOCKSTEP_ENGINE_DATA_BUILTIN_CLINICAL_H_
