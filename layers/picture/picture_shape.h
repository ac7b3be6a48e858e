// What the layers that work on rows and columns of pictures take.
#ifndef LOCKSTEP_LAYERS_PICTURE_PICTURE_SHAPE_H_
#define LOCKSTEP_LAYERS_PICTURE_PICTURE_SHAPE_H_

#include <cstdint>
#include <string>

#include "engine/base/status.h"
#include "engine/plan/operation.h"

namespace lockstep::inline v0_1 {

// (B, H, W, C), or a signal (B, W, C) as a picture of height 1.
struct PictureShape {
  int64_t batch = 0, h = 1, w = 1, c = 1;
  bool signal = false;

  explicit PictureShape(const Shape& shape)
      : batch(shape[0]),
        h(shape.rank() == 4 ? shape[1] : 1),
        w(shape[-2]),
        c(shape[-1]),
        signal(shape.rank() == 3) {}
  // The shape of a value with other rows and columns.
  Shape With(int64_t rows, int64_t columns) const {
    return signal ? Shape{batch, columns, c} : Shape{batch, rows, columns, c};
  }
};

// No extent, kernel, border ... of a picture is larger: sums of a few of them are no overflow.
inline constexpr int64_t kLargestExtent = (int64_t{1} << 31) - 1;

// x must be f32 (B, H, W, C), or (B, L, C) where `signals`; both where `pictures` too.
inline Status CheckPicture(const TensorSpec& x, bool pictures, bool signals) {
  if (x.dtype != DType::kF32)
    return Status::Invalid(std::string("takes f32, not ") + NameOf(x.dtype));
  const int rank = x.shape.rank();
  if (((rank == 4 && pictures) || (rank == 3 && signals)) && x.shape.sample_size() > 0)
    return Status::Ok();
  const std::string picture = pictures ? "(batch, height, width, channels)" : "";
  const std::string signal = signals ? "(batch, length, channels)" : "";
  return Status::Invalid("takes " + picture + (pictures && signals ? " or " : "") + signal +
                         " with no extent of 0, not " + x.shape.ToString());
}

}  // namespace lockstep

#endif  // LOCKSTEP_LAYERS_PICTURE_PICTURE_SHAPE_H_
