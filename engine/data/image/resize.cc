#include "engine/data/image/resize.h"

#include <algorithm>
#include <cmath>
#include <cstddef>

#include "engine/base/check.h"

namespace lockstep::inline v0_1 {
namespace {

// The value of white in pixels of each type.
constexpr float WhiteOf(const uint8_t*) { return 255.0f; }
constexpr float WhiteOf(const uint16_t*) { return 65535.0f; }
constexpr float WhiteOf(const float*) { return 1.0f; }

// The weights along one axis: output o is the sum of weights[o * taps + k] x[first[o] + k].
struct Taps {
  const float* weights;
  const int64_t* first;
  int64_t taps;
};

int64_t TapsOf(int64_t extent, int64_t out) {
  const double scale = static_cast<double>(extent) / static_cast<double>(out);
  return std::min(extent, 2 * static_cast<int64_t>(std::ceil(std::max(scale, 1.0))) + 1);
}

// Outputs that reach fewer pixels than `taps` have zeros last, with `first` so that all lie within
// the box. Those zeros are multiplied, which is exact: pixels are finite.
Taps MakeTaps(int64_t begin, int64_t extent, int64_t out, float* weights, int64_t* first) {
  const double scale = static_cast<double>(extent) / static_cast<double>(out);
  const double support = std::max(scale, 1.0);
  const int64_t taps = TapsOf(extent, out);
  for (int64_t o = 0; o < out; ++o) {
    const double centre = (static_cast<double>(o) + 0.5) * scale;
    const auto weight = [&](int64_t i) {
      const double distance = std::abs(static_cast<double>(i) + 0.5 - centre);
      return std::max(0.0, 1.0 - distance / support);
    };
    const auto low = static_cast<int64_t>(std::ceil(centre - support - 0.5));
    const int64_t start = std::clamp<int64_t>(low, 0, extent - taps);
    double sum = 0.0;
    for (int64_t k = 0; k < taps; ++k) sum += weight(start + k);
    for (int64_t k = 0; k < taps; ++k)
      weights[o * taps + k] = static_cast<float>(weight(start + k) / sum);
    first[o] = begin + start;
  }
  return {weights, first, taps};
}

// The rows [top, top + rows) of x, each to `out` pixels: y (rows, out, C).
template <int kChannels, class T>
void ResizeRows(const T* x, int64_t width, int64_t channels, int64_t top, int64_t rows, Taps taps,
                int64_t out, float* __restrict y) {
  const int64_t c_count = kChannels > 0 ? kChannels : channels;
  const float white = WhiteOf(x);
  for (int64_t r = 0; r < rows; ++r) {
    const T* row = x + (top + r) * width * c_count;
    for (int64_t o = 0; o < out; ++o) {
      const float* w = taps.weights + o * taps.taps;
      const T* from = row + taps.first[o] * c_count;
      if constexpr (kChannels > 0) {
        float sums[static_cast<size_t>(kChannels)] = {};
        for (int64_t k = 0; k < taps.taps; ++k, from += kChannels) {
          for (int c = 0; c < kChannels; ++c) sums[c] += w[k] * static_cast<float>(from[c]);
        }
        for (int c = 0; c < kChannels; ++c) *y++ = sums[c] / white;
      } else {
        for (int64_t c = 0; c < c_count; ++c) {
          float sum = 0.0f;
          for (int64_t k = 0; k < taps.taps; ++k)
            sum += w[k] * static_cast<float>(from[k * c_count + c]);
          *y++ = sum / white;
        }
      }
    }
  }
}

// x (rows, n) to y (out, n): the elements of a row are independent lanes.
void ResizeColumns(const float* x, int64_t n, Taps taps, int64_t out, float* __restrict y) {
  for (int64_t o = 0; o < out; ++o, y += n) {
    const float* w = taps.weights + o * taps.taps;
    const float* from = x + taps.first[o] * n;
    std::fill_n(y, n, 0.0f);
    for (int64_t k = 0; k < taps.taps; ++k, from += n) {
      for (int64_t i = 0; i < n; ++i) y[i] += w[k] * from[i];
    }
  }
}

template <class T>
void Convert(const T* x, int64_t pixels, int64_t from, int64_t to, float* __restrict y) {
  const float white = WhiteOf(x);
  if (from == to) {
    for (int64_t i = 0; i < pixels * from; ++i) y[i] = static_cast<float>(x[i]) / white;
  } else if (from == 1) {
    for (int64_t i = 0; i < pixels; ++i)
      y[3 * i] = y[3 * i + 1] = y[3 * i + 2] = static_cast<float>(x[i]) / white;
  } else {
    for (int64_t i = 0; i < pixels; ++i) {
      const auto r = static_cast<float>(x[3 * i]), g = static_cast<float>(x[3 * i + 1]),
                 b = static_cast<float>(x[3 * i + 2]);
      y[i] = ((0.299f * r + 0.587f * g) + 0.114f * b) / white;
    }
  }
}

}  // namespace

PictureView ViewOf(const Picture& picture) {
  PictureView view{picture.height, picture.width, picture.channels, picture.bytes.data()};
  if (picture.white != 255) view.pixels = picture.words.data();
  return view;
}

void ResizePicture(const PictureView& x, const PictureBox& box, int64_t out_height,
                   int64_t out_width, ResizeScratch& scratch, float* y) {
  LOCKSTEP_CHECK(box.top >= 0 && box.left >= 0 && box.height > 0 && box.width > 0 &&
                     box.top + box.height <= x.height && box.left + box.width <= x.width &&
                     out_height > 0 && out_width > 0,
                 "a box outside its picture");
  const int64_t column_weights = TapsOf(box.width, out_width) * out_width;
  const int64_t row_weights = TapsOf(box.height, out_height) * out_height;
  const int64_t row = out_width * x.channels;
  scratch.weights.resize(static_cast<size_t>(column_weights + row_weights));
  scratch.first.resize(static_cast<size_t>(out_width + out_height));
  scratch.rows.resize(static_cast<size_t>(box.height * row));
  const Taps along =
      MakeTaps(box.left, box.width, out_width, scratch.weights.data(), scratch.first.data());
  const Taps down = MakeTaps(0, box.height, out_height, scratch.weights.data() + column_weights,
                             scratch.first.data() + out_width);
  std::visit(
      [&](const auto* pixels) {
        const auto rows = [&](auto channels) {
          ResizeRows<decltype(channels)::value>(pixels, x.width, x.channels, box.top, box.height,
                                                along, out_width, scratch.rows.data());
        };
        if (x.channels == 1) {
          rows(std::integral_constant<int, 1>());
        } else if (x.channels == 3) {
          rows(std::integral_constant<int, 3>());
        } else {
          rows(std::integral_constant<int, 0>());
        }
      },
      x.pixels);
  ResizeColumns(scratch.rows.data(), row, down, out_height, y);
}

void ConvertPicture(const PictureView& x, int64_t channels, float* y) {
  LOCKSTEP_CHECK(x.channels == channels || (x.channels == 1 && channels == 3) ||
                     (x.channels == 3 && channels == 1),
                 "no such conversion");
  std::visit(
      [&](const auto* pixels) { Convert(pixels, x.height * x.width, x.channels, channels, y); },
      x.pixels);
}

}  // namespace lockstep
