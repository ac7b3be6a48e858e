// What `lockstep scale` has found out: the record from which table, page and files are made.
#ifndef LOCKSTEP_TOOLS_SCALE_SCALE_RESULT_H_
#define LOCKSTEP_TOOLS_SCALE_SCALE_RESULT_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "tools/scale/fit.h"
#include "tools/scale/machine.h"
#include "tools/scale/measure.h"
#include "tools/scale/peaks.h"
#include "tools/scale/predict.h"
#include "tools/scale/roofline.h"

namespace lockstep::inline v0_1::scale {

enum class Mode { kStrong, kWeak };
const char* NameOf(Mode mode);  // "strong", "weak"

// One place where the step was timed.
struct ScalePoint {
  int ranks = 1;
  int threads = 1;    // of each rank
  int64_t batch = 0;  // samples of a global batch
  int shards = 1;
  bool strong = false, weak = false;  // the curves that it is of; the base is of both
  Timing timing{};
  double floor_seconds = 0.0;  // of the whole step; 0: not known

  int workers() const { return ranks * threads; }
  double samples_per_second() const { return static_cast<double>(batch) / timing.step().median; }
  // Of a rank's time.
  double waited_share() const { return timing.waited_seconds / timing.mean_seconds(); }
};

// How speed grows with workers, over the points of one mode.
struct CurvePoint {
  size_t point = 0;      // in ScaleResult::points
  double workers = 1.0;  // of the base's
  // Of the throughput over the base's; low and high by the ends of both intervals.
  double speedup = 1.0, low = 1.0, high = 1.0;
  double efficiency() const { return speedup / workers; }
};
struct Curve {
  Mode mode = Mode::kStrong;
  std::vector<CurvePoint> points{};  // by workers; the first one is the base
  std::optional<Fit> fit{};          // nothing: not enough points
};

// A layer at one number of threads, in one rank.
struct LayerShare {
  std::string path{}, kind{};
  double forward_seconds = 0.0, backward_seconds = 0.0;  // medians
  Cost forward{}, backward{};
  double bound_seconds = 0.0;  // of both passes together
  double share() const {       // of the bound: 1 is at it
    const double taken = forward_seconds + backward_seconds;
    return taken > 0.0 ? bound_seconds / taken : 0.0;
  }
};
struct LayerTable {
  int threads = 1;
  Peaks peaks{};
  int64_t parameters = 0;
  std::vector<LayerShare> layers{};
  Cost step{};                 // of a whole one: its floor is Floor(step, peaks)
  double other_seconds = 0.0;  // of a step, outside of layers: optimizer, checks, the talk of ranks
};

struct ScaleResult {
  std::string name{};
  std::string started{};  // UTC, "2026-01-31T12:00:00Z"
  double seconds = 0.0;   // of the whole measurement
  int64_t parameters = 0;
  int64_t batch = 0;  // of the recipe
  bool loading = false;
  MeasureOptions options{};
  std::vector<Fact> machine{};
  std::vector<ScalePoint> points{};
  std::vector<Curve> curves{};
  std::vector<LayerTable> layers{};
  std::optional<Prediction> prediction{};
  std::vector<std::string> notes{};  // what the reader must know, a line each

  bool unstable(const ScalePoint& point) const {
    return point.timing.step().unstable(options.widest);
  }
};

// The curve of a mode over those of `points` that are of it. The base is the point with the fewest
// workers, and of those the fewest ranks.
Curve CurveOf(Mode mode, const std::vector<ScalePoint>& points);

// "2 ranks x 4 threads", "4 threads".
std::string PlaceName(const ScalePoint& point);

}  // namespace lockstep::scale

#endif  // LOCKSTEP_TOOLS_SCALE_SCALE_RESULT_H_
