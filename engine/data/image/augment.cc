#include "engine/data/image/augment.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <string>
#include <vector>

#include "engine/base/check.h"
#include "engine/base/portable_math.h"
#include "engine/base/random.h"

namespace lockstep::inline v0_1 {
namespace {

// What is drawn apart from the others.
enum class Draw : uint64_t {
  kCrop,
  kFlip,
  kVerticalFlip,
  kRotation,
  kBrightness,
  kContrast,
  kCutout,
  kMixup
};

// The numbers of one sample in one epoch: a key of its own for each, by the same cipher.
Random NumbersOf(const AugmentOptions& options, int64_t epoch, int64_t sample, Draw draw) {
  const auto key = Philox(options.seed, StreamOf("augment") + static_cast<uint64_t>(epoch),
                          static_cast<uint64_t>(sample));
  return {uint64_t{key[0]} << 32 | key[1],
          (uint64_t{key[2]} << 32 | key[3]) + static_cast<uint64_t>(draw)};
}

// In [low, high).
double Between(Random& random, double low, double high) {
  return low + (high - low) * random.Uniform();
}
// In [0, most].
int64_t UpTo(Random& random, int64_t most) {
  return static_cast<int64_t>(random.Below(static_cast<uint64_t>(most) + 1));
}

// ln of a number drawn from Gamma(shape, 1). Marsaglia and Tsang, "A simple method for generating
// gamma variables", 2000; for a shape below 1 by Gamma(a) = Gamma(a + 1) U^(1/a), as logarithms
// because U^(1/a) is 0 in floating point where a is small.
double LogGamma(Random& random, double shape) {
  const double d = (shape < 1.0 ? shape + 1.0 : shape) - 1.0 / 3.0;
  const double c = 1.0 / std::sqrt(9.0 * d);
  for (;;) {
    const double x = random.Normal();
    const double root = 1.0 + c * x;
    if (root <= 0.0) continue;
    const double v = root * root * root;
    const double u = 1.0 - random.Uniform();  // in (0, 1]
    if (portable::Log(u) >= 0.5 * x * x + d - d * v + d * portable::Log(v)) continue;
    double log = portable::Log(d * v);
    if (shape < 1.0) log += portable::Log(1.0 - random.Uniform()) / shape;
    return log;
  }
}

// How far a coordinate may be drawn from: a picture of n pixels with `pad` on both sides, and more
// where it is smaller than what is to be cut from it (torchvision's pad_if_needed).
int64_t DrawStart(Random& random, int64_t n, int64_t pad, int64_t out) {
  const int64_t padded = n + 2 * pad;
  const int64_t missing = std::max<int64_t>(0, out - padded);
  return UpTo(random, padded + 2 * missing - out) - pad - missing;
}

// As torchvision's RandomResizedCrop.get_params: ten attempts, then the largest central part whose
// proportions are allowed.
PictureBox DrawBox(Random& random, const AugmentOptions& options, PictureSize from) {
  const double area = static_cast<double>(from.height) * static_cast<double>(from.width);
  const double log_low = portable::Log(options.ratio_low);
  const double log_high = portable::Log(options.ratio_high);
  for (int attempt = 0; attempt < 10; ++attempt) {
    const double target = area * Between(random, options.scale_low, options.scale_high);
    const double ratio = portable::Exp(Between(random, log_low, log_high));
    const auto width = static_cast<int64_t>(portable::Round(std::sqrt(target * ratio)));
    const auto height = static_cast<int64_t>(portable::Round(std::sqrt(target / ratio)));
    if (width < 1 || width > from.width || height < 1 || height > from.height) continue;
    const int64_t top = UpTo(random, from.height - height);
    const int64_t left = UpTo(random, from.width - width);
    return {top, left, height, width};
  }
  const double ratio = static_cast<double>(from.width) / static_cast<double>(from.height);
  PictureBox box{0, 0, from.height, from.width};
  if (ratio < options.ratio_low) {
    box.height =
        static_cast<int64_t>(portable::Round(static_cast<double>(from.width) / options.ratio_low));
  } else if (ratio > options.ratio_high) {
    box.width = static_cast<int64_t>(
        portable::Round(static_cast<double>(from.height) * options.ratio_high));
  }
  box.height = std::clamp<int64_t>(box.height, 1, from.height);
  box.width = std::clamp<int64_t>(box.width, 1, from.width);
  box.top = (from.height - box.height) / 2;
  box.left = (from.width - box.width) / 2;
  return box;
}

// Which pixel of n stands at place i, or -1 for none.
int64_t PixelAt(int64_t i, int64_t n, PictureEdge edge) {
  if (i >= 0 && i < n) return i;
  switch (edge) {
    case PictureEdge::kFill:
      return -1;
    case PictureEdge::kNearest:
      return i < 0 ? 0 : n - 1;
    case PictureEdge::kReflect: {
      if (n == 1) return 0;
      const int64_t period = 2 * (n - 1);  // 0 1 2 1 | 0 1 2 1
      const int64_t place = ((i % period) + period) % period;
      return place < n ? place : period - place;
    }
  }
  return -1;
}

float Scaled(uint8_t u) { return static_cast<float>(u) / 255.0f; }
float Scaled(uint16_t u) { return static_cast<float>(u) / 65535.0f; }
float Scaled(float x) { return x; }

// Pixel i of `to` is the one i before `from`.
template <class T>
void CopyReversed(const T* from, int64_t n, int64_t channels, float* __restrict to) {
  if (channels == 3) {
    for (int64_t i = 0; i < n; ++i) {
      const T* pixel = from - 3 * i;
      to[3 * i] = Scaled(pixel[0]);
      to[3 * i + 1] = Scaled(pixel[1]);
      to[3 * i + 2] = Scaled(pixel[2]);
    }
    return;
  }
  for (int64_t i = 0; i < n; ++i) {
    const T* pixel = from - channels * i;
    for (int64_t c = 0; c < channels; ++c) *to++ = Scaled(pixel[c]);
  }
}

// One row of the output from one of the picture. Output column j shows column `left` + j, or from
// the other end if flipped; [begin, end) are those within the picture.
template <class T>
void CropRow(const T* row, int64_t width, int64_t channels, int64_t left, bool flip,
             PictureEdge edge, const float* fill, int64_t out, float* __restrict to) {
  const int64_t step = flip ? -1 : 1;
  const int64_t start = flip ? left + out - 1 : left;  // the column that output 0 shows
  const int64_t begin = std::clamp<int64_t>(flip ? start - (width - 1) : -start, 0, out);
  const int64_t end = std::clamp<int64_t>(flip ? start + 1 : width - start, begin, out);
  const auto outside = [&](int64_t j) {
    const int64_t column = PixelAt(start + step * j, width, edge);
    for (int64_t c = 0; c < channels; ++c)
      to[j * channels + c] = column < 0 ? fill[c] : Scaled(row[column * channels + c]);
  };
  for (int64_t j = 0; j < begin; ++j) outside(j);
  if (begin < end) {
    const T* from = row + (start + step * begin) * channels;
    float* into = to + begin * channels;
    if (flip) {
      CopyReversed(from, end - begin, channels, into);
    } else {
      for (int64_t i = 0; i < (end - begin) * channels; ++i) into[i] = Scaled(from[i]);
    }
  }
  for (int64_t j = end; j < out; ++j) outside(j);
}

void FillPixels(int64_t pixels, int64_t channels, const float* fill, float* to) {
  for (int64_t i = 0; i < pixels; ++i, to += channels) std::copy_n(fill, channels, to);
}

float Grey(const float* pixel, int64_t channels) {
  return channels == 3 ? (0.299f * pixel[0] + 0.587f * pixel[1]) + 0.114f * pixel[2] : pixel[0];
}

Status Outside(const std::string& name, double value, const std::string& range) {
  return Status::Invalid(name + " must be " + range + ", not " + std::to_string(value));
}

}  // namespace

Status CheckAugmentOptions(const AugmentOptions& o) {
  // Written so that NaN is out of range.
  const auto within = [](double x, double low, double high) { return x >= low && x <= high; };
  constexpr int64_t kMostPixels = 65536;
  if (o.pad < 0 || o.pad > kMostPixels)
    return Outside("the padding", static_cast<double>(o.pad), "0 to 65536 pixels");
  if (o.pad > 0 && o.crop != PictureCrop::kRandom)
    return Status::Invalid("padding is for random crops; choose that crop, or no padding");
  if (!(o.scale_low > 0.0 && o.scale_low <= o.scale_high && o.scale_high <= 1.0))
    return Status::Invalid(
        "the scale of a random resized crop must be two shares of the area in "
        "(0, 1], the smaller first");
  if (!(within(o.ratio_low, 0.01, 100.0) && within(o.ratio_high, o.ratio_low, 100.0)))
    return Status::Invalid(
        "the ratio of a random resized crop must be two numbers of 0.01 to 100, "
        "the smaller first");
  if (!within(o.flip, 0.0, 1.0)) return Outside("the probability of a flip", o.flip, "0 to 1");
  if (!within(o.vertical_flip, 0.0, 1.0))
    return Outside("the probability of a vertical flip", o.vertical_flip, "0 to 1");
  if (!within(o.rotation, 0.0, 180.0)) return Outside("the rotation", o.rotation, "0 to 180");
  if (!within(o.brightness, 0.0, 1.0)) return Outside("the brightness", o.brightness, "0 to 1");
  if (!within(o.contrast, 0.0, 1.0)) return Outside("the contrast", o.contrast, "0 to 1");
  if (o.cutout < 0 || o.cutout > kMostPixels)
    return Outside("the cutout", static_cast<double>(o.cutout), "0 to 65536 pixels");
  // Beta(0.001, 0.001) is 0 or 1 but for one in a hundred; Beta(1000, 1000) is 1/2.
  if (o.mixup != 0.0 && !within(o.mixup, 0.001, 1000.0))
    return Outside("mixup", o.mixup, "0, or 0.001 to 1000");
  for (const float fill : o.fill) {
    if (!within(static_cast<double>(fill), 0.0, 1.0))
      return Outside("the fill", static_cast<double>(fill), "0 to 1 for each channel");
  }
  return Status::Ok();
}

Augmentation DrawAugmentation(const AugmentOptions& options, int64_t epoch, int64_t sample,
                              PictureSize from, PictureSize to) {
  const auto numbers = [&](Draw draw) { return NumbersOf(options, epoch, sample, draw); };
  Augmentation drawn;
  switch (options.crop) {
    case PictureCrop::kCentre:
      drawn.top = CentreStart(from.height, to.height);
      drawn.left = CentreStart(from.width, to.width);
      break;
    case PictureCrop::kRandom: {
      Random random = numbers(Draw::kCrop);
      drawn.top = DrawStart(random, from.height, options.pad, to.height);
      drawn.left = DrawStart(random, from.width, options.pad, to.width);
      break;
    }
    case PictureCrop::kRandomResized: {
      Random random = numbers(Draw::kCrop);
      drawn.box = DrawBox(random, options, from);
      break;
    }
  }
  if (options.flip > 0.0) drawn.flip = numbers(Draw::kFlip).Uniform() < options.flip;
  if (options.vertical_flip > 0.0)
    drawn.vertical_flip = numbers(Draw::kVerticalFlip).Uniform() < options.vertical_flip;
  const auto factor = [&](Draw draw, double spread) {
    Random random = numbers(draw);
    return static_cast<float>(Between(random, 1.0 - spread, 1.0 + spread));
  };
  if (options.rotation > 0.0) {
    Random random = numbers(Draw::kRotation);
    drawn.turns = Between(random, -options.rotation, options.rotation) / 360.0;
  }
  if (options.brightness > 0.0) drawn.brightness = factor(Draw::kBrightness, options.brightness);
  if (options.contrast > 0.0) drawn.contrast = factor(Draw::kContrast, options.contrast);
  if (options.cutout > 0) {
    Random random = numbers(Draw::kCutout);
    drawn.cutout_y = UpTo(random, to.height - 1);
    drawn.cutout_x = UpTo(random, to.width - 1);
  }
  return drawn;
}

Mixing DrawMixing(const AugmentOptions& options, int64_t epoch, int64_t sample, int64_t samples) {
  Random random = NumbersOf(options, epoch, sample, Draw::kMixup);
  Mixing mixing;
  mixing.partner = UpTo(random, samples - 1);
  // X / (X + Y) for two numbers from the gamma distribution.
  const double x = LogGamma(random, options.mixup), y = LogGamma(random, options.mixup);
  mixing.share = static_cast<float>(portable::Sigmoid(std::clamp(x - y, -100.0, 100.0)));
  return mixing;
}

int64_t CentreStart(int64_t n, int64_t out) {
  if (out > n) return -((out - n) / 2);
  const int64_t left_over = n - out, half = left_over / 2;
  return half + (left_over % 2 != 0 ? half % 2 : 0);
}

void CropPicture(const PictureView& picture, int64_t top, int64_t left, bool flip,
                 bool vertical_flip, PictureEdge edge, const float* fill, PictureSize out,
                 float* to) {
  const int64_t channels = picture.channels, out_row = out.width * channels;
  std::visit(
      [&](const auto* pixels) {
        for (int64_t i = 0; i < out.height; ++i, to += out_row) {
          const int64_t place = top + (vertical_flip ? out.height - 1 - i : i);
          const int64_t row = PixelAt(place, picture.height, edge);
          if (row < 0) {
            FillPixels(out.width, channels, fill, to);
          } else {
            CropRow(pixels + row * picture.width * channels, picture.width, channels, left, flip,
                    edge, fill, out.width, to);
          }
        }
      },
      picture.pixels);
}

void RotatePicture(const float* x, PictureSize size, int64_t channels, double turns,
                   const float* fill, float* y) {
  const portable::SinCos angle = portable::Turn(turns);
  const double centre_y = 0.5 * static_cast<double>(size.height - 1);
  const double centre_x = 0.5 * static_cast<double>(size.width - 1);
  const auto pixel = [&](int64_t row, int64_t column) {
    const bool within = row >= 0 && row < size.height && column >= 0 && column < size.width;
    return within ? x + (row * size.width + column) * channels : fill;
  };
  for (int64_t i = 0; i < size.height; ++i) {
    const double dy = static_cast<double>(i) - centre_y;
    for (int64_t j = 0; j < size.width; ++j, y += channels) {
      const double dx = static_cast<double>(j) - centre_x;
      const double from_y = centre_y + (angle.sin * dx + angle.cos * dy);
      const double from_x = centre_x + (angle.cos * dx - angle.sin * dy);
      const double low_y = std::floor(from_y), low_x = std::floor(from_x);
      const auto row = static_cast<int64_t>(low_y), column = static_cast<int64_t>(low_x);
      const auto v = static_cast<float>(from_y - low_y), u = static_cast<float>(from_x - low_x);
      const float *a = pixel(row, column), *b = pixel(row, column + 1);
      const float *c = pixel(row + 1, column), *d = pixel(row + 1, column + 1);
      for (int64_t k = 0; k < channels; ++k) {
        const float upper = (1.0f - u) * a[k] + u * b[k];
        const float lower = (1.0f - u) * c[k] + u * d[k];
        y[k] = (1.0f - v) * upper + v * lower;
      }
    }
  }
}

void ScaleBrightness(PictureSize size, int64_t channels, float factor, float* x) {
  const int64_t n = size.height * size.width * channels;
  for (int64_t i = 0; i < n; ++i) x[i] = std::min(factor * x[i], 1.0f);
}

void ScaleContrast(PictureSize size, int64_t channels, float factor, float* x) {
  const int64_t pixels = size.height * size.width;
  double sum = 0.0;
  for (int64_t i = 0; i < pixels; ++i) sum += static_cast<double>(Grey(x + i * channels, channels));
  const auto grey = static_cast<float>(sum / static_cast<double>(pixels));
  for (int64_t i = 0; i < pixels * channels; ++i)
    x[i] = std::clamp(grey + factor * (x[i] - grey), 0.0f, 1.0f);
}

void CutOut(PictureSize size, int64_t channels, int64_t side, int64_t centre_y, int64_t centre_x,
            const float* fill, float* x) {
  const int64_t top = centre_y - side / 2, left = centre_x - side / 2;
  const int64_t first_row = std::max<int64_t>(0, top), end_row = std::min(size.height, top + side);
  const int64_t first = std::max<int64_t>(0, left), end = std::min(size.width, left + side);
  for (int64_t row = first_row; row < end_row; ++row)
    FillPixels(end - first, channels, fill, x + (row * size.width + first) * channels);
}

}  // namespace lockstep
