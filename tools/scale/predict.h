// What more ranks would bring, from what one rank measured: a model, and never called anything but
// predicted.
//
//   T(R) = c + a n + u / R + max(0, E - B) + E + M + L
//
//   n        samples of the largest rank: batch / R (strong), batch (weak)
//   c + a n  forward and backward of n samples in one rank; c and a by least squares over measured
//            batches
//   u        the optimizer's update of all parameters; each rank updates its share
//   E        one way of the exchange: a share of the gradients to each owner, or a share of the
//            parameters from each; m messages of latency l, and g (R - 1) / R bytes through a
//            rank's link of bandwidth w:     E = m l + g (R - 1) / (R w)
//   m        messages that a rank sends one way: R - 1 for each bucket, and no more than there are
//            cells of 256 bytes (engine/train/gradient_exchange.h)
//   B        the time of backward, behind which the way there hides; the way back does not
//   M        the owner adds up R parts of its share, g bytes in all, at the memory's rate
//   L        two small exchanges of losses and norms:   2 l ceil(log2 R)
//   g        bytes of the gradients
//
// Left out: ranks that wait because they are not equally fast, links that ranks or other jobs
// share, batch norms that talk. Each of those makes it slower. So a second time is given with
// nothing hidden (B = 0).
#ifndef LOCKSTEP_TOOLS_SCALE_PREDICT_H_
#define LOCKSTEP_TOOLS_SCALE_PREDICT_H_

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "engine/base/status.h"

namespace lockstep::inline v0_1::scale {

struct NetworkCost {
  double latency_seconds = 0.0;  // of a message
  double bytes_per_second = 0.0;
  std::string source{};  // "given", "measured between 2 ranks", "assumed"
};
// "LATENCY_US,GB/S" as in 2,10. The error says what is wrong.
Result<NetworkCost> ParseNetwork(const std::string& text);

// What one rank measured, at one number of threads.
struct StepModel {
  int threads = 1;
  double constant_seconds = 0.0;  // c
  double sample_seconds = 0.0;    // a
  double update_seconds = 0.0;    // u
  double backward_share = 0.0;    // of c + a n
  double gradient_bytes = 0.0;    // g
  double buckets = 1.0;           // that the gradients travel in
  double memory_bytes_per_second = 0.0;
};

struct BatchTime {
  int64_t samples = 0;
  double seconds = 0.0;  // of a step, update included
};
// Sets c and a of `model`, whose update_seconds is known, by least squares on relative errors.
// Neither is below 0. With one batch only c is 0.
void FitBatches(std::span<const BatchTime> times, StepModel& model);

struct PredictedPoint {
  int ranks = 1;
  int64_t batch = 0;              // global
  double seconds = 0.0;           // of a step
  double unhidden_seconds = 0.0;  // with nothing hidden behind backward
  double exchange_seconds = 0.0;  // of `seconds`, in which ranks talk or add up
  double speedup = 1.0;           // of throughput, over one rank as the model has it
  double unhidden_speedup = 1.0;
  double efficiency() const { return speedup / ranks; }
};

struct Prediction {
  StepModel model{};
  NetworkCost network{};
  std::vector<PredictedPoint> strong{}, weak{};  // by ranks: 1, 2, 4, ...
  // Where it can be held against what was measured: in the run, at as many threads a rank, with no
  // more workers than cores.
  struct Check {
    int ranks = 1;
    int64_t batch = 0;
    double predicted = 0.0, measured = 0.0;  // seconds
    double error() const { return predicted / measured - 1.0; }
  };
  std::vector<Check> checks{};
};

PredictedPoint PredictPoint(const StepModel& model, const NetworkCost& network, int ranks,
                            int64_t batch);
// To 1, 2, 4, ... and `ranks`. Strong ends where a rank would be without samples.
Prediction Predict(const StepModel& model, const NetworkCost& network, int ranks, int64_t batch);

// The formula above, a line each, for those who see its results.
std::vector<std::string> PredictionFormula();

}  // namespace lockstep::scale

#endif  // LOCKSTEP_TOOLS_SCALE_PREDICT_H_
