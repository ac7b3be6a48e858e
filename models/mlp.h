// Multi-layer perceptrons: hidden blocks of Linear, normalisation, activation and dropout, then a
// Linear head.
//
// ClinicalMLPWithBN is Mlp({.hidden = {64, 32}, .outputs = 1}); its parameters are named as PyTorch
// names those of nn.Sequential(Linear, BatchNorm1d, ReLU, Linear, BatchNorm1d, ReLU, Linear):
// "0.weight", "1.running_mean", ...
#ifndef LOCKSTEP_MODELS_MLP_H_
#define LOCKSTEP_MODELS_MLP_H_

#include <cstdint>
#include <vector>

#include "layers/container/sequential.h"
#include "layers/linear.h"
#include "layers/norm/batch_norm.h"
#include "layers/sequence/embed_features.h"

namespace lockstep::inline v0_1 {

struct MlpOptions {
  enum class Norm { kNone, kBatch, kLayer, kRms, kGroup };
  enum class Activation { kRelu, kLeakyRelu, kGelu, kGeluTanh, kSilu, kSigmoid, kTanh, kSoftplus };

  std::vector<int64_t> hidden{};  // widths of the hidden blocks
  int64_t outputs = 1;
  Norm norm = Norm::kBatch;
  BatchNormOptions batch_norm{};  // for kBatch
  int64_t groups = 8;             // for kGroup
  Activation activation = Activation::kRelu;
  double dropout = 0.0;  // after each activation; 0: none
  bool flatten = false;  // begin with Flatten: for images
  // Begin with EmbedFeatures: the last features are numbers of categories.
  std::vector<EmbeddingTable> embedded{};
  LinearOptions linear{};  // of every Linear
};

// Nothing is checked here: Bind says what does not fit.
Sequential Mlp(const MlpOptions& options);

}  // namespace lockstep

#endif  // LOCKSTEP_MODELS_MLP_H_
