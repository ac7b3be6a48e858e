// What a model is made of, in the C interface.
#include "engine/train/summary.h"

#include "tools/capi/lockstep.h"
#include "tools/capi/model.h"

extern "C" const char* lockstep_summary(lockstep_model* model) {
  using namespace lockstep;  // NOLINT: this file is where both languages meet
  if (model == nullptr) return nullptr;
  const lockstep_code code = capi::On(model, [&] {
    model->summary = Summary(*model->network);
    return Status::Ok();
  });
  return code == LOCKSTEP_OK ? model->summary.c_str() : nullptr;
}
