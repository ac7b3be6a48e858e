// What the files of the C interface share: the model, and calls on it.
#ifndef LOCKSTEP_TOOLS_CAPI_MODEL_H_
#define LOCKSTEP_TOOLS_CAPI_MODEL_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine/train/prediction_jacobian.h"
#include "engine/train/predictor.h"
#include "engine/train/table_predictor.h"
#include "engine/train/training_step.h"
#include "models/recipe.h"
#include "tools/capi/guard.h"
#include "tools/capi/lockstep.h"

namespace lockstep::inline v0_1::capi {

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
  std::optional<lockstep::PredictionJacobian> jacobian;     // made when it is first asked for
  std::optional<lockstep::TablePredictor> table;            // where the samples are rows of one
  std::vector<std::string> column_names{}, answer_names{};  // of that
  std::unique_ptr<lockstep::Optimizer> optimizer;           // null: for predictions only
  std::unique_ptr<lockstep::TrainingStep> step;
  int64_t steps = 0;
  std::vector<int32_t> class_targets;  // room for a batch of them
  std::vector<float> scaled_targets;   // likewise, where values are learned in another unit
  std::vector<float> ones;             // likewise, where samples have weights and none are given
  lockstep::Shape x_shape, y_shape;    // of one sample, with a batch of 1 in front
  int64_t inputs = 0, outputs = 0;
  int64_t batch = 0;  // the most samples of a step, on all ranks together
  int64_t rows = 0;   // of them here
  lockstep::Communicator* communicator = nullptr;  // null: no other ranks
  std::string summary;
  char error[lockstep::capi::kErrorSize] = "";
};

namespace lockstep::inline v0_1::capi {

// What all calls on a model share.
template <class Body>
lockstep_code On(lockstep_model* model, Body&& body) noexcept {
  if (model == nullptr) return LOCKSTEP_INVALID;
  return Guarded(model->error, kErrorSize, body);
}

}  // namespace lockstep::capi

#endif  // LOCKSTEP_TOOLS_CAPI_MODEL_H_
