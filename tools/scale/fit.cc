#include "tools/scale/fit.h"

#include <fmt/format.h>

#include <cmath>

namespace lockstep::inline v0_1::scale {

double Fit::At(double workers) const {
  return law == Law::kAmdahl ? 1.0 / (serial + (1.0 - serial) / workers)
                             : workers - serial * (workers - 1.0);
}

std::string Fit::Formula() const {
  return law == Law::kAmdahl
             ? fmt::format("S(p) = 1 / (f + (1 - f) / p), f = {:.4f} (Amdahl)", serial)
             : fmt::format("S(p) = p - s (p - 1), s = {:.4f} (Gustafson)", serial);
}

std::optional<Fit> FitLaw(Law law, std::span<const Speedup> points) {
  double products = 0.0, squares = 0.0;
  int beyond = 0;
  for (const Speedup& point : points) {
    if (!(point.workers > 1.0)) continue;
    ++beyond;
    const double y = law == Law::kAmdahl ? 1.0 / point.speedup - 1.0 / point.workers
                                         : point.workers - point.speedup;
    const double x = law == Law::kAmdahl ? 1.0 - 1.0 / point.workers : point.workers - 1.0;
    products += y * x;
    squares += x * x;
  }
  if (beyond < 2) return std::nullopt;
  Fit fit{.law = law, .serial = products / squares};
  double sum = 0.0;
  for (const Speedup& point : points) {
    fit.residuals.push_back(point.speedup - fit.At(point.workers));
    sum += fit.residuals.back() * fit.residuals.back();
  }
  fit.rms = std::sqrt(sum / static_cast<double>(points.size()));
  return fit;
}

}  // namespace lockstep::scale
