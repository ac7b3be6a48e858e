// What the files of the C interface share: the model, and calls on it.
#ifndef LOCKSTEP_TOOLS_CAPI_MODEL_H_
#define LOCKSTEP_TOOLS_CAPI_MODEL_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
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
inline constexpr int64_t kMostSamples = std::numeric_limits<int64_t>::max() / kLargest;

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

// What a predictor, of a model or a worker, says of any number of samples, some at a time. `x_most`
// and `y_most`: the shapes of the most samples at a time.
template <class P>
Status PredictAll(P& predictor, const Shape& x_most, const Shape& y_most, int64_t samples,
                  const float* x, float* y) {
  if (samples == 0) return Status::Ok();
  LOCKSTEP_TRY(InRange("samples", samples, 0, kMostSamples));
  LOCKSTEP_TRY(Needs(x != nullptr, "x"));
  LOCKSTEP_TRY(Needs(y != nullptr, "y"));
  const ConstTensor all_x(x, x_most.WithBatch(samples));
  const Tensor all_y(y, y_most.WithBatch(samples));
  if (all_x.Overlaps(all_y))
    return Status::Invalid("y lies in the memory of x, which is still read when it is written");
  for (int64_t done = 0; done < samples; done += x_most.batch()) {
    const int64_t end = std::min(samples, done + x_most.batch());
    LOCKSTEP_TRY(predictor.Run(all_x.Samples(done, end), all_y.Samples(done, end)));
  }
  return Status::Ok();
}

}  // namespace lockstep::capi

#endif  // LOCKSTEP_TOOLS_CAPI_MODEL_H_
