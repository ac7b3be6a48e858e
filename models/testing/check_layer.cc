#include "models/testing/check_layer.h"

#include <memory>
#include <string>

#include "engine/base/random.h"
#include "layers/activation.h"
#include "layers/container/residual.h"
#include "layers/container/sequential.h"
#include "layers/linear.h"
#include "layers/loss/mse.h"
#include "layers/norm/batch_norm.h"
#include "models/testing/subject_checks.h"

namespace lockstep::inline v0_1::checks {
namespace {

// The layer of someone else, which networks own here.
class Borrowed final : public Layer {
 public:
  explicit Borrowed(const Layer& layer) : layer_(&layer) {}
  std::string kind() const override { return layer_->kind(); }
  Result<Value> Build(Graph& graph, Value x) const override { return layer_->Build(graph, x); }

 private:
  const Layer* layer_;
};

void CheckWithin(Subject subject, const std::string& where, std::function<Sequential()> layers,
                 const LayerCheckOptions& options, CheckLog& log) {
  subject.layers = [layers] { return std::make_unique<Sequential>(layers()); };
  CheckSubject(subject, where, options, options.samples_mix, log);
}

}  // namespace

CheckReport CheckLayer(const Layer& layer, const Shape& x, const LayerCheckOptions& options) {
  CheckLog log(options);
  const bool of_ids = options.ids > 0;
  Subject subject{.loss = [] { return std::make_unique<MseLoss>(); },
                  .input = x,
                  .input_dtype = of_ids ? DType::kI32 : DType::kF32};
  if (of_ids) {
    subject.fill_x = [ids = options.ids](Tensor to, uint64_t seed) {
      Random random(seed, StreamOf("ids"));
      for (int32_t& id : to.span<int32_t>())
        id = static_cast<int32_t>(random.Below(static_cast<uint64_t>(ids)));
    };
  }
  subject.layers = [&layer] { return std::make_unique<Borrowed>(layer); };
  Shape y;
  log.Make("builds", "alone", [&]() -> std::string {
    if (x.rank() < 2 || x.batch() < 8)
      return "x must be (batch, ...) with a batch of 8 or more, not " + x.ToString();
    Context ctx({.threads = 1});
    const Result<Network> net = BindSubject(subject, ctx, {.seed = options.seed});
    if (!net.ok()) return net.status().message();
    y = net->output_shape();
    return "";
  });
  if (!log.report().ok() || y.rank() == 0) return log.report();
  CheckSubject(subject, "alone", options, options.samples_mix, log);
  if (y.rank() < 2) return log.report();
  if (of_ids) {
    CheckWithin(
        subject, "in front of a norm",
        [&] { return Sequential(Borrowed(layer), BatchNorm(), Relu(), Linear(3)); }, options, log);
    return log.report();
  }
  const int64_t channels = x.channels();
  CheckWithin(
      subject, "between norms",
      [&layer, channels] {
        return Sequential(Linear(channels), BatchNorm(), Borrowed(layer), BatchNorm(), Linear(3));
      },
      options, log);
  CheckWithin(
      subject, "between activations",
      [&layer, channels] {
        return Sequential(Linear(channels), Sigmoid(), Borrowed(layer), Relu(), Linear(3));
      },
      options, log);
  CheckWithin(
      subject, "between a product and a curve",
      [&layer, channels] {
        return Sequential(Linear(channels), Borrowed(layer), Gelu(), Linear(3));
      },
      options, log);
  if (!(y == x)) return log.report();
  CheckWithin(
      subject, "within a residual",
      [&layer, channels] {
        return Sequential(Linear(channels), Residual(Borrowed(layer)), Relu(), Linear(3));
      },
      options, log);
  return log.report();
}

}  // namespace lockstep::checks
