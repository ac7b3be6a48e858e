// What the norms that learn a scale and a shift for each channel have in common.
#ifndef LOCKSTEP_LAYERS_NORM_NORM_PARAMETERS_H_
#define LOCKSTEP_LAYERS_NORM_NORM_PARAMETERS_H_

#include <cstdint>

#include "engine/base/status.h"
#include "engine/plan/graph.h"

namespace lockstep {

struct NormParameters {
  Value gamma{}, beta{};  // (C); those that are not learned stand for nothing
};

// "weight" and "bias", from ones (or `gamma_begins`) and zeros, without weight decay.
inline Result<NormParameters> AddNormParameters(Graph& graph, int64_t channels, bool gamma,
                                                bool beta, float gamma_begins = 1.0f) {
  NormParameters p;
  if (gamma) {
    LOCKSTEP_TRY_ASSIGN(p.gamma, graph.AddParameter("weight", {channels},
                                                    Init::Constant(gamma_begins), Decay::kNo));
  }
  if (beta) {
    LOCKSTEP_TRY_ASSIGN(p.beta,
                        graph.AddParameter("bias", {channels}, Init::Constant(0.0f), Decay::kNo));
  }
  return p;
}

}  // namespace lockstep

#endif  // LOCKSTEP_LAYERS_NORM_NORM_PARAMETERS_H_
