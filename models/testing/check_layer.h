// A layer, or an operation, that was written outside of the library: whether it keeps the contracts
// of engine/layer.h and engine/plan/operation.h.
#ifndef LOCKSTEP_MODELS_TESTING_CHECK_LAYER_H_
#define LOCKSTEP_MODELS_TESTING_CHECK_LAYER_H_

#include <cstdint>

#include "engine/layer.h"
#include "engine/tensor/dtype.h"
#include "engine/tensor/shape.h"
#include "models/testing/report.h"

namespace lockstep::inline v0_1::checks {

struct LayerCheckOptions : CheckOptions {
  int32_t ids = 0;  // above 0: x is whole numbers (i32) from 0 below this, and has no gradient
  // In evaluation, too, what the layer gives of a sample depends on the others of its batch.
  bool samples_mix = false;
};

// Builds `layer` on x of shape `x`, (batch, ...) with a batch of at least 8, alone and, where x is
// f32, between neighbours that may share its memory, or one do a part of the other's work: between
// norms, between activations, between a product and a curve (GELU), and as the body of a residual
// where it keeps the shape. Each of these networks learns random targets by a squared error and
// goes through the checks of subject_checks.h. An operation is checked through a layer that adds
// it; one of several inputs through a layer that makes them of x.
//
// Takes some thousand steps of these networks: small shapes do, whose extents no vector divides.
CheckReport CheckLayer(const Layer& layer, const Shape& x, const LayerCheckOptions& options = {});

}  // namespace lockstep::checks

#endif  // LOCKSTEP_MODELS_TESTING_CHECK_LAYER_H_
