// The gradient of vectors that were looked up by their numbers.
//
//   dw_v = sum over rows r with id_r = v of dy_r     in double within a shard, then floats by the
//                                                    tree over shards
#ifndef LOCKSTEP_LAYERS_SEQUENCE_ID_GRADIENT_H_
#define LOCKSTEP_LAYERS_SEQUENCE_ID_GRADIENT_H_

#include <cstdint>
#include <span>

#include "engine/plan/operation.h"

namespace lockstep::inline v0_1 {

// A part of an operation, which books its scratch. Thread-compatible.
class IdGradient {
 public:
  // For up to `ids` ids (`per_sample` of each sample) below `count`.
  void Book(int64_t ids, int64_t per_sample, int64_t count, Booking& booking);

  // Writes dw (count, width), or adds to it. Negative ids count for nothing.
  //   ids   a row each
  //   dy    (rows, stride), of which the first `width` of each row are meant
  void Run(const Step& step, std::span<const int32_t> ids, const float* dy, int64_t stride,
           int64_t count, int64_t width, bool accumulate, float* dw) const;

 private:
  int64_t SortRows(const Step& step, std::span<const int32_t> ids, int64_t count) const;

  Rows rows_;
  Buffer<int32_t> ends_, order_, present_;
};

}  // namespace lockstep

#endif  // LOCKSTEP_LAYERS_SEQUENCE_ID_GRADIENT_H_
