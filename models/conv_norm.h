// A convolution with the normalisation behind it, as the networks of this folder are made of.
#ifndef LOCKSTEP_MODELS_CONV_NORM_H_
#define LOCKSTEP_MODELS_CONV_NORM_H_

#include <cstdint>
#include <string>

#include "engine/base/status.h"
#include "engine/plan/graph.h"
#include "layers/conv/conv.h"
#include "layers/norm/batch_norm.h"

namespace lockstep::inline v0_1 {

struct ConvNorm {
  enum class Kind {
    kBatch,
    kGroup,  // does not depend on the batch: for batches of one to four
    kNone,   // the convolution has a bias then
  } kind = Kind::kBatch;
  BatchNormOptions batch_norm{};  // for kBatch
  int64_t groups = 8;             // for kGroup; divides all numbers of channels
};

// The norm of x under `name`, its gamma beginning at `gamma`; x itself where there is none.
Result<Value> ApplyNorm(Graph& graph, const ConvNorm& norm, const std::string& name, Value x,
                        float gamma = 1.0f);

// The convolution of x under `conv` with the norm behind it under `name`. conv_options.bias is
// whether there is no norm, which would take a bias away again.
Result<Value> ApplyConvNorm(Graph& graph, const ConvNorm& norm, const std::string& conv,
                            const std::string& name, int64_t channels, Conv2dOptions conv_options,
                            Value x, float gamma = 1.0f);

// An error unless x holds pictures (B, H, W, C).
Status CheckPictures(const Graph& graph, Value x);

}  // namespace lockstep

#endif  // LOCKSTEP_MODELS_CONV_NORM_H_
