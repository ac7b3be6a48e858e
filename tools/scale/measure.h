// Times steps at several points in one sitting.
//
// On a machine that does other things too, what is measured at ten o'clock and what at eleven
// differ by more than two points of a curve. So all points take turns: a round measures each of
// them once, beginning with another one each time, and a point's figure is the median over rounds.
// Before its turn a point runs a step that nobody times, which wakes its threads and warms its
// caches.
#ifndef LOCKSTEP_TOOLS_SCALE_MEASURE_H_
#define LOCKSTEP_TOOLS_SCALE_MEASURE_H_

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "engine/base/status.h"
#include "engine/comm/communicator.h"
#include "tools/scale/statistics.h"

namespace lockstep::inline v0_1::scale {

struct MeasureOptions {
  int repetitions = 15;  // rounds
  double seconds = 3.0;  // for each point, over all rounds; one step a round at least
  int warm_up = 3;       // steps before anything is timed
  double widest = 0.05;  // of an interval that still counts as stable, as a share of the median
  std::function<double()> now{};  // seconds; other than the steady clock in tests
};

// What one point measured, by step.
struct Timing {
  std::vector<double> seconds{};  // by round: the mean of its steps, on the slowest rank
  int64_t steps_per_round = 1;
  // Means over all rounds and ranks.
  double waited_seconds = 0.0;     // for other ranks
  double sent_bytes = 0.0;         // to other ranks, by one of them
  std::optional<double> joules{};  // of the machine that measured

  MedianInterval step() const { return IntervalOf(seconds); }
  // Of a step, over all rounds: what the means above are shares of.
  double mean_seconds() const;
};

// step() runs one step. With several ranks all measure the same points together: the same calls in
// the same order on each, and the same result on all. An error of a step ends the measurement; its
// message is left as it is.
Result<std::vector<Timing>> MeasureTogether(std::span<const std::function<Status()>> steps,
                                            const MeasureOptions& options,
                                            Communicator* communicator = nullptr);

}  // namespace lockstep::scale

#endif  // LOCKSTEP_TOOLS_SCALE_MEASURE_H_
