// What the files of the C interface share: the model, and how calls on it fail. Everything that may
// throw runs inside Guarded().
#ifndef LOCKSTEP_TOOLS_CAPI_MODEL_H_
#define LOCKSTEP_TOOLS_CAPI_MODEL_H_

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <memory>
#include <new>
#include <optional>
#include <string>
#include <vector>

#include "engine/train/predictor.h"
#include "engine/train/table_predictor.h"
#include "engine/train/training_step.h"
#include "models/recipe.h"
#include "tools/capi/lockstep.h"

namespace lockstep::capi {

inline constexpr size_t kErrorSize = 1024;
// Sizes whose products cannot overflow; no machine could hold more.
inline constexpr int64_t kLargest = int64_t{1} << 28;

}  // namespace lockstep::capi

// `context` and `network` stay where they are for as long as the model lives: others borrow them.
struct lockstep_model {
  lockstep_model(const lockstep::Recipe& of, const lockstep::ContextOptions& context_options)
      : recipe(of), context(context_options) {}

  lockstep::Recipe recipe;
  lockstep::Context context;
  lockstep::DatasetInfo samples;
  std::optional<lockstep::Standardizer> standardizer;
  lockstep::Decision decision;
  std::optional<lockstep::Network> network;
  std::optional<lockstep::Predictor> predictor;
  std::optional<lockstep::TablePredictor> table;            // where the samples are rows of one
  std::vector<std::string> column_names{}, answer_names{};  // of that
  std::unique_ptr<lockstep::Optimizer> optimizer;           // null: for predictions only
  std::unique_ptr<lockstep::TrainingStep> step;
  double learning_rate = 0.0;
  int64_t steps = 0;
  std::vector<int32_t> class_targets;  // room for a batch of them
  std::vector<float> scaled_targets;   // likewise, where values are learned in another unit
  lockstep::Shape x_shape, y_shape;    // of one sample, with a batch of 1 in front
  int64_t inputs = 0, outputs = 0;
  int64_t batch = 0;  // the most samples of a step, on all ranks together
  int64_t rows = 0;   // of them here
  lockstep::Communicator* communicator = nullptr;  // null: no other ranks
  char error[lockstep::capi::kErrorSize] = "";
};

namespace lockstep::capi {

inline void Say(char* error, size_t size, const char* text) {
  if (error != nullptr && size > 0) std::snprintf(error, size, "%s", text);
}

inline lockstep_code CodeOf(Code code) {
  switch (code) {
    case Code::kOk:
      return LOCKSTEP_OK;
    case Code::kInvalid:
    case Code::kInterrupted:  // nothing here waits for anyone
      return LOCKSTEP_INVALID;
    case Code::kNotFound:
      return LOCKSTEP_NOT_FOUND;
    case Code::kCorrupt:
      return LOCKSTEP_CORRUPT;
    case Code::kIo:
      return LOCKSTEP_IO;
    case Code::kNonFinite:
      return LOCKSTEP_NON_FINITE;
  }
  return LOCKSTEP_INTERNAL;
}

// Runs body, which returns a Status: no exception comes out, and `error` holds why it failed.
template <class Body>
lockstep_code Guarded(char* error, size_t size, Body&& body) noexcept {
  try {
    const Status status = body();
    if (error != nullptr && size > 0) error[0] = '\0';
    if (status.ok()) return LOCKSTEP_OK;
    Say(error, size, status.message().c_str());
    return CodeOf(status.code());
  } catch (const std::bad_alloc&) {
    Say(error, size, "out of memory; a smaller batch or model needs less");
    return LOCKSTEP_OUT_OF_MEMORY;
  } catch (const std::exception& failure) {
    Say(error, size, failure.what());
  } catch (...) {
    Say(error, size, "an exception of unknown type");
  }
  return LOCKSTEP_INTERNAL;
}

inline Status Needs(bool given, const char* what) {
  if (given) return Status::Ok();
  return Status::Invalid(std::string(what) + " is NULL");
}

inline Status InRange(const char* what, int64_t value, int64_t least, int64_t most) {
  if (value >= least && value <= most) return Status::Ok();
  return Status::Invalid(std::string(what) + " is " + std::to_string(value) + ", it must be from " +
                         std::to_string(least) + " to " + std::to_string(most));
}

// What all calls on a model share.
template <class Body>
lockstep_code On(lockstep_model* model, Body&& body) noexcept {
  if (model == nullptr) return LOCKSTEP_INVALID;
  return Guarded(model->error, kErrorSize, body);
}

}  // namespace lockstep::capi

#endif  // LOCKSTEP_TOOLS_CAPI_MODEL_H_
