// A loss of one's own: the expectile loss, a squared error that weighs differently above and below
// (Newey, Powell, "Asymmetric least squares estimation and testing", 1987).
//
//   forward   loss = w (y - t)^2,   w = q where t > y, else 1 - q,   mean over all elements
//   backward  dy   = 2 w (y - t) scale
//
// BlockwiseLoss adds up over the batch, in an order that threads do not change; a loss says what
// one block gives. (A loss that is no sum over rows derives from LossOperation itself.)
#include <lockstep/lockstep.h>

#include <cmath>
#include <cstdio>
#include <vector>
using namespace lockstep;

class Expectile final : public BlockwiseLoss {
 public:
  explicit Expectile(float q) : BlockwiseLoss(/*work=*/1), q_(q) {}

 private:
  // dy is null where only the sum is wanted.
  double Run(const Step&, int64_t, const Block& block) const override {
    const auto* t = static_cast<const float*>(block.target);
    double sum = 0.0;
    for (int64_t i = 0; i < block.rows * block.channels; ++i) {
      const float weight = t[i] > block.y[i] ? q_ : 1.0f - q_, error = block.y[i] - t[i];
      sum += static_cast<double>(weight * error * error);
      if (block.dy != nullptr) block.dy[i] = 2.0f * weight * error * block.scale;
    }
    return sum;
  }
  float q_;
};

class ExpectileLoss final : public Loss {
 public:
  explicit ExpectileLoss(float q) : q_(q) {}
  std::string kind() const override { return "ExpectileLoss"; }
  DType target_dtype() const override { return DType::kF32; }
  Shape target_shape(const Shape& out) const override { return out; }
  Status Build(Graph& graph, const std::string& name, Value y, Value target,
               double factor) const override {
    if (!(q_ > 0.0f && q_ < 1.0f)) return Status::Invalid("an expectile lies between 0 and 1");
    return graph.AddLoss(name, Expectile(q_), {y, target}, factor);
  }

 private:
  float q_;
};

// Targets t = x (1 + z) with z uniform in [0, 1): the expectile of t is x (1 + e), where
// e = sqrt(q) / (sqrt(q) + sqrt(1 - q)), three quarters for q = 0.9.
Status Run() {
  constexpr int64_t kBatch = 512;
  constexpr float kExpectile = 0.9f, kAbove = 0.75f;  // q and e
  Context ctx;
  LOCKSTEP_TRY_ASSIGN(Network net,
                      Network::Bind(ctx, Sequential(Linear(32), Relu(), Linear(1)),
                                    ExpectileLoss(kExpectile), {.input = {kBatch, 1}, .seed = 1}));
  AdamW optimizer;
  Random random(/*seed=*/3, /*stream=*/0);
  std::vector<float> x(kBatch), t(kBatch), y(kBatch);
  const Shape shape{kBatch, 1};
  for (int step = 0; step < 1500; ++step) {
    for (size_t i = 0; i < x.size(); ++i) {
      x[i] = static_cast<float>(random.Uniform());
      t[i] = x[i] * static_cast<float>(1.0 + random.Uniform());
    }
    const double rate = step < 1000 ? 1e-2 : 1e-3;
    LOCKSTEP_TRY(net.Gradients({x.data(), shape}, {t.data(), shape}).status());
    ParameterWriter parameters = net.Write();
    if (!optimizer.bound()) LOCKSTEP_TRY(optimizer.Bind(ctx, *parameters));
    LOCKSTEP_TRY(optimizer.Update(ctx, *parameters, rate));
  }
  LOCKSTEP_TRY(net.Predict({x.data(), shape}, {y.data(), shape}));
  double error = 0.0, below = 0.0;
  for (size_t i = 0; i < x.size(); ++i) {
    error += static_cast<double>(std::abs(y[i] - x[i] * (1.0f + kAbove))) / kBatch;
    below += t[i] <= y[i] ? 1.0 / kBatch : 0.0;
  }
  std::printf("%.1f %% of the targets lie below the expectile; it is off by %.3f on average\n",
              100.0 * below, error);
  // Of 512 targets a share of 0.75 lies below, give or take 0.019 (one sd): 4 sd, and as much again
  // for the fit.
  if (!(std::abs(below - 0.75) < 0.15)) return Status::Invalid("that is not the expectile");
  return error < 0.05 ? Status::Ok() : Status::Invalid("the network has not learned the expectile");
}

int main() {
  const Status status = Run();
  if (!status.ok()) std::fprintf(stderr, "%s\n", status.message().c_str());
  return status.ok() ? 0 : 1;
}
