// What the norms that learn a scale and a shift for each channel have in common.
#ifndef LOCKSTEP_LAYERS_NORM_NORM_PARAMETERS_H_
#define LOCKSTEP_LAYERS_NORM_NORM_PARAMETERS_H_

#include <cstdint>

#include "engine/base/status.h"
#include "engine/plan/graph.h"
#include "engine/plan/parameters.h"

namespace lockstep::inline v0_1 {

// How files hold one number for each feature of x: in the order of a flattened picture with its
// channels in front. `groups` of features that belong together are others there, unless it is one
// group, or each feature its own.
inline FileLayout LayoutOfFeatures(const TensorSpec& x, int64_t groups = 1) {
  const Shape& picture = x.picture;
  const int64_t features = x.shape.channels();
  if (picture.rank() == 1) return {.unknown = true};
  if (picture.rank() != 3 || picture.size() != features) return {};
  if (picture[2] == features || picture[2] == 1) return {};
  if (groups != 1 && groups != features) return {.unknown = true};
  return {.view = picture, .order = {2, 0, 1}, .file = {features}};
}

struct NormParameters {
  Value gamma{}, beta{};  // (C); those that are not learned stand for nothing
};

// "weight" and "bias" for the channels of x, from ones (or `gamma_begins`) and zeros, without
// weight decay.
inline Result<NormParameters> AddNormParameters(Graph& graph, Value x, bool gamma, bool beta,
                                                float gamma_begins = 1.0f, int64_t groups = 1) {
  NormParameters p;
  const Shape channel{graph.shape(x).channels()};
  const FileLayout layout = LayoutOfFeatures(graph.spec(x), groups);
  if (gamma) {
    LOCKSTEP_TRY_ASSIGN(p.gamma, graph.AddParameter("weight", channel, Init::Constant(gamma_begins),
                                                    Decay::kNo, layout));
  }
  if (beta) {
    LOCKSTEP_TRY_ASSIGN(
        p.beta, graph.AddParameter("bias", channel, Init::Constant(0.0f), Decay::kNo, layout));
  }
  return p;
}

// Of an operation on x, gamma, beta: whether it adds to the gradients of those that learn.
inline bool AddsToParameters(const Operands& o) { return o.accumulate(o.dx(1).empty() ? 2 : 1); }

}  // namespace lockstep

#endif  // LOCKSTEP_LAYERS_NORM_NORM_PARAMETERS_H_
