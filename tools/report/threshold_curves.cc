#include "tools/report/threshold_curves.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <utility>

namespace lockstep::inline v0_1::tools {
namespace {

// The first, the last, and of those between so many that they are `most` in all.
template <class T>
std::vector<T> Thinned(const std::vector<T>& all, size_t most) {
  const size_t size = std::min(all.size(), std::max<size_t>(most, 2));
  std::vector<T> some;
  for (size_t i = 0; i < size; ++i)
    some.push_back(size == 1 ? all[0] : all[i * (all.size() - 1) / (size - 1)]);
  return some;
}

double Share(int64_t part, int64_t whole) {
  return static_cast<double>(part) / static_cast<double>(whole);
}

}  // namespace

Series SeriesOf(std::string name, const std::vector<CurvePoint>& points) {
  Series series{.name = std::move(name)};
  for (const CurvePoint& point : points) {
    series.x.push_back(point.x);
    series.y.push_back(point.y);
  }
  return series;
}

std::vector<CurvePoint> RocOf(std::span<const Cut> cuts, size_t most) {
  if (cuts.empty() || cuts.back().hits == 0 || cuts.back().alarms == 0) return {};
  std::vector<Cut> corners = {{}};
  for (const Cut& now : cuts) {
    // On a straight line with the two before it, the middle one says nothing.
    if (corners.size() > 1) {
      const Cut& a = corners[corners.size() - 2];
      const Cut& b = corners.back();
      if ((b.hits - a.hits) * (now.alarms - b.alarms) ==
          (now.hits - b.hits) * (b.alarms - a.alarms)) {
        corners.pop_back();
      }
    }
    corners.push_back(now);
  }
  std::vector<CurvePoint> points;
  for (const Cut& corner : Thinned(corners, most)) {
    points.push_back(
        {Share(corner.alarms, cuts.back().alarms), Share(corner.hits, cuts.back().hits)});
  }
  return points;
}

std::vector<CurvePoint> PrecisionRecallOf(std::span<const Cut> cuts, size_t most) {
  if (cuts.empty() || cuts.back().hits == 0) return {};
  std::vector<CurvePoint> points;
  for (const Cut& cut : cuts) {
    points.push_back({Share(cut.hits, cuts.back().hits), Share(cut.hits, cut.hits + cut.alarms)});
  }
  return Thinned(points, most);
}

}  // namespace lockstep::tools
