// An optimizer of one's own: Lion (Chen et al., "Symbolic discovery of optimization algorithms",
// 2023).
//
//   u = sign(beta1 m + (1 - beta1) g)
//   p = p - lr (u + weight_decay p)
//   m = beta2 m + (1 - beta2) g
//
// FlatOptimizer has the rest: groups of parameters, states by name for checkpoints, one parallel
// pass over the flat arrays. (What does not work element by element derives from Optimizer itself.)
#include <lockstep/lockstep.h>

#include <cmath>
#include <cstdio>
#include <vector>
using namespace lockstep;

struct LionOptions {
  double lr = 1e-4;
  double beta1 = 0.9, beta2 = 0.99;
  double weight_decay = 0.0;
  std::vector<ParameterGroup> groups = {};
};

class Lion final : public FlatOptimizer {
 public:
  explicit Lion(LionOptions options = {})
      : FlatOptimizer({.learning_rate = options.lr,
                       .weight_decay = options.weight_decay,
                       .groups = options.groups},
                      /*state_names=*/{"exp_avg"}),
        options_(std::move(options)) {}
  std::string kind() const override { return "Lion"; }
  // Nothing here can fail, given finite gradients: a training step need not be able to undo it.
  bool never_fails() const override { return true; }

 private:
  struct Factors {
    float rate, decay, beta1, beta2, grad_scale;
  };
  Status CheckOptions() const override {
    const bool fits = options_.beta1 >= 0.0 && options_.beta1 < 1.0 && options_.beta2 >= 0.0 &&
                      options_.beta2 < 1.0;
    return fits ? Status::Ok() : Status::Invalid("betas must be in [0, 1)");
  }
  // Once for each update; a setting is what a group of parameters has in common.
  void Prepare(std::span<const Setting> settings, int64_t, double learning_rate,
               double grad_scale) override {
    factors_.resize(settings.size());
    for (size_t i = 0; i < settings.size(); ++i) {
      factors_[i] = {static_cast<float>(learning_rate * settings[i].learning_rate_scale),
                     static_cast<float>(settings[i].weight_decay),
                     static_cast<float>(options_.beta1), static_cast<float>(options_.beta2),
                     static_cast<float>(grad_scale)};
    }
  }
  // On any thread, a piece at a time. Padding between parameters is zero and must stay so: it does,
  // since the sign of zero is zero here.
  bool UpdateRange(size_t setting, const Range& range) const override {
    const Factors& f = factors_[setting];
    float *p = range.values, *m = range.states[0];
    bool finite = true;
    for (int64_t i = 0; i < range.size; ++i) {
      const float g = f.grad_scale * range.gradients[i];
      finite = finite && std::isfinite(g);
      const float mixed = f.beta1 * m[i] + (1.0f - f.beta1) * g;
      const float sign = mixed > 0.0f ? 1.0f : mixed < 0.0f ? -1.0f : 0.0f;
      p[i] -= f.rate * (sign + f.decay * p[i]);
      m[i] = f.beta2 * m[i] + (1.0f - f.beta2) * g;
    }
    return finite;
  }

  LionOptions options_;
  std::vector<Factors> factors_;  // by setting
};

Status Run() {
  Context ctx;
  LOCKSTEP_TRY_ASSIGN(Network net,
                      Network::Bind(ctx, Sequential(Linear(64), Relu(), Linear(10)),
                                    CrossEntropyLoss(), {.input = {64, 64}, .seed = 1}));
  Lion optimizer({.lr = 1e-3,
                  .weight_decay = 0.1,
                  .groups = {{.patterns = {"*.bias"}, .learning_rate_scale = 0.5}}});
  // Ten random directions, and samples around each.
  Random random(/*seed=*/4, /*stream=*/0);
  std::vector<float> centres(10 * 64), x(64 * 64);
  std::vector<int32_t> classes(64);
  for (float& v : centres) v = static_cast<float>(random.Normal());
  double loss = 0.0, first = 0.0;
  std::vector<float> before(net.parameters().values.begin(), net.parameters().values.end());
  for (int step = 0; step < 200; ++step) {
    for (size_t i = 0; i < classes.size(); ++i) {
      classes[i] = static_cast<int32_t>(random.Below(10));
      for (size_t k = 0; k < 64; ++k)
        x[i * 64 + k] =
            centres[static_cast<size_t>(classes[i]) * 64 + k] + static_cast<float>(random.Normal());
    }
    LOCKSTEP_TRY_ASSIGN(loss,
                        net.TrainStep({x.data(), {64, 64}}, {classes.data(), {64}}, optimizer));
    if (step > 0) continue;
    first = loss;
    // In its first step m = 0: every element of the first weight, which has no padding, moves by
    // lr, give or take the decay lr 0.1 |p| with |p| <= 1/8, or not at all.
    const ConstTensor weight = net.parameters().value(0);
    for (int64_t i = 0; i < weight.size(); ++i) {
      const float moved = std::abs(weight.f32()[i] - before[static_cast<size_t>(i)]);
      if (!(moved <= 1.02e-3f)) return Status::Invalid("a step is longer than the learning rate");
    }
  }
  std::printf("loss %.3f -> %.3f; it keeps %s of %s\n", first, loss,
              optimizer.states()[0].name.c_str(), optimizer.states()[0].parameter.c_str());
  return loss < 0.1 ? Status::Ok() : Status::Invalid("Lion has not trained the network");
}

int main() {
  const Status status = Run();
  if (!status.ok()) std::fprintf(stderr, "%s\n", status.message().c_str());
  return status.ok() ? 0 : 1;
}
