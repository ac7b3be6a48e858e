// A predictor and a worker of the C interface.
#ifndef LOCKSTEP_TOOLS_CAPI_WORKER_H_
#define LOCKSTEP_TOOLS_CAPI_WORKER_H_

#include "engine/tensor/shape.h"
#include "engine/train/shared_predictor.h"
#include "tools/capi/lockstep.h"
#include "tools/capi/model.h"

struct lockstep_predictor {
  lockstep::SharedPredictor shared;
};

struct lockstep_worker {
  lockstep::SharedPredictor::Worker shared;
  lockstep::Shape x, y;  // of the most samples at a time
  char error[lockstep::capi::kErrorSize] = "";
};

#endif  // LOCKSTEP_TOOLS_CAPI_WORKER_H_
