// Convolutions as they are defined, one multiply-add at a time, in the order of their contract
// (engine/ops/conv.h) where that is of use. Shape: any type with the members of ops::ConvShape.
#ifndef LOCKSTEP_TESTS_REFERENCE_CONV_H_
#define LOCKSTEP_TESTS_REFERENCE_CONV_H_

#include <cstdint>
#include <vector>

namespace lockstep::inline v0_1::reference {

// Calls visit(x_index, y_index, w_index) for each multiply-add of a sample; indices count elements
// of x (in_h, in_w, in_c), y (out_h, out_w, out_c) and w (out_c, kernel_h, kernel_w, in_c / G).
template <class Shape, class Visit>
void ForEachConvTerm(const Shape& s, Visit&& visit) {
  const int64_t group_in = s.in_c / s.groups, group_out = s.out_c / s.groups;
  for (int64_t oh = 0; oh < s.out_h; ++oh) {
    for (int64_t ow = 0; ow < s.out_w; ++ow) {
      for (int64_t o = 0; o < s.out_c; ++o) {
        for (int64_t kh = 0; kh < s.kernel_h; ++kh) {
          const int64_t h = oh * s.stride_h - s.pad_top + kh * s.dilation_h;
          if (h < 0 || h >= s.in_h) continue;
          for (int64_t kw = 0; kw < s.kernel_w; ++kw) {
            const int64_t w = ow * s.stride_w - s.pad_left + kw * s.dilation_w;
            if (w < 0 || w >= s.in_w) continue;
            for (int64_t i = 0; i < group_in; ++i) {
              visit((h * s.in_w + w) * s.in_c + o / group_out * group_in + i,
                    (oh * s.out_w + ow) * s.out_c + o,
                    ((o * s.kernel_h + kh) * s.kernel_w + kw) * group_in + i);
            }
          }
        }
      }
    }
  }
}

// y (batch, out_h, out_w, out_c)
template <class T, class Shape>
std::vector<T> ConvForward(const Shape& s, int64_t batch, const T* x, const T* w) {
  const int64_t from = s.in_h * s.in_w * s.in_c, to = s.out_h * s.out_w * s.out_c;
  std::vector<T> y(static_cast<size_t>(batch * to), T(0));
  for (int64_t b = 0; b < batch; ++b) {
    ForEachConvTerm(s, [&](int64_t at_x, int64_t at_y, int64_t at_w) {
      y[static_cast<size_t>(b * to + at_y)] += x[b * from + at_x] * w[at_w];
    });
  }
  return y;
}

// dx (batch, in_h, in_w, in_c)
template <class T, class Shape>
std::vector<T> ConvDataGradient(const Shape& s, int64_t batch, const T* dy, const T* w) {
  const int64_t to = s.in_h * s.in_w * s.in_c, from = s.out_h * s.out_w * s.out_c;
  std::vector<T> dx(static_cast<size_t>(batch * to), T(0));
  for (int64_t b = 0; b < batch; ++b) {
    ForEachConvTerm(s, [&](int64_t at_x, int64_t at_y, int64_t at_w) {
      dx[static_cast<size_t>(b * to + at_x)] += dy[b * from + at_y] * w[at_w];
    });
  }
  return dx;
}

// dw (out_c, kernel_h, kernel_w, in_c / groups), summed over the samples [begin, end)
template <class T, class Shape>
std::vector<T> ConvWeightGradient(const Shape& s, int64_t begin, int64_t end, const T* x,
                                  const T* dy) {
  const int64_t of_x = s.in_h * s.in_w * s.in_c, of_y = s.out_h * s.out_w * s.out_c;
  const int64_t weights = s.out_c * s.kernel_h * s.kernel_w * (s.in_c / s.groups);
  std::vector<T> dw(static_cast<size_t>(weights), T(0));
  for (int64_t b = begin; b < end; ++b) {
    ForEachConvTerm(s, [&](int64_t at_x, int64_t at_y, int64_t at_w) {
      dw[static_cast<size_t>(at_w)] += x[b * of_x + at_x] * dy[b * of_y + at_y];
    });
  }
  return dw;
}

// Single elements of the same, for arrays that are too large to compute whole: `at` counts elements
// of the result.
template <class T, class Shape>
T ConvForwardAt(const Shape& s, const float* x, const float* w, int64_t at) {
  const int64_t of_x = s.in_h * s.in_w * s.in_c, of_y = s.out_h * s.out_w * s.out_c;
  Shape one = s;  // the pixel alone
  const int64_t b = at / of_y, row = at % of_y / s.out_c / s.out_w, column = at / s.out_c % s.out_w;
  one.out_h = one.out_w = 1;
  one.pad_top = s.pad_top - row * s.stride_h;
  one.pad_left = s.pad_left - column * s.stride_w;
  T sum = 0;
  ForEachConvTerm(one, [&](int64_t at_x, int64_t at_y, int64_t at_w) {
    if (at_y == at % s.out_c) sum += static_cast<T>(x[b * of_x + at_x]) * static_cast<T>(w[at_w]);
  });
  return sum;
}

template <class T, class Shape>
T ConvDataGradientAt(const Shape& s, const float* dy, const float* w, int64_t at) {
  const int64_t of_x = s.in_h * s.in_w * s.in_c, of_y = s.out_h * s.out_w * s.out_c;
  const int64_t b = at / of_x, in = at % of_x;
  const int64_t group_in = s.in_c / s.groups, group_out = s.out_c / s.groups;
  const int64_t h = in / s.in_c / s.in_w, column = in / s.in_c % s.in_w, i = in % s.in_c;
  T sum = 0;
  for (int64_t kh = 0; kh < s.kernel_h; ++kh) {
    for (int64_t kw = 0; kw < s.kernel_w; ++kw) {
      const int64_t row = h + s.pad_top - kh * s.dilation_h;
      const int64_t col = column + s.pad_left - kw * s.dilation_w;
      if (row < 0 || row % s.stride_h != 0 || row / s.stride_h >= s.out_h) continue;
      if (col < 0 || col % s.stride_w != 0 || col / s.stride_w >= s.out_w) continue;
      const int64_t pixel = row / s.stride_h * s.out_w + col / s.stride_w;
      for (int64_t o = i / group_in * group_out; o < (i / group_in + 1) * group_out; ++o) {
        const int64_t at_w = ((o * s.kernel_h + kh) * s.kernel_w + kw) * group_in + i % group_in;
        sum += static_cast<T>(dy[b * of_y + pixel * s.out_c + o]) * static_cast<T>(w[at_w]);
      }
    }
  }
  return sum;
}

// Over the samples [begin, end).
template <class T, class Shape>
T ConvWeightGradientAt(const Shape& s, int64_t begin, int64_t end, const float* x, const float* dy,
                       int64_t at) {
  const int64_t of_x = s.in_h * s.in_w * s.in_c, of_y = s.out_h * s.out_w * s.out_c;
  const int64_t group_in = s.in_c / s.groups, group_out = s.out_c / s.groups;
  const int64_t i = at % group_in, kw = at / group_in % s.kernel_w;
  const int64_t kh = at / group_in / s.kernel_w % s.kernel_h;
  const int64_t o = at / group_in / s.kernel_w / s.kernel_h;
  T sum = 0;
  for (int64_t b = begin; b < end; ++b) {
    for (int64_t oh = 0; oh < s.out_h; ++oh) {
      for (int64_t ow = 0; ow < s.out_w; ++ow) {
        const int64_t h = oh * s.stride_h - s.pad_top + kh * s.dilation_h;
        const int64_t w = ow * s.stride_w - s.pad_left + kw * s.dilation_w;
        if (h < 0 || h >= s.in_h || w < 0 || w >= s.in_w) continue;
        sum +=
            static_cast<T>(x[b * of_x + (h * s.in_w + w) * s.in_c + o / group_out * group_in + i]) *
            static_cast<T>(dy[b * of_y + (oh * s.out_w + ow) * s.out_c + o]);
      }
    }
  }
  return sum;
}

}  // namespace lockstep::reference

#endif  // LOCKSTEP_TESTS_REFERENCE_CONV_H_
