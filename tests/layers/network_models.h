// Networks in which neighbours share memory, fuse, or write over one another. They are also run
// with none of that: ProgramOptions::fusion and share_memory.
#ifndef LOCKSTEP_TESTS_LAYERS_NETWORK_MODELS_H_
#define LOCKSTEP_TESTS_LAYERS_NETWORK_MODELS_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "engine/optim/adam.h"
#include "engine/train/network.h"
#include "gtest/gtest.h"
#include "layers/activation.h"
#include "layers/attention/transformer_block.h"
#include "layers/container/residual.h"
#include "layers/container/sequential.h"
#include "layers/conv/conv.h"
#include "layers/conv/conv_transpose.h"
#include "layers/dropout.h"
#include "layers/flatten.h"
#include "layers/linear.h"
#include "layers/loss/mse.h"
#include "layers/norm/batch_norm.h"
#include "layers/norm/group_norm.h"
#include "layers/norm/layer_norm.h"
#include "layers/norm/rms_norm.h"
#include "layers/picture/adaptive_pool.h"
#include "layers/picture/pad.h"
#include "layers/picture/pool.h"
#include "layers/picture/upsample.h"
#include "layers/recurrent/gru.h"
#include "layers/recurrent/last_step.h"
#include "layers/recurrent/lstm.h"
#include "layers/swiglu.h"
#include "models/testing/trace.h"
#include "models/transformer_encoder.h"

namespace lockstep::inline v0_1::networks {

using lockstep::checks::Normals;
using lockstep::checks::Poison;
using lockstep::checks::Trace;
using lockstep::checks::TraceOptions;

#define LAYERS(...) [] { return Sequential(__VA_ARGS__); }

// A decoder that attends to a memory made of its own input.
class OwnMemory final : public Layer {
 public:
  explicit OwnMemory(TransformerBlockOptions options) : options_(options) {}
  std::string kind() const override { return "OwnMemory"; }
  Result<Value> Build(Graph& graph, Value x) const override {
    LOCKSTEP_TRY_ASSIGN(const Value memory, Apply(graph, "memory", Linear(options_.width), x));
    return Apply(graph, "block", TransformerBlock(options_, {.memory = memory}), x);
  }

