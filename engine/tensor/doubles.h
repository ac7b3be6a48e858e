// Numbers of a host that computes in double, as the floats that networks take, and back.
//
//   FloatBuffer x({32, 20});                                  // room for the largest batch
//   LOCKSTEP_TRY_ASSIGN(const ConstTensor in, x.Take(field));  // field: doubles of whole samples
//   LOCKSTEP_TRY(net.Predict(in, y));
//   LOCKSTEP_TRY(CopyToDoubles(y, rates));
#ifndef LOCKSTEP_ENGINE_TENSOR_DOUBLES_H_
#define LOCKSTEP_ENGINE_TENSOR_DOUBLES_H_

#include <cstdint>
#include <span>
#include <vector>

#include "engine/base/status.h"
#include "engine/tensor/shape.h"
#include "engine/tensor/tensor.h"

namespace lockstep::inline v0_1 {

enum class NaNs {
  kRefuse,
  kKeep,  // where features may be missing: a Predictor's standardiser takes them
};

// Each number rounded to the nearest float, into `to`, f32 of as many numbers. `name` stands in
// messages. Numbers below what a float holds become 0. An error (kNonFinite) names the first that
// is beyond a float's range (3.4e38), infinite, or NaN, by its place in `to`; then nothing is
// written.
// Raises no floating-point exception but inexact and underflow.
Status CopyToFloats(std::span<const double> from, Tensor to, const char* name = "x",
                    NaNs nans = NaNs::kRefuse);
// Exact. An error: not f32, or another count.
Status CopyToDoubles(ConstTensor from, std::span<double> to);

// Floats that are owned: room for a batch of samples that come as doubles, or that go as such.
// Movable; one thread at a time. Allocates when it is made, and in errors.
class FloatBuffer {
 public:
  // (batch, ...) of the largest batch.
  explicit FloatBuffer(const Shape& shape);

  // Copies as many samples as `from` holds; the tensor is valid until the next call. Errors: no
  // whole samples, or more than there is room for; and those of CopyToFloats.
  Result<ConstTensor> Take(std::span<const double> from, const char* name = "x",
                           NaNs nans = NaNs::kRefuse);
  // Room for `samples` samples, to be written to. REQUIRES: no more than there is room for.
  Tensor Room(int64_t samples);

  const Shape& shape() const { return shape_; }

 private:
  Shape shape_;
  std::vector<float> floats_;
};

}  // namespace lockstep

#endif  // LOCKSTEP_ENGINE_TENSOR_DOUBLES_H_
