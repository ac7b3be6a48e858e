// Pictures made larger or smaller: bilinear, antialiased when made smaller, as Pillow's BILINEAR
// and torchvision's antialias=True do.
//
// Along each axis, with scale s = box / out and support r = max(s, 1):
//   centre_o = begin + (o + 1/2) s
//   w_i      = max(0, 1 - |i + 1/2 - centre_o| / r), over the pixels i of the box, divided by their
//              sum
//   y_o      = sum_i w_i x_i                          i ascending
// Rows first, then columns; weights in double, rounded once to float; every sum in float in that
// order, nothing fused: the same bits on every machine. Between the passes nothing is rounded to
// bytes, as Pillow does.
#ifndef LOCKSTEP_ENGINE_DATA_IMAGE_RESIZE_H_
#define LOCKSTEP_ENGINE_DATA_IMAGE_RESIZE_H_

#include <cstdint>
#include <variant>
#include <vector>

#include "engine/data/image/picture.h"

namespace lockstep::inline v0_1 {

// Borrowed pixels (height, width, channels): bytes with white 255, words with white 65535, or
// floats with white 1.
struct PictureView {
  int64_t height = 0, width = 0, channels = 0;
  std::variant<const uint8_t*, const uint16_t*, const float*> pixels{};
};
PictureView ViewOf(const Picture& picture);

struct PictureBox {
  int64_t top = 0, left = 0, height = 0, width = 0;
  bool operator==(const PictureBox&) const = default;
};

// Memory to be used again for the next picture.
struct ResizeScratch {
  std::vector<float> rows{};
  std::vector<float> weights{};
  std::vector<int64_t> first{};
};

// The box of x as floats, 1 for white, resized to y (out_height, out_width, x.channels).
// REQUIRES: the box lies within x; no extent is 0.
void ResizePicture(const PictureView& x, const PictureBox& box, int64_t out_height,
                   int64_t out_width, ResizeScratch& scratch, float* y);

// The floats of x with another number of channels, 1 for white: y (height, width, channels). Grey
// becomes colour by repetition; colour becomes grey as ITU-R BT.601 weighs it (Pillow's "L"):
//   grey = (0.299 R + 0.587 G) + 0.114 B
// REQUIRES: both numbers are equal, or one is 1 and the other 3.
void ConvertPicture(const PictureView& x, int64_t channels, float* y);

}  // namespace lockstep

#endif  // LOCKSTEP_ENGINE_DATA_IMAGE_RESIZE_H_
