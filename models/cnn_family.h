// Convolutional networks as recipes name them: model.kind = "cnn".
#ifndef LOCKSTEP_MODELS_CNN_FAMILY_H_
#define LOCKSTEP_MODELS_CNN_FAMILY_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "engine/base/status.h"
#include "engine/data/dataset.h"
#include "engine/layer.h"
#include "layers/norm/batch_norm.h"
#include "models/conv_norm.h"
#include "models/mlp_family.h"
#include "models/recipe_choice.h"

namespace lockstep::inline v0_1 {

struct CnnFamily {
  static constexpr const char* kKind = "cnn";
  static constexpr const char* kTitle = "A convolutional network";

  // Defaults are what a recipe that does not name the key gets. Meanings: VisitKeys.
  std::string architecture = "conv_net";
  std::vector<int64_t> channels = {16, 32, 64};
  int64_t blocks = 2;
  int64_t kernel = 3;
  std::string head = "average";
  int64_t head_width = 0;
  double dropout = 0.0;
  int64_t depth = 0;
  double width = 1.0;
  bool skip = true;
  bool zero_init_residual = false;
  std::string norm = "batch";
  int64_t groups = 8;
  std::string convention = "torch";
  double momentum = -1.0;
  double eps = 1e-5;
  std::string single_value = "error";
  bool sync = true;

  // Samples and norm to layers; the function that builds an architecture.
  using Builder = Result<std::unique_ptr<Layer>> (*)(const CnnFamily& family, const ConvNorm& norm,
                                                     const DatasetInfo& samples);
  static KeyLimits ArchitectureNames();

  static constexpr Choice<ConvNorm::Kind> kNorms[] = {{"batch", ConvNorm::Kind::kBatch},
                                                      {"group", ConvNorm::Kind::kGroup},
                                                      {"none", ConvNorm::Kind::kNone}};
  static constexpr Choice<bool> kHeads[] = {{"average", true}, {"flatten", false}};

  // visit(key, member, limits, meaning) for each of its keys, in the order a reader wants them.
  template <class Self, class Visit>
  static void VisitKeys(Self& m, Visit&& visit) {
    visit("model.architecture", m.architecture, ArchitectureNames(),
          "conv_net: stages of 3x3 convolutions, each ended by a 2x2 pool; resnet, mobilenet_v2: "
          "for pictures of 64 pixels and more, by torchvision's names; cifar_resnet, "
          "mobilenet_small: for pictures of about 32");
    visit("model.channels", m.channels, AtLeast(1), "conv_net: channels of each stage");
    visit("model.blocks", m.blocks, Between(1, 100), "conv_net: convolutions in each stage");
    visit("model.kernel", m.kernel, Between(1, 63), "conv_net: odd");
    visit("model.head", m.head, OneOf(kHeads),
          "conv_net: what goes into the last layers, the average over the picture or all of it");
    visit("model.head_width", m.head_width, AtLeast(0),
          "conv_net: width of a hidden layer in the head (0: none)");
    visit("model.dropout", m.dropout, Between(0, 0.999),
          "conv_net, mobilenet: probability of dropping an input of the last layer");
    visit("model.depth", m.depth, AtLeast(0),
          "resnet: 18, 34, 50, 101 or 152 (0: 18); cifar_resnet: 6n + 2 (0: 20)");
    visit("model.width", m.width, Between(1.0 / 64, 64),
          "resnets, mobilenets: multiplies all numbers of channels");
    visit("model.skip", m.skip, KeyLimits{},
          "resnets: false is the plain network of the same depth");
    visit("model.zero_init_residual", m.zero_init_residual, KeyLimits{},
          "resnets: each block begins as the identity");
    visit("model.norm", m.norm, OneOf(kNorms),
          "behind every convolution; group does not depend on the batch: for batches of 1 to 4");
    visit("model.groups", m.groups, AtLeast(1), "groups of norm = group");
    visit("model.convention", m.convention, OneOf(MlpFamily::kConventions),
          "batch norm: how running statistics are kept");
    visit("model.momentum", m.momentum, Between(-1, 1),
          "batch norm: momentum (-1: the convention's own)");
    visit("model.eps", m.eps, Between(1e-30, 1), "batch norm: added to the variance");
    visit("model.single_value", m.single_value, OneOf(MlpFamily::kSingleValues),
          "batch norm: what training does with a batch of one");
    visit("model.sync", m.sync, KeyLimits{},
          "batch norm: statistics over all ranks; else each rank's own, and other results");
  }

  // The layers for samples as `samples` describes them, ending in OutputsOf(samples) numbers.
  // Errors name the key: samples that are no pictures, pictures that are too small, groups that do
  // not divide the channels.
  Result<std::unique_ptr<Layer>> Build(const DatasetInfo& samples) const;
};

}  // namespace lockstep

#endif  // LOCKSTEP_MODELS_CNN_FAMILY_H_
