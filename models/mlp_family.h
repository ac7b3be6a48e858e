// Multi-layer perceptrons as recipes name them: model.kind = "mlp".
#ifndef LOCKSTEP_MODELS_MLP_FAMILY_H_
#define LOCKSTEP_MODELS_MLP_FAMILY_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "engine/base/status.h"
#include "engine/data/dataset.h"
#include "engine/layer.h"
#include "layers/linear.h"
#include "layers/norm/batch_norm.h"
#include "models/mlp.h"
#include "models/recipe_choice.h"

namespace lockstep::inline v0_1 {

struct MlpFamily {
  static constexpr const char* kKind = "mlp";
  static constexpr const char* kTitle = "A multi-layer perceptron";

  // Defaults are what a recipe that does not name the key gets. Meanings: VisitKeys.
  std::vector<int64_t> hidden = {64, 32};
  std::string norm = "batch";
  std::string activation = "relu";
  double dropout = 0.0;
  bool bias = true;
  std::string init = "torch";
  double init_scale = 1.0;
  int64_t groups = 8;
  std::string convention = "torch";
  double momentum = -1.0;
  double eps = 1e-5;
  std::string single_value = "error";
  bool sync = true;

  static constexpr Choice<MlpOptions::Norm> kNorms[] = {{"none", MlpOptions::Norm::kNone},
                                                        {"batch", MlpOptions::Norm::kBatch},
                                                        {"layer", MlpOptions::Norm::kLayer},
                                                        {"rms", MlpOptions::Norm::kRms},
                                                        {"group", MlpOptions::Norm::kGroup}};
  static constexpr Choice<MlpOptions::Activation> kActivations[] = {
      {"relu", MlpOptions::Activation::kRelu}, {"leaky_relu", MlpOptions::Activation::kLeakyRelu},
      {"gelu", MlpOptions::Activation::kGelu}, {"gelu_tanh", MlpOptions::Activation::kGeluTanh},
      {"silu", MlpOptions::Activation::kSilu}, {"sigmoid", MlpOptions::Activation::kSigmoid},
      {"tanh", MlpOptions::Activation::kTanh}, {"softplus", MlpOptions::Activation::kSoftplus}};
  static constexpr Choice<LinearOptions::WeightInit> kInits[] = {
      {"torch", LinearOptions::WeightInit::kTorch},
      {"kaiming_normal", LinearOptions::WeightInit::kKaimingNormal},
      {"xavier_uniform", LinearOptions::WeightInit::kXavierUniform},
      {"normal", LinearOptions::WeightInit::kNormal}};
  static constexpr Choice<Convention> kConventions[] = {{"torch", Convention::kTorch},
                                                        {"keras", Convention::kKeras},
                                                        {"lesson", Convention::kLesson}};
  static constexpr Choice<SingleValuePolicy> kSingleValues[] = {
      {"error", SingleValuePolicy::kError},
      {"skip", SingleValuePolicy::kSkip},
      {"running", SingleValuePolicy::kRunning}};

  // visit(key, member, limits, meaning) for each of its keys, in the order a reader wants them.
  template <class Self, class Visit>
  static void VisitKeys(Self& m, Visit&& visit) {
    visit("model.hidden", m.hidden, AtLeast(1), "widths of the hidden layers");
    visit("model.norm", m.norm, OneOf(kNorms), "normalisation of every hidden layer");
    visit("model.activation", m.activation, OneOf(kActivations),
          "activation of every hidden layer");
    visit("model.dropout", m.dropout, Between(0, 0.999), "probability of dropping an activation");
    visit("model.bias", m.bias, KeyLimits{}, "whether linear layers have a bias");
    visit("model.init", m.init, OneOf(kInits), "how weights begin");
    visit("model.init_scale", m.init_scale, Between(0, 1e6), "multiplies the initial weights");
    visit("model.groups", m.groups, AtLeast(1), "groups of norm = group");
    visit("model.convention", m.convention, OneOf(kConventions),
          "batch norm: how running statistics are kept");
    visit("model.momentum", m.momentum, Between(-1, 1),
          "batch norm: momentum (-1: the convention's own)");
    visit("model.eps", m.eps, Between(1e-30, 1), "batch norm: added to the variance");
    visit("model.single_value", m.single_value, OneOf(kSingleValues),
          "batch norm: what training does with a batch of one");
    visit("model.sync", m.sync, KeyLimits{},
          "batch norm: statistics over all ranks; else each rank's own, and other results");
  }

  // The layers for samples as `samples` describes them, ending in OutputsOf(samples) numbers.
  Result<std::unique_ptr<Layer>> Build(const DatasetInfo& samples) const;
};

}  // namespace lockstep

#endif  // LOCKSTEP_MODELS_MLP_FAMILY_H_
