#include "tools/scale/scale_result.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace lockstep::inline v0_1::scale {

const char* NameOf(Mode mode) { return mode == Mode::kStrong ? "strong" : "weak"; }

std::string PlaceName(const ScalePoint& point) {
  const std::string threads =
      fmt::format("{} thread{}", point.threads, point.threads == 1 ? "" : "s");
  return point.ranks == 1 ? threads : fmt::format("{} ranks x {}", point.ranks, threads);
}

Curve CurveOf(Mode mode, const std::vector<ScalePoint>& points) {
  Curve curve{.mode = mode};
  for (size_t i = 0; i < points.size(); ++i) {
    if (mode == Mode::kStrong ? points[i].strong : points[i].weak)
      curve.points.push_back({.point = i});
  }
  if (curve.points.empty()) return curve;
  const auto order = [&](const CurvePoint& at) {
    const ScalePoint& point = points[at.point];
    return std::pair(point.workers(), point.ranks);
  };
  std::sort(curve.points.begin(), curve.points.end(),
            [&](const CurvePoint& a, const CurvePoint& b) { return order(a) < order(b); });
  const ScalePoint& base = points[curve.points.front().point];
  const MedianInterval from = base.timing.step();
  std::vector<Speedup> speedups;
  for (CurvePoint& at : curve.points) {
    const ScalePoint& point = points[at.point];
    const MedianInterval step = point.timing.step();
    const double work = static_cast<double>(point.batch) / static_cast<double>(base.batch);
    at.workers = static_cast<double>(point.workers()) / static_cast<double>(base.workers());
    at.speedup = work * from.median / step.median;
    if (&point != &base) {
      at.low = work * from.low / step.high;
      at.high = work * from.high / step.low;
    }
    speedups.push_back({at.workers, at.speedup});
  }
  curve.fit = FitLaw(mode == Mode::kStrong ? Law::kAmdahl : Law::kGustafson, speedups);
  return curve;
}

}  // namespace lockstep::scale
