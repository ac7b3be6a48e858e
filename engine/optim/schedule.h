// How the learning rate changes in the course of a run: pure functions of the step and of the
// number of steps, so there is nothing to save.
//
// Each gives the factor of the optimizer's own learning rate, which is thus the largest one. Steps
// count from zero, the first update's; beyond the last step a schedule stays where it ended.
#ifndef LOCKSTEP_ENGINE_OPTIM_SCHEDULE_H_
#define LOCKSTEP_ENGINE_OPTIM_SCHEDULE_H_

#include <cstdint>
#include <variant>

#include "engine/base/status.h"

namespace lockstep::inline v0_1 {

struct ConstantSchedule {};

// gamma^(step / every), rounded down; torch.optim.lr_scheduler.StepLR.
struct StepSchedule {
  int64_t every = 1;
  double gamma = 0.1;
};

// Linear warm-up (s + 1) / (warmup_steps + 1), then CosineAnnealingLR from 1 to `floor`, which it
// would reach in step `total_steps`.
struct CosineSchedule {
  int64_t warmup_steps = 0;
  double floor = 0.0;
};

// OneCycleLR with cosine annealing and two phases: from 1 / div_factor up to 1 in pct_start of the
// steps, then down to 1 / (div_factor * final_div_factor). The learning rate only: momentum stays.
struct OneCycleSchedule {
  double pct_start = 0.3;
  double div_factor = 25.0;
  double final_div_factor = 1e4;
};

using Schedule = std::variant<ConstantSchedule, StepSchedule, CosineSchedule, OneCycleSchedule>;

// Says which argument makes no sense for a run of `total_steps`.
Status CheckSchedule(const Schedule& schedule, int64_t total_steps);

// The factor in `step` >= 0 of a run of `total_steps`, for a schedule that was checked.
double ScheduleFactor(const Schedule& schedule, int64_t step, int64_t total_steps);

}  // namespace lockstep

#endif  // LOCKSTEP_ENGINE_OPTIM_SCHEDULE_H_
