// A small training that hosts and plugins do.
#ifndef LOCKSTEP_TESTS_HOSTS_TRAIN_H_
#define LOCKSTEP_TESTS_HOSTS_TRAIN_H_

#include <lockstep/lockstep.h>

#include <cmath>
#include <cstddef>
#include <vector>

// Five steps of a network whose loops are long enough to be given to helpers, and predictions. The
// last loss, or why not.
inline lockstep::Result<double> Train(lockstep::Context& ctx) {
  using namespace lockstep;  // NOLINT: of this function
  LOCKSTEP_TRY_ASSIGN(Network net,
                      Network::Bind(ctx, Sequential(Linear(128), BatchNorm(), Relu(), Linear(1)),
                                    BceWithLogitsLoss(), {.input = {64, 16}}));
  AdamW optimizer;
  Random random(/*seed=*/1, /*stream=*/0);
  std::vector<float> x(64 * 16), y(64), logits(64);
  for (float& value : x) value = static_cast<float>(random.Uniform());
  for (size_t i = 0; i < y.size(); ++i) y[i] = x[16 * i] < x[16 * i + 1] ? 1.0f : 0.0f;
  double loss = 0.0;
  for (int step = 0; step < 5; ++step) {
    LOCKSTEP_TRY_ASSIGN(loss, net.TrainStep({x.data(), {64, 16}}, {y.data(), {64, 1}}, optimizer));
  }
  LOCKSTEP_TRY(net.Predict({x.data(), {64, 16}}, {logits.data(), {64, 1}}));
  for (const float logit : logits) {
    if (!std::isfinite(logit)) return Status::NonFinite("a prediction is not finite");
  }
  return loss;
}

#endif  // LOCKSTEP_TESTS_HOSTS_TRAIN_H_
