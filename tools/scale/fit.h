// Two old laws of scaling, fitted to what was measured. p counts workers (threads times ranks) in
// units of the base point's.
//
//   Amdahl, the same work for all:         1 / S(p) = f + (1 - f) / p
//   Gustafson, work that grows with them:      S(p) = p - s (p - 1)
//
// f is the share of the base point's time that no further worker shortens, s the share of each
// worker's time that does no further work. Both laws are linear in their one unknown, so least
// squares are a quotient of two sums:
//
//   f = sum (1/S - 1/p)(1 - 1/p) / sum (1 - 1/p)^2      s = sum (p - S)(p - 1) / sum (p - 1)^2
//
// Amdahl, "Validity of the single processor approach", 1967; Gustafson, "Reevaluating Amdahl's
// law", 1988.
#ifndef LOCKSTEP_TOOLS_SCALE_FIT_H_
#define LOCKSTEP_TOOLS_SCALE_FIT_H_

#include <optional>
#include <span>
#include <string>
#include <vector>

namespace lockstep::inline v0_1::scale {

enum class Law { kAmdahl, kGustafson };

struct Speedup {
  double workers = 1.0;  // of the base point's
  double speedup = 1.0;  // over the base point
};

struct Fit {
  Law law = Law::kAmdahl;
  double serial = 0.0;              // f or s; below 0 where speed-up was more than ideal
  std::vector<double> residuals{};  // measured - fitted speed-up, by point
  double rms = 0.0;                 // of the residuals
  double At(double workers) const;  // the fitted speed-up
  std::string Formula() const;      // with the number in it
};

// Nothing where fewer than two of the points have more workers than the base point: a line through
// one point says nothing about what it misses. Points with fewer workers, or the base's own number
// of them, take no part in the fit and have residuals all the same.
std::optional<Fit> FitLaw(Law law, std::span<const Speedup> points);

}  // namespace lockstep::scale

#endif  // LOCKSTEP_TOOLS_SCALE_FIT_H_
