// Networks in which neighbours share memory, fuse, or write over one another, each also made of
// layers that do none of that.
#ifndef LOCKSTEP_TESTS_LAYERS_NETWORK_MODELS_H_
#define LOCKSTEP_TESTS_LAYERS_NETWORK_MODELS_H_

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <limits>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "engine/base/random.h"
#include "engine/optim/adam.h"
#include "gtest/gtest.h"
#include "layers/activation.h"
#include "layers/batch_norm.h"
#include "layers/dropout.h"
#include "layers/flatten.h"
#include "layers/group_norm.h"
#include "layers/layer_norm.h"
#include "layers/linear.h"
#include "layers/mse.h"
#include "layers/residual.h"
#include "layers/rms_norm.h"
#include "layers/sequential.h"

namespace lockstep::networks {

inline std::vector<float> Normals(int64_t count, uint64_t seed) {
  Random random(seed, StreamOf("network_test"));
  std::vector<float> values(static_cast<size_t>(count));
  for (float& v : values) v = static_cast<float>(random.Normal());
  return values;
}

// A layer that agrees to nothing: no fusion, no writing over its input, no view. What it computes
// is the layer's own work alone, in memory of its own.
class Alone final : public Layer {
 public:
  template <class L>
  explicit Alone(L layer) : layer_(std::make_unique<L>(std::move(layer))) {}
  std::string kind() const override { return layer_->kind(); }
  Result<Bound> Bind(const Shape& in, Planner& plan) override {
    LOCKSTEP_TRY_ASSIGN(Bound bound, layer_->Bind(in, plan));
    bound.view = bound.y_may_be_x = bound.dx_may_be_dy = false;
    return bound;
  }
  void Forward(const Step& step, ConstTensor x, Tensor y) override { layer_->Forward(step, x, y); }
  void Backward(const Step& step, ConstTensor x, ConstTensor y, ConstTensor dy,
                Tensor dx) override {
    layer_->Backward(step, x, y, dy, dx);
  }
  Result<Admission> Admit(int64_t samples, Mode mode) const override {
    return layer_->Admit(samples, mode);
  }

