// Changes to training pictures that leave their class what it is.
//
// What is drawn for a sample is a pure function of (seed, epoch, sample), through the counters of
// engine/base/random.h; each kind of change draws from a stream of its own, so that switching one
// on leaves the others as they were. Everything is computed with exactly rounded operations in a
// fixed order: the same bits on every machine.
#ifndef LOCKSTEP_ENGINE_DATA_IMAGE_AUGMENT_H_
#define LOCKSTEP_ENGINE_DATA_IMAGE_AUGMENT_H_

#include <cstdint>
#include <vector>

#include "engine/base/status.h"
#include "engine/data/image/resize.h"

namespace lockstep::inline v0_1 {

enum class PictureCrop {
  kCentre,         // as in evaluation
  kRandom,         // anywhere in the picture with `pad` pixels around it (RandomCrop)
  kRandomResized,  // a random part, resized to the size of the network's pictures
                   // (RandomResizedCrop)
};

// What lies outside a picture.
enum class PictureEdge {
  kFill,     // the colour `fill`
  kNearest,  // its nearest pixel
  kReflect,  // mirrored, without repeating the edge itself
};

// The defaults change nothing. Names of torchvision's transforms in brackets. They act in this
// order: crop, flips, rotation, brightness, contrast, cutout, mixup.
struct AugmentOptions {
  uint64_t seed = 0;
  PictureCrop crop = PictureCrop::kCentre;
  int64_t pad = 0;  // for kRandom
  PictureEdge edge = PictureEdge::kFill;
  double scale_low = 0.08, scale_high = 1.0;             // for kRandomResized: share of the area,
  double ratio_low = 3.0 / 4.0, ratio_high = 4.0 / 3.0;  // width / height
  double flip = 0.0;           // probability of left for right (RandomHorizontalFlip)
  double vertical_flip = 0.0;  // of top for bottom
  double rotation = 0.0;       // up to so many degrees either way, bilinear, about the centre
  double brightness = 0.0;     // times 1 - b to 1 + b, in [0, 1] (ColorJitter)
  double contrast = 0.0;       // away from or towards the mean grey, likewise
  int64_t cutout = 0;          // side of a square of `fill` anywhere in the picture; 0: none
  // Pictures and targets are mixed with another training sample's: lambda ~ Beta(mixup, mixup);
  // 0: never. Zhang et al., "mixup: beyond empirical risk minimization", 2018, eq. 1.
  double mixup = 0.0;
  // For what lies outside: one number per channel in [0, 1], one for all, or none: black. The
  // training pictures' mean is what is 0 once they are standardised.
  std::vector<float> fill{};
};

// Says which option is out of range.
Status CheckAugmentOptions(const AugmentOptions& options);

// What was drawn for one sample of height x width pixels, of which the network sees out_height x
// out_width.
struct Augmentation {
  // kRandomResized: this box becomes the picture.
  PictureBox box{};
  // Otherwise: where the network's picture begins within the sample's; may lie outside.
  int64_t top = 0, left = 0;
  bool flip = false, vertical_flip = false;
  double turns = 0.0;  // counter-clockwise; 1: a full circle
  float brightness = 1.0f, contrast = 1.0f;
  int64_t cutout_y = 0, cutout_x = 0;  // the square's centre
};

struct PictureSize {
  int64_t height = 0, width = 0;
  bool operator==(const PictureSize&) const = default;
};

Augmentation DrawAugmentation(const AugmentOptions& options, int64_t epoch, int64_t sample,
                              PictureSize from, PictureSize to);

// The other sample, an index below `samples`, and this one's share in the mixture.
struct Mixing {
  int64_t partner = 0;
  float share = 1.0f;
};
Mixing DrawMixing(const AugmentOptions& options, int64_t epoch, int64_t sample, int64_t samples);

// Where the central `out` of n pixels begin, as torchvision's CenterCrop rounds; negative if there
// are fewer.
int64_t CentreStart(int64_t n, int64_t out);

// The part of `picture` that begins at (top, left), flipped: to (out height, width, channels) as
// floats, 1 for white. `fill` has one number per channel.
void CropPicture(const PictureView& picture, int64_t top, int64_t left, bool flip,
                 bool vertical_flip, PictureEdge edge, const float* fill, PictureSize out,
                 float* to);

// x, y (size.height, size.width, channels); y is x turned about its centre, bilinear, with `fill`
// (channels) outside.
void RotatePicture(const float* x, PictureSize size, int64_t channels, double turns,
                   const float* fill, float* y);

// In place, x (size.height, size.width, channels). Brightness: x = min(f x, 1). Contrast: x = g +
// f (x - g) within [0, 1], g the mean grey.
void ScaleBrightness(PictureSize size, int64_t channels, float factor, float* x);
void ScaleContrast(PictureSize size, int64_t channels, float factor, float* x);
// The square of `side` pixels about (centre_y, centre_x), as far as it lies within, becomes `fill`.
void CutOut(PictureSize size, int64_t channels, int64_t side, int64_t centre_y, int64_t centre_x,
            const float* fill, float* x);

}  // namespace lockstep

#endif  // LOCKSTEP_ENGINE_DATA_IMAGE_AUGMENT_H_
