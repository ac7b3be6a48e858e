// What the norms that learn a scale and a shift for each channel have in common.
#ifndef LOCKSTEP_LAYERS_NORM_PARAMETERS_H_
#define LOCKSTEP_LAYERS_NORM_PARAMETERS_H_

#include <cstdint>

#include "engine/base/status.h"
#include "engine/plan/graph.h"

namespace lockstep {

struct NormParameters {
  Value gamma{}, beta{};  // (C); those that are not learned stand for nothing
};

// Of numbers by channel of x: files have the channels of a flattened picture in front. Where there
// is one pixel or one channel that is the same order.
inline FileLayout ChannelLayout(const TensorSpec& x) {
  const int64_t channels = x.shape.channels();
  if (x.picture.rank() != 3 || x.picture.size() != channels) return {};
  if (x.picture[2] == channels || x.picture[2] == 1) return {};
  return {.view = x.picture, .order = {2, 0, 1}, .file = {channels}};
}

// "weight" and "bias" by channel of x, from ones (or `gamma_begins`) and zeros, without weight
// decay.
inline Result<NormParameters> AddNormParameters(Graph& graph, Value x, bool gamma, bool beta,
                                                float gamma_begins = 1.0f) {
  const int64_t channels = graph.shape(x).channels();
  const FileLayout layout = ChannelLayout(graph.spec(x));
  NormParameters p;
  if (gamma) {
    LOCKSTEP_TRY_ASSIGN(
        p.gamma,
        graph.AddParameter("weight", {channels}, Init::Constant(gamma_begins), Decay::kNo, layout));
  }
  if (beta) {
    LOCKSTEP_TRY_ASSIGN(
        p.beta, graph.AddParameter("bias", {channels}, Init::Constant(0.0f), Decay::kNo, layout));
  }
  return p;
}

// Of an operation on x, gamma, beta: whether it adds to the gradients of those that learn.
inline bool AddsToParameters(const Operands& o) { return o.accumulate(o.dx(1).empty() ? 2 : 1); }

}  // namespace lockstep

#endif  // LOCKSTEP_LAYERS_NORM_PARAMETERS_H_