 private:
  TransformerBlockOptions options_;
};

struct Model {
  const char* name;
  Shape sample;  // of x without the batch
  std::function<Sequential()> make;
};

// Every pair of neighbours that something special may happen between.
inline const std::vector<Model>& Models() {
  static const std::vector<Model> models = {
      {"product, norm, ReLU", {6}, LAYERS(Linear(9), BatchNorm(), Relu(), Linear(3))},
      {"products and norms in a row",
       {8},
       LAYERS(Linear(8), BatchNorm(), Relu(), Linear(8), BatchNorm(), Relu(), Linear(8),
              BatchNorm(), Relu(), Linear(8))},
      {"product, norm", {6}, LAYERS(Linear(9), BatchNorm(), Linear(3), BatchNorm())},
      {"product, ReLU, norm", {6}, LAYERS(Linear(9), Relu(), BatchNorm(), Linear(3), Relu())},
      {"norm first", {6}, LAYERS(BatchNorm(), Linear(9), BatchNorm(), Tanh(), Linear(3))},
      {"norm after norm", {6}, LAYERS(Linear(9), BatchNorm(), BatchNorm(), Relu(), Linear(3))},
      {"activations in place",
       {6},
       LAYERS(Linear(9), Tanh(), Dropout(0.3), Sigmoid(), Linear(9), Sigmoid(), Tanh(), Linear(3))},
      {"activations last", {6}, LAYERS(Linear(9), Gelu(), Linear(3), Tanh(), Dropout(0.2))},
      {"dropout first", {6}, LAYERS(Dropout(0.3), Linear(9), Silu(), Linear(3))},
      {"flatten first", {2, 3}, LAYERS(Flatten(), Linear(9), BatchNorm(), Relu(), Linear(3))},
      {"flatten last", {2, 3}, LAYERS(Linear(4), LayerNorm(), Tanh(), Flatten())},
      {"flatten before what writes over",
       {2, 3},
       LAYERS(Linear(4), Tanh(), Flatten(), Dropout(0.3), Linear(3))},
      {"flatten between activations",
       {2, 3},
       LAYERS(Linear(4), Sigmoid(), Flatten(), Tanh(), Linear(3), Flatten())},
      {"flatten twice, and behind ReLU",
       {2, 3},
       LAYERS(Linear(4), Relu(), Flatten(), Flatten(), Sigmoid(), Linear(3))},
      {"only flatten", {2, 3}, LAYERS(Linear(3), Flatten())},
      {"norms of samples",
       {4, 6},
       LAYERS(Linear(8), GroupNorm(2), Relu(), Linear(8), RmsNorm(), InstanceNorm(), LeakyRelu(),
              LayerNorm(), Linear(3))},
      {"norm over positions",
       {4, 6},
       LAYERS(Linear(8), BatchNorm(), Relu(), Dropout(0.1), Linear(3))},
      {"sequences within",
       {6},
       LAYERS(Sequential(Linear(9), BatchNorm()), Relu(),
              Sequential(Linear(5), Sequential(BatchNorm(), Relu())), Linear(3))},
      {"residual", {6}, LAYERS(Residual(Sequential(Linear(6), BatchNorm())), Relu(), Linear(3))},
      {"residual of a product",
       {6},
       LAYERS(Residual(Linear(6)), Relu(), Residual(Sequential(Linear(4), Gelu(), Linear(6))),
              Linear(3))},
      {"residual with a shortcut",
       {6},
       LAYERS(Linear(8), BatchNorm(), Relu(),
              Residual(Sequential(Linear(5), BatchNorm(), Relu(), Linear(9), BatchNorm()),
                       Sequential(Linear(9), BatchNorm())),
              Relu(), Linear(3))},
      {"residuals in a row",
       {6},
       LAYERS(Residual(Sequential(Linear(6), BatchNorm())), Relu(),
              Residual(Sequential(LayerNorm(), Linear(6))),
              Residual(Sequential(Linear(6), BatchNorm(), Relu(), Linear(6), BatchNorm())), Tanh(),
              Linear(3))},
      {"residual within residual",
       {6},
       LAYERS(Residual(Sequential(Linear(6), Residual(Sequential(Tanh(), Linear(6))), BatchNorm())),
              Relu(), Linear(3))},
      {"residual of an activation",
       {6},
       LAYERS(Linear(6), Residual(Tanh()), Residual(Dropout(0.3)), Sigmoid(), Linear(3))},
      {"residual whose norm folds, with a ReLU",
       {6},
       LAYERS(Linear(8), Relu(),
              Residual(Sequential(Linear(8), BatchNorm(), Relu(), Linear(8), BatchNorm())), Relu(),
              Residual(Sequential(Linear(8), BatchNorm())), Linear(3))},
      {"residual of nothing but a norm",
       {6},
       LAYERS(Linear(8), Residual(BatchNorm()), Relu(), Residual(LayerNorm()), Linear(3))},
      {"residuals of norms and curves",
       {11, 6},
       LAYERS(
           Linear(8), Residual(Sequential(LayerNorm(), Linear(8), Silu(), Linear(8))),
           Residual(Sequential(RmsNorm(), Linear(20), Gelu(GeluApproximation::kTanh), Linear(8))),
           LayerNorm(), Linear(3))},
      {"curves that one product, no product, or several read",
       {6},
       LAYERS(Linear(9), Gelu(), Residual(Linear(9)), Silu(), BatchNorm(), Linear(5), Softplus(),
              Tanh(), Linear(3), Gelu())},
      {"residual last",
       {6},
       LAYERS(Linear(3), Residual(Sequential(Linear(3), BatchNorm())), Relu())},
      {"convolution, norm, ReLU",
       {5, 4, 3},
       LAYERS(Conv2d(6, {.padding = 1, .bias = false}), BatchNorm(), Relu(), Conv2d(2), Flatten(),
              Linear(3))},
      {"convolutions with biases, ReLU",
       {5, 4, 3},
       LAYERS(Conv2d(6, {.stride = 2, .padding = 1}), Relu(), Conv2d(4, {.kernel = 2}), Relu(),
              Flatten(), Linear(3))},
      {"norm after a bias without effect",
       {4, 5, 2},
       LAYERS(Conv2d(5, {.kernel = {1, 3}, .stride = {2, 1}}), BatchNorm(),
              Conv2d(2, {.same = true}), BatchNorm())},
      {"residual of convolutions",
       {4, 4, 4},
       LAYERS(Residual(Sequential(Conv2d(4, {.padding = 1, .bias = false}), BatchNorm(), Relu(),
                                  Conv2d(4, {.padding = 1, .bias = false}), BatchNorm())),
              Relu(), Residual(Conv2d(4, {.same = true})), Relu(), Flatten(), Linear(3))},
      {"residual with a shortcut of convolutions",
       {5, 5, 3},
       LAYERS(Residual(Sequential(Conv2d(4, {.stride = 2, .padding = 1}), BatchNorm(), Relu(),
                                  Conv2d(6, {.kernel = 1}), BatchNorm()),
                       Sequential(Conv2d(6, {.kernel = 1, .stride = 2}), BatchNorm())),
              Relu(), Flatten(), Linear(2))},
      {"depthwise and pointwise",
       {5, 6, 4},
       LAYERS(Conv2d(8, {.kernel = 1, .bias = false}), BatchNorm(), Relu(),
              Conv2d(8, {.stride = 2, .padding = 1, .groups = 8, .bias = false}), BatchNorm(),
              Relu(), Conv2d(3, {.kernel = 1}), Relu(), Conv2d(6, {.same = true, .groups = 3}))},
      {"signals",
       {9, 3},
       LAYERS(Conv1d(4, {.padding = 1}), BatchNorm(), Relu(), Conv1d(4, {.groups = 4}), Relu(),
              Residual(Conv1d(4, {.kernel = 2, .same = true})), Flatten(), Linear(3))},
      {"transposed convolutions",
       {3, 4, 2},
       LAYERS(ConvTranspose2d(4, {.stride = 2, .padding = 1, .output_padding = 1, .bias = false}),
              BatchNorm(), Relu(), ConvTranspose2d(2, {.kernel = 2}), Relu(),
              Residual(ConvTranspose2d(2, {.padding = 1})), Flatten(), Linear(3))},
      {"pools of pictures",
       {5, 4, 3},
       LAYERS(Linear(4), BatchNorm(), Relu(), MaxPool2d(3, {.stride = 2, .padding = 1}), Linear(4),
              Tanh(), AvgPool2d(2, {.stride = 1, .padding = 1}), Sigmoid(), AdaptiveAvgPool2d(1),
              Flatten(), Linear(3))},
      {"residuals around pools",
       {4, 4, 2},
       LAYERS(Linear(4), Residual(MaxPool2d(3, {.stride = 1, .padding = 1})), Relu(),
              Residual(Sequential(AvgPool2d(2), Upsample({.scale_factor = 2.0}))), ZeroPad2d(1),
              Residual(AvgPool2d(3, {.stride = 1, .padding = 1}), Linear(4)), Flatten(),
              Linear(3))},
      {"attention", {5, 6}, LAYERS(MultiHeadAttention({.heads = 2}), Linear(3))},
      {"causal attention with shared keys and dropout",
       {5, 6},
       LAYERS(Linear(8),
              MultiHeadAttention({.heads = 4, .key_heads = 2, .causal = true, .dropout = 0.2}),
              Linear(3))},
      {"blocks with norms in front and behind",
       {4, 6},
       LAYERS(TransformerBlock({.width = 6, .heads = 2, .feed_forward = 9, .dropout = 0.1}),
              TransformerBlock({.width = 6,
                                .heads = 3,
                                .feed_forward = 7,
                                .norm_first = false,
                                .activation = TransformerBlockOptions::Activation::kRelu}),
              Linear(3))},
      {"gates",
       {4, 6},
       LAYERS(Linear(10), SwiGlu(),
              TransformerBlock({.width = 5,
                                .heads = 1,
                                .feed_forward = 6,
                                .norm = TransformerBlockOptions::Norm::kRms,
                                .activation = TransformerBlockOptions::Activation::kSwiGlu,
                                .bias = false}),
              Linear(3))},
      {"attention to a memory",
       {4, 6},
       LAYERS(OwnMemory({.width = 6, .heads = 2, .feed_forward = 9, .causal = true}), Linear(3))},
      {"a series with a class token",
       {5, 3},
       LAYERS(TransformerEncoder({.encoder = {.block = {.width = 6, .heads = 2, .feed_forward = 9},
                                              .layers = 2,
                                              .outputs = 3,
                                              .pool = EncoderOptions::Pool::kClassToken}}))},
      {"a series with rotary positions",
       {5, 3},
       LAYERS(TransformerEncoder({.encoder = {.block = {.width = 8, .heads = 2, .feed_forward = 9},
                                              .layers = 1,
                                              .outputs = 3,
                                              .positions = EncoderOptions::Positions::kRotary}}))},
      {"patches of pictures",
       {4, 6, 2},
       LAYERS(Vit({.encoder = {.block = {.width = 6, .heads = 2, .feed_forward = 9},
                               .layers = 1,
                               .outputs = 3},
                   .patch = 2}))},
      {"recurrent layers",
       {5, 3},
       LAYERS(Linear(4), Tanh(), Lstm(5, {.layers = 2, .bidirectional = true, .dropout = 0.2}),
              Relu(), Residual(Gru(10)), LastStep({.bidirectional = true}), Linear(3))},
  };
  return models;
}

inline Shape Batched(const Shape& sample, int64_t batch) {
  std::vector<int64_t> dims = {batch};
  dims.insert(dims.end(), sample.dims().begin(), sample.dims().end());
  return Shape(dims);
}

inline constexpr int64_t kBatch = 24;

// Learns random targets by a squared error.
inline lockstep::checks::Subject SubjectOf(const Model& model) {
  return {.layers = [make = model.make] { return std::make_unique<Sequential>(make()); },
          .loss = [] { return std::make_unique<MseLoss>(); },
          .input = Batched(model.sample, kBatch)};
}

inline Trace TraceOf(const Model& model, const TraceOptions& options) {
  Result<Trace> trace = lockstep::checks::TraceOf(SubjectOf(model), options);
  EXPECT_TRUE(trace.ok()) << trace.status().message();
  return trace.ok() ? std::move(*trace) : Trace();
}

}  // namespace lockstep::networks

#endif  // LOCKSTEP_TESTS_LAYERS_NETWORK_MODELS_H_
