// Pooling, resizing and padding of one picture (H, W, C), channels last, straight from their
// definitions: each output pixel by itself, in two dimensions at once. T is double, or
// std::complex<double>.
#ifndef LOCKSTEP_TESTS_REFERENCE_POOL_H_
#define LOCKSTEP_TESTS_REFERENCE_POOL_H_

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <vector>

namespace lockstep::inline v0_1::reference {

struct PoolAxis {
  int64_t in = 1, kernel = 1, stride = 1, padding = 0, dilation = 1;
  bool ceil_mode = false;

  // torch's pooling_output_shape.
  int64_t out() const {
    const double room = static_cast<double>(in + 2 * padding - dilation * (kernel - 1) - 1) /
                        static_cast<double>(stride);
    auto n = static_cast<int64_t>(ceil_mode ? std::ceil(room) : std::floor(room)) + 1;
    if (ceil_mode && (n - 1) * stride >= in + padding) --n;
    return n;
  }
};

// y[pixel] = sum over its reads of weight * x[pixel].
struct Read {
  int64_t pixel;
  double weight;
};
using PixelMap = std::vector<std::vector<Read>>;

template <class T>
std::vector<T> Apply(const PixelMap& map, const std::vector<T>& x, int64_t channels) {
  std::vector<T> y(map.size() * static_cast<size_t>(channels), T(0.0));
  for (size_t p = 0; p < map.size(); ++p) {
    for (const Read& read : map[p]) {
      for (int64_t c = 0; c < channels; ++c)
        y[p * static_cast<size_t>(channels) + static_cast<size_t>(c)] +=
            read.weight * x[static_cast<size_t>(read.pixel * channels + c)];
    }
  }
  return y;
}

// dx of dy, of `pixels` pixels.
template <class T>
std::vector<T> ApplyTransposed(const PixelMap& map, const std::vector<T>& dy, int64_t pixels,
                               int64_t channels) {
  std::vector<T> dx(static_cast<size_t>(pixels * channels), T(0.0));
  for (size_t p = 0; p < map.size(); ++p) {
    for (const Read& read : map[p]) {
      for (int64_t c = 0; c < channels; ++c)
        dx[static_cast<size_t>(read.pixel * channels + c)] +=
            read.weight * dy[p * static_cast<size_t>(channels) + static_cast<size_t>(c)];
    }
  }
  return dx;
}

inline PixelMap AvgPool(const PoolAxis& h, const PoolAxis& w, bool count_include_pad,
                        std::optional<int64_t> divisor) {
  PixelMap map;
  for (int64_t oh = 0; oh < h.out(); ++oh) {
    for (int64_t ow = 0; ow < w.out(); ++ow) {
      const int64_t h0 = oh * h.stride - h.padding, w0 = ow * w.stride - w.padding;
      const int64_t h1 = std::min(h0 + h.kernel, h.in + h.padding);
      const int64_t w1 = std::min(w0 + w.kernel, w.in + w.padding);
      std::vector<Read> reads;
      for (int64_t i = std::max<int64_t>(h0, 0); i < std::min(h1, h.in); ++i) {
        for (int64_t j = std::max<int64_t>(w0, 0); j < std::min(w1, w.in); ++j)
          reads.push_back({i * w.in + j, 0.0});
      }
      const double by = divisor             ? static_cast<double>(*divisor)
                        : count_include_pad ? static_cast<double>((h1 - h0) * (w1 - w0))
                                            : static_cast<double>(reads.size());
      for (Read& read : reads) read.weight = 1.0 / by;
      map.push_back(reads);
    }
  }
  return map;
}

inline PixelMap AdaptiveAvgPool(int64_t in_h, int64_t in_w, int64_t out_h, int64_t out_w) {
  PixelMap map;
  const auto begin = [](int64_t i, int64_t in, int64_t out) {
    return static_cast<int64_t>(std::floor(static_cast<double>(i * in) / static_cast<double>(out)));
  };
  const auto end = [](int64_t i, int64_t in, int64_t out) {
    return static_cast<int64_t>(
        std::ceil(static_cast<double>((i + 1) * in) / static_cast<double>(out)));
  };
  for (int64_t oh = 0; oh < out_h; ++oh) {
    for (int64_t ow = 0; ow < out_w; ++ow) {
      std::vector<Read> reads;
      for (int64_t i = begin(oh, in_h, out_h); i < end(oh, in_h, out_h); ++i) {
        for (int64_t j = begin(ow, in_w, out_w); j < end(ow, in_w, out_w); ++j)
          reads.push_back({i * in_w + j, 0.0});
      }
      for (Read& read : reads) read.weight = 1.0 / static_cast<double>(reads.size());
      map.push_back(reads);
    }
  }
  return map;
}

// `step_h`, `step_w`: inputs for each output (with align_corners those between corners).
inline PixelMap Bilinear(int64_t in_h, int64_t in_w, int64_t out_h, int64_t out_w, double step_h,
                         double step_w, bool align_corners) {
  PixelMap map;
  const auto source = [&](int64_t i, double step) {
    const auto at = static_cast<double>(i);
    return align_corners ? step * at : std::max(0.0, step * (at + 0.5) - 0.5);
  };
  for (int64_t oh = 0; oh < out_h; ++oh) {
    for (int64_t ow = 0; ow < out_w; ++ow) {
      const double sh = source(oh, step_h), sw = source(ow, step_w);
      const auto h = static_cast<int64_t>(sh), w = static_cast<int64_t>(sw);
      const double ph = sh - static_cast<double>(h), pw = sw - static_cast<double>(w);
      const int64_t h1 = std::min(h + 1, in_h - 1), w1 = std::min(w + 1, in_w - 1);
      map.push_back({{h * in_w + w, (1.0 - ph) * (1.0 - pw)},
                     {h * in_w + w1, (1.0 - ph) * pw},
                     {h1 * in_w + w, ph * (1.0 - pw)},
                     {h1 * in_w + w1, ph * pw}});
    }
  }
  return map;
}

template <class T>
struct MaxPooled {
  std::vector<T> y;
  std::vector<int64_t> from;  // the element of x that each y is
};

// The value of padding is -infinity; a window has one place in x at least.
template <class T>
MaxPooled<T> MaxPool(const std::vector<T>& x, int64_t channels, const PoolAxis& h,
                     const PoolAxis& w) {
  MaxPooled<T> pooled;
  for (int64_t oh = 0; oh < h.out(); ++oh) {
    for (int64_t ow = 0; ow < w.out(); ++ow) {
      for (int64_t c = 0; c < channels; ++c) {
        int64_t best = -1;
        for (int64_t kh = 0; kh < h.kernel; ++kh) {
          for (int64_t kw = 0; kw < w.kernel; ++kw) {
            const int64_t i = oh * h.stride - h.padding + kh * h.dilation;
            const int64_t j = ow * w.stride - w.padding + kw * w.dilation;
            if (i < 0 || i >= h.in || j < 0 || j >= w.in) continue;
            const int64_t at = (i * w.in + j) * channels + c;
            const T value = x[static_cast<size_t>(at)];
            if (best < 0 || value > x[static_cast<size_t>(best)] || std::isnan(value)) best = at;
          }
        }
        pooled.y.push_back(x[static_cast<size_t>(best)]);
        pooled.from.push_back(best);
      }
    }
  }
  return pooled;
}

}  // namespace lockstep::reference

#endif  // LOCKSTEP_TESTS_REFERENCE_POOL_H_
