// Predictions on many threads in the C interface.
#include <memory>
#include <utility>

#include "engine/train/shared_predictor.h"
#include "tools/capi/lockstep.h"
#include "tools/capi/model.h"
#include "tools/capi/worker.h"

namespace {

using namespace lockstep;        // NOLINT: this file is where both languages meet
using namespace lockstep::capi;  // NOLINT

Result<std::unique_ptr<lockstep_predictor>> MakePredictor(const lockstep_model& model,
                                                          int64_t batch) {
  LOCKSTEP_TRY(InRange("batch", batch, 0, kLargest));
  LOCKSTEP_TRY_ASSIGN(SharedPredictor shared,
                      SharedPredictor::Make(*model.network, batch > 0 ? batch : model.rows,
                                            model.samples, model.standardizer, model.decision));
  return std::make_unique<lockstep_predictor>(lockstep_predictor{std::move(shared)});
}

}  // namespace

extern "C" {

lockstep_code lockstep_predictor_create(const lockstep_model* model, int64_t batch,
                                        lockstep_predictor** predictor, char* error,
                                        size_t error_size) {
  if (predictor != nullptr) *predictor = nullptr;
  return Guarded(error, error_size, [&]() -> Status {
    LOCKSTEP_TRY(Needs(model != nullptr, "model"));
    LOCKSTEP_TRY(Needs(predictor != nullptr, "predictor"));
    LOCKSTEP_TRY_ASSIGN(std::unique_ptr<lockstep_predictor> made, MakePredictor(*model, batch));
    *predictor = made.release();
    return Status::Ok();
  });
}

lockstep_code lockstep_predictor_update(lockstep_predictor* predictor, const lockstep_model* model,
                                        char* error, size_t error_size) {
  return Guarded(error, error_size, [&]() -> Status {
    LOCKSTEP_TRY(Needs(predictor != nullptr, "predictor"));
    LOCKSTEP_TRY(Needs(model != nullptr, "model"));
    return predictor->shared.Publish(*model->network, model->samples, model->standardizer,
                                     model->decision);
  });
}

void lockstep_predictor_destroy(lockstep_predictor* predictor) { delete predictor; }

lockstep_code lockstep_worker_create(const lockstep_predictor* predictor, lockstep_worker** worker,
                                     char* error, size_t error_size) {
  if (worker != nullptr) *worker = nullptr;
  return Guarded(error, error_size, [&]() -> Status {
    LOCKSTEP_TRY(Needs(predictor != nullptr, "predictor"));
    LOCKSTEP_TRY(Needs(worker != nullptr, "worker"));
    const SharedPredictor& shared = predictor->shared;
    LOCKSTEP_TRY_ASSIGN(SharedPredictor::Worker made, shared.MakeWorker());
    *worker = new lockstep_worker{std::move(made), shared.input_shape(), shared.output_shape()};
    return Status::Ok();
  });
}

lockstep_code lockstep_worker_predict(lockstep_worker* worker, int64_t samples, const float* x,
                                      float* y) {
  if (worker == nullptr) return LOCKSTEP_INVALID;
  return Guarded(worker->error, kErrorSize,
                 [&] { return PredictAll(worker->shared, worker->x, worker->y, samples, x, y); });
}

const char* lockstep_worker_error(const lockstep_worker* worker) {
  return worker == nullptr ? "the worker is NULL" : worker->error;
}

void lockstep_worker_destroy(lockstep_worker* worker) { delete worker; }

}  // extern "C"
