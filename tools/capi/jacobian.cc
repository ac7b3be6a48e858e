// Derivatives of predictions in the C interface.
#include "engine/train/prediction_jacobian.h"
#include "tools/capi/lockstep.h"
#include "tools/capi/model.h"

namespace {

using namespace lockstep;        // NOLINT: this file is where both languages meet
using namespace lockstep::capi;  // NOLINT

Status Differentiate(lockstep_model& model, int64_t samples, const float* x, float* jacobian) {
  LOCKSTEP_TRY(InRange("samples", samples, 0, kMostSamples));
  if (samples == 0) return Status::Ok();
  LOCKSTEP_TRY(Needs(x != nullptr, "x"));
  LOCKSTEP_TRY(Needs(jacobian != nullptr, "jacobian"));
  if (!model.jacobian) {  // memory that most models never need
    LOCKSTEP_TRY_ASSIGN(PredictionJacobian made,
                        PredictionJacobian::Make(*model.network, model.samples, model.standardizer,
                                                 model.decision));
    model.jacobian.emplace(std::move(made));
  }
  model.jacobian->set_decision(model.decision);  // a training step undoes it
  return model.jacobian->Run(ConstTensor(x, model.x_shape.WithBatch(samples)),
                             Tensor(jacobian, Shape{samples, model.outputs, model.inputs}));
}

}  // namespace

extern "C" lockstep_code lockstep_jacobian(lockstep_model* model, int64_t samples, const float* x,
                                           float* jacobian) {
  return On(model, [&] { return Differentiate(*model, samples, x, jacobian); });
}
