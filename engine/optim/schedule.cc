#include "engine/optim/schedule.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "engine/optim/power.h"

namespace lockstep::inline v0_1 {
namespace {

// cos(pi t) for t in [0, 1], error below 1e-15: -sin(x) with x = pi (t - 1/2), by its Taylor series
// (|x| <= pi / 2, so the term left out is below 1e-18). Written out because the last bit of the C
// library's cosine differs between machines.
double CosPi(double t) {
  const double x = 3.14159265358979323846 * (t - 0.5);
  double sum = 1.0;
  for (int n = 22; n >= 2; n -= 2) sum = 1.0 - sum * x * x / (n * (n + 1.0));
  return std::clamp(-x * sum, -1.0, 1.0);
}

// From `from` (t = 0) to `to` (t = 1) along half a cosine.
double Anneal(double from, double to, double t) {
  return to + (from - to) * 0.5 * (1.0 + CosPi(t));
}

bool IsShare(double value) { return value >= 0.0 && value <= 1.0; }

Status Check(const ConstantSchedule&, int64_t) { return Status::Ok(); }

double Factor(const ConstantSchedule&, int64_t, int64_t) { return 1.0; }

Status Check(const StepSchedule& s, int64_t) {
  if (s.every < 1) {
    return Status::Invalid("step schedule: 'every' must be 1 or more, not " +
                           std::to_string(s.every));
  }
  if (!(s.gamma > 0.0 && std::isfinite(s.gamma))) {
    return Status::Invalid("step schedule: 'gamma' must be above 0, not " +
                           std::to_string(s.gamma));
  }
  return Status::Ok();
}

double Factor(const StepSchedule& s, int64_t step, int64_t) {
  return Power(s.gamma, step / s.every);
}

Status Check(const CosineSchedule& s, int64_t total_steps) {
  if (s.warmup_steps < 0 || s.warmup_steps >= total_steps) {
    return Status::Invalid("cosine schedule: 'warmup_steps' must be from 0 to below the " +
                           std::to_string(total_steps) + " steps of the run, not " +
                           std::to_string(s.warmup_steps));
  }
  if (!IsShare(s.floor)) {
    return Status::Invalid(
        "cosine schedule: 'floor' is a share of the learning rate, from 0 to 1, not " +
        std::to_string(s.floor));
  }
  return Status::Ok();
}

double Factor(const CosineSchedule& s, int64_t step, int64_t total_steps) {
  if (step < s.warmup_steps) {
    return static_cast<double>(step + 1) / static_cast<double>(s.warmup_steps + 1);
  }
  return Anneal(1.0, s.floor,
                static_cast<double>(step - s.warmup_steps) /
                    static_cast<double>(total_steps - s.warmup_steps));
}

Status Check(const OneCycleSchedule& s, int64_t) {
  if (!IsShare(s.pct_start)) {
    return Status::Invalid("one-cycle schedule: 'pct_start' must be from 0 to 1, not " +
                           std::to_string(s.pct_start));
  }
  if (!(s.div_factor >= 1.0 && std::isfinite(s.div_factor))) {
    return Status::Invalid("one-cycle schedule: 'div_factor' must be 1 or more, not " +
                           std::to_string(s.div_factor));
  }
  if (!(s.final_div_factor > 0.0 && std::isfinite(s.final_div_factor))) {
    return Status::Invalid("one-cycle schedule: 'final_div_factor' must be above 0, not " +
                           std::to_string(s.final_div_factor));
  }
  return Status::Ok();
}

double Factor(const OneCycleSchedule& s, int64_t step, int64_t total_steps) {
  const auto at = static_cast<double>(std::min(step, total_steps - 1));
  const double start = 1.0 / s.div_factor;
  const double peak = s.pct_start * static_cast<double>(total_steps) - 1.0;
  const double end = static_cast<double>(total_steps) - 1.0;
  if (at <= peak) return peak > 0.0 ? Anneal(start, 1.0, at / peak) : 1.0;
  return Anneal(1.0, start / s.final_div_factor, (at - peak) / (end - peak));
}

}  // namespace

Status CheckSchedule(const Schedule& schedule, int64_t total_steps) {
  if (total_steps < 1) {
    return Status::Invalid("a schedule needs a run of at least one step, not " +
                           std::to_string(total_steps));
  }
  return std::visit([&](const auto& s) { return Check(s, total_steps); }, schedule);
}

double ScheduleFactor(const Schedule& schedule, int64_t step, int64_t total_steps) {
  const int64_t at = std::min(step, total_steps);
  return std::visit([&](const auto& s) { return Factor(s, at, total_steps); }, schedule);
}

}  // namespace lockstep
