// The measurements that make a scaling curve, in the order in which they are done.
#ifndef LOCKSTEP_TOOLS_SCALE_EXPERIMENT_H_
#define LOCKSTEP_TOOLS_SCALE_EXPERIMENT_H_

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "engine/base/status.h"
#include "engine/comm/communicator.h"
#include "tools/scale/measure.h"
#include "tools/scale/predict.h"
#include "tools/scale/scale_result.h"
#include "tools/scale/training_work.h"

namespace lockstep::inline v0_1::scale {

struct Subject {
  std::string name{};
  int64_t batch = 0;  // of the base point
  int shards = 1;
  MakeWork make{};
};

// All places to be measured, without timings: each number of threads with each number of ranks.
// Strong: the subject's batch at each. Weak: as many samples for each worker as the base point has.
// The base point (the fewest ranks with the fewest threads) is of both.
std::vector<ScalePoint> PlanPoints(const Subject& subject, std::span<const int> threads,
                                   std::span<const int> ranks, bool strong, bool weak);

// Times those of `points` that have as many ranks as `communicator` (null: one), in turns. With
// several ranks collective: the same arguments on each. Errors name the place.
Status MeasurePoints(const Subject& subject, const MeasureOptions& options,
                     Communicator* communicator, std::span<ScalePoint> points);

// What a prediction needs to know of one rank: steps at the subject's batch, a half and a quarter
// of it (where the network takes so small a batch), and the update alone, all in turns. `layers`
// is of as many threads.
Result<StepModel> MeasureStepModel(const Subject& subject, const LayerTable& layers,
                                   const MeasureOptions& options);

// Puts what was measured beside what the model says for the same place: points of the model's
// number of threads that need no more than `cores` cores.
void CheckPrediction(const std::vector<ScalePoint>& points, int cores, Prediction& prediction);

}  // namespace lockstep::scale

#endif  // LOCKSTEP_TOOLS_SCALE_EXPERIMENT_H_