 private:
  std::unique_ptr<Layer> layer_;
};

// Makes the same network twice: as users write it, and of layers that are alone.
template <class L>
L AsIs(L layer) {
  return layer;
}
template <class L>
Alone AsAlone(L layer) {
  return Alone(std::move(layer));
}
#define LAYERS_BOTH_WAYS(...)                                                               \
  [](bool alone) {                                                                          \
    if (alone) {                                                                            \
      [[maybe_unused]] const auto L = [](auto layer) { return AsAlone(std::move(layer)); }; \
      return Sequential(__VA_ARGS__);                                                       \
    }                                                                                       \
    [[maybe_unused]] const auto L = [](auto layer) { return AsIs(std::move(layer)); };      \
    return Sequential(__VA_ARGS__);                                                         \
  }

struct Model {
  const char* name;
  Shape sample;  // of x without the batch
  std::function<Sequential(bool alone)> make;
};

// Every pair of neighbours that something special may happen between.
inline const std::vector<Model>& Models() {
  static const std::vector<Model> models = {
      {"product, norm, ReLU",
       {6},
       LAYERS_BOTH_WAYS(L(Linear(9)), L(BatchNorm()), L(Relu()), L(Linear(3)))},
      {"products and norms in a row",
       {8},
       LAYERS_BOTH_WAYS(L(Linear(8)), L(BatchNorm()), L(Relu()), L(Linear(8)), L(BatchNorm()),
                        L(Relu()), L(Linear(8)), L(BatchNorm()), L(Relu()), L(Linear(8)))},
      {"product, norm",
       {6},
       LAYERS_BOTH_WAYS(L(Linear(9)), L(BatchNorm()), L(Linear(3)), L(BatchNorm()))},
      {"product, ReLU, norm",
       {6},
       LAYERS_BOTH_WAYS(L(Linear(9)), L(Relu()), L(BatchNorm()), L(Linear(3)), L(Relu()))},
      {"norm first",
       {6},
       LAYERS_BOTH_WAYS(L(BatchNorm()), L(Linear(9)), L(BatchNorm()), L(Tanh()), L(Linear(3)))},
      {"norm after norm",
       {6},
       LAYERS_BOTH_WAYS(L(Linear(9)), L(BatchNorm()), L(BatchNorm()), L(Relu()), L(Linear(3)))},
      {"activations in place",
       {6},
       LAYERS_BOTH_WAYS(L(Linear(9)), L(Tanh()), L(Dropout(0.3)), L(Sigmoid()), L(Linear(9)),
                        L(Sigmoid()), L(Tanh()), L(Linear(3)))},
      {"activations last",
       {6},
       LAYERS_BOTH_WAYS(L(Linear(9)), L(Gelu()), L(Linear(3)), L(Tanh()), L(Dropout(0.2)))},
      {"dropout first",
       {6},
       LAYERS_BOTH_WAYS(L(Dropout(0.3)), L(Linear(9)), L(Silu()), L(Linear(3)))},
      {"flatten first",
       {2, 3},
       LAYERS_BOTH_WAYS(L(Flatten()), L(Linear(9)), L(BatchNorm()), L(Relu()), L(Linear(3)))},
      {"flatten last",
       {2, 3},
       LAYERS_BOTH_WAYS(L(Linear(4)), L(LayerNorm()), L(Tanh()), L(Flatten()))},
      {"flatten before what writes over",
       {2, 3},
       LAYERS_BOTH_WAYS(L(Linear(4)), L(Tanh()), L(Flatten()), L(Dropout(0.3)), L(Linear(3)))},
      {"flatten between activations",
       {2, 3},
       LAYERS_BOTH_WAYS(L(Linear(4)), L(Sigmoid()), L(Flatten()), L(Tanh()), L(Linear(3)),
                        L(Flatten()))},
      {"flatten twice, and behind ReLU",
       {2, 3},
       LAYERS_BOTH_WAYS(L(Linear(4)), L(Relu()), L(Flatten()), L(Flatten()), L(Sigmoid()),
                        L(Linear(3)))},
      {"only flatten", {2, 3}, LAYERS_BOTH_WAYS(L(Linear(3)), L(Flatten()))},
      {"norms of samples",
       {4, 6},
       LAYERS_BOTH_WAYS(L(Linear(8)), L(GroupNorm(2)), L(Relu()), L(Linear(8)), L(RmsNorm()),
                        L(InstanceNorm()), L(LeakyRelu()), L(LayerNorm()), L(Linear(3)))},
      {"norm over positions",
       {4, 6},
       LAYERS_BOTH_WAYS(L(Linear(8)), L(BatchNorm()), L(Relu()), L(Dropout(0.1)), L(Linear(3)))},
      {"sequences within",
       {6},
       LAYERS_BOTH_WAYS(L(Sequential(Linear(9), BatchNorm())), L(Relu()),
                        L(Sequential(Linear(5), Sequential(BatchNorm(), Relu()))), L(Linear(3)))},
      {"residual",
       {6},
       LAYERS_BOTH_WAYS(L(Residual(Sequential(L(Linear(6)), L(BatchNorm())))), L(Relu()),
                        L(Linear(3)))},
      {"residual of a product",
       {6},
       LAYERS_BOTH_WAYS(L(Residual(Linear(6))), L(Relu()),
                        L(Residual(Sequential(L(Linear(4)), L(Gelu()), L(Linear(6))))),
                        L(Linear(3)))},
      {"residual with a shortcut",
       {6},
       LAYERS_BOTH_WAYS(L(Linear(8)), L(BatchNorm()), L(Relu()),
                        L(Residual(Sequential(L(Linear(5)), L(BatchNorm()), L(Relu()), L(Linear(9)),
                                              L(BatchNorm())),
                                   Sequential(L(Linear(9)), L(BatchNorm())))),
                        L(Relu()), L(Linear(3)))},
      {"residuals in a row",
       {6},
       LAYERS_BOTH_WAYS(L(Residual(Sequential(L(Linear(6)), L(BatchNorm())))), L(Relu()),
                        L(Residual(Sequential(L(LayerNorm()), L(Linear(6))))),
                        L(Residual(Sequential(L(Linear(6)), L(BatchNorm()), L(Relu()), L(Linear(6)),
                                              L(BatchNorm())))),
                        L(Tanh()), L(Linear(3)))},
      {"residual within residual",
       {6},
       LAYERS_BOTH_WAYS(
           L(Residual(Sequential(L(Linear(6)), L(Residual(Sequential(L(Tanh()), L(Linear(6))))),
                                 L(BatchNorm())))),
           L(Relu()), L(Linear(3)))},
      {"residual of an activation",
       {6},
       LAYERS_BOTH_WAYS(L(Linear(6)), L(Residual(Tanh())), L(Residual(Dropout(0.3))), L(Sigmoid()),
                        L(Linear(3)))},
      {"residual last",
       {6},
       LAYERS_BOTH_WAYS(L(Linear(3)), L(Residual(Sequential(L(Linear(3)), L(BatchNorm())))),
                        L(Relu()))},
  };
  return models;
}

inline Shape Batched(const Shape& sample, int64_t batch) {
  std::vector<int64_t> dims = {batch};
  dims.insert(dims.end(), sample.dims().begin(), sample.dims().end());
  return Shape(dims);
}

inline constexpr int64_t kBatch = 24;

// All that an observer can see of a network that trains for some steps, with batches of varying
// size, and evaluates in between.
struct Trace {
  std::vector<float> numbers;
  std::vector<double> losses;
  bool operator==(const Trace&) const = default;
};

struct TraceOptions {
  int threads = 1;
  int shards = 1;
  bool alone = false;
  bool share = true;
  bool poison = false;   // NaN all over the arena before each step
  bool evaluate = true;  // which folds norms where they are fused
};

inline void Poison(const Network& net) {
  const Planner::Layout layout = net.plan().LayOut();
  std::byte* arena = net.workspace().at(Buffer<std::byte>{0}) - layout.offsets[0];
  std::memset(arena, 0xFF, static_cast<size_t>(layout.bytes));  // a NaN as a float and as a double
}

inline Trace TraceOf(const Model& model, const TraceOptions& options) {
  Context ctx({.threads = options.threads});
  auto bound = Network::Bind(ctx, model.make(options.alone), MseLoss(),
                             {.input = Batched(model.sample, kBatch),
                              .seed = 11,
                              .shards = options.shards,
                              .share_memory = options.share});
  EXPECT_TRUE(bound.ok()) << bound.status().message();
  Network net = std::move(*bound);
  AdamW adam({.lr = 1e-2});
  Trace trace;
  const std::vector<float> x = Normals(4 * kBatch * model.sample.size(), 12);
  const int64_t outputs = net.output_shape().sample_size();
  const std::vector<float> t = Normals(4 * kBatch * outputs, 13);
  const auto append = [&](std::span<const float> more) {
    trace.numbers.insert(trace.numbers.end(), more.begin(), more.end());
  };
  int64_t place = 0;
  for (const int64_t samples : {kBatch, int64_t{7}, int64_t{2}, kBatch}) {
    const ConstTensor xs(x.data() + place * model.sample.size(), Batched(model.sample, samples));
    const ConstTensor ts(t.data() + place * outputs, net.output_shape().WithBatch(samples));
    if (options.poison) Poison(net);
    const auto loss = net.TrainStep(xs, ts, adam);
    EXPECT_TRUE(loss.ok()) << loss.status().message();
    if (!loss.ok()) return trace;
    trace.losses.push_back(*loss);
    append(net.output().span<float>());
    append(net.parameters().gradients);
    append(net.parameters().values);
    for (size_t i = 0; i < net.states().size(); ++i) append(net.state(i).span<float>());
    if (options.evaluate) {
      if (options.poison) Poison(net);
      trace.losses.push_back(net.Evaluate(xs, ts).value().sum);
      append(net.output().span<float>());
    }
    place += samples;
  }
  return trace;
}

}  // namespace lockstep::networks

#endif  // LOCKSTEP_TESTS_LAYERS_NETWORK_MODELS_H_
