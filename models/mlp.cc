#include "models/mlp.h"

#include <memory>

#include "layers/activation.h"
#include "layers/dropout.h"
#include "layers/flatten.h"
#include "layers/norm/group_norm.h"
#include "layers/norm/layer_norm.h"
#include "layers/norm/rms_norm.h"

namespace lockstep::inline v0_1 {
namespace {

void AddNorm(const MlpOptions& options, Sequential& net) {
  switch (options.norm) {
    case MlpOptions::Norm::kNone:
      break;
    case MlpOptions::Norm::kBatch:
      net.Add(BatchNorm(options.batch_norm));
      break;
    case MlpOptions::Norm::kLayer:
      net.Add(LayerNorm());
      break;
    case MlpOptions::Norm::kRms:
      net.Add(RmsNorm());
      break;
    case MlpOptions::Norm::kGroup:
      net.Add(GroupNorm(options.groups));
      break;
  }
}

void AddActivation(MlpOptions::Activation activation, Sequential& net) {
  switch (activation) {
    case MlpOptions::Activation::kRelu:
      net.Add(Relu());
      break;
    case MlpOptions::Activation::kLeakyRelu:
      net.Add(LeakyRelu());
      break;
    case MlpOptions::Activation::kGelu:
      net.Add(Gelu());
      break;
    case MlpOptions::Activation::kGeluTanh:
      net.Add(Gelu(GeluApproximation::kTanh));
      break;
    case MlpOptions::Activation::kSilu:
      net.Add(Silu());
      break;
    case MlpOptions::Activation::kSigmoid:
      net.Add(Sigmoid());
      break;
    case MlpOptions::Activation::kTanh:
      net.Add(Tanh());
      break;
    case MlpOptions::Activation::kSoftplus:
      net.Add(Softplus());
      break;
  }
}

}  // namespace

Sequential Mlp(const MlpOptions& options) {
  Sequential net;
  if (options.flatten) net.Add(Flatten());
  if (!options.embedded.empty()) net.Add(EmbedFeatures(options.embedded));
  for (const int64_t width : options.hidden) {
    net.Add(Linear(width, options.linear));
    AddNorm(options, net);
    AddActivation(options.activation, net);
    if (options.dropout > 0.0) net.Add(Dropout(options.dropout));
  }
  net.Add(Linear(options.outputs, options.linear));
  return net;
}

}  // namespace lockstep
