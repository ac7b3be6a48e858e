#include "engine/kernels/conv/winograd.h"

#include "engine/kernels/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "engine/kernels/conv/winograd.cc"
#include <hwy/foreach_target.h>
//
#include <hwy/highway.h>

#include <algorithm>
#include <cstdint>

#include "engine/base/check.h"

HWY_BEFORE_NAMESPACE();
namespace lockstep::inline v0_1::kernels::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;
namespace {

// Arrays of vectors must become registers, so loops over them are unrolled completely.
#if defined(__clang__)
#define LOCKSTEP_WINOGRAD_UNROLL _Pragma("clang loop unroll(full)")
#else
#define LOCKSTEP_WINOGRAD_UNROLL _Pragma("GCC unroll 64")
#endif

using Tag = hn::CappedTag<float, kWinogradChannels>;
using Vec = hn::Vec<Tag>;
constexpr int kLanes = static_cast<int>(HWY_MIN(HWY_LANES(float), kWinogradChannels));

// The transforms of one dimension. `from` and `to` are n, m or 3 vectors, `stride` vectors apart.
// Products are fused where a sum follows, in the order written.
template <int m>
struct Transform;

template <>
struct Transform<2> {
  static constexpr int n = 4;

  //        1  0 -1  0
  // B^T =  0  1  1  0
  //        0 -1  1  0
  //        0  1  0 -1
  static HWY_INLINE void Input(const Vec* d, int stride, Vec* t, int to_stride) {
    const Vec d1 = d[stride], d2 = d[2 * stride];
    t[0] = hn::Sub(d[0], d2);
    t[to_stride] = hn::Add(d1, d2);
    t[2 * to_stride] = hn::Sub(d2, d1);
    t[3 * to_stride] = hn::Sub(d1, d[3 * stride]);
  }
  // A^T =  1  1  1  0
  //        0  1 -1 -1
  static HWY_INLINE void Output(const Vec* v, int stride, Vec* y, int to_stride) {
    const Vec v1 = v[stride], v2 = v[2 * stride];
    y[0] = hn::Add(hn::Add(v[0], v1), v2);
    y[to_stride] = hn::Sub(hn::Sub(v1, v2), v[3 * stride]);
  }
  //       1    0    0
  // G =   1/2  1/2  1/2
  //       1/2 -1/2  1/2
  //       0    0    1
  static HWY_INLINE void Filter(const Vec* g, int stride, Vec* t, int to_stride) {
    const Vec half = hn::Set(Tag(), 0.5f);
    const Vec g1 = hn::Mul(half, g[stride]);
    const Vec outer = hn::Mul(half, hn::Add(g[0], g[2 * stride]));
    t[0] = g[0];
    t[to_stride] = hn::Add(outer, g1);
    t[2 * to_stride] = hn::Sub(outer, g1);
    t[3 * to_stride] = g[2 * stride];
  }
  static HWY_INLINE void OutputGradient(const Vec* y, int stride, Vec* t, int to_stride) {  // A
    const Vec y0 = y[0], y1 = y[stride];
    t[0] = y0;
    t[to_stride] = hn::Add(y0, y1);
    t[2 * to_stride] = hn::Sub(y0, y1);
    t[3 * to_stride] = hn::Neg(y1);
  }
  static HWY_INLINE void FilterGradient(const Vec* v, int stride, Vec* g, int to_stride) {  // G^T
    const Vec half = hn::Set(Tag(), 0.5f);
    const Vec sum = hn::Mul(half, hn::Add(v[stride], v[2 * stride]));
    g[0] = hn::Add(v[0], sum);
    g[to_stride] = hn::Mul(half, hn::Sub(v[stride], v[2 * stride]));
    g[2 * to_stride] = hn::Add(sum, v[3 * stride]);
  }
};

template <>
struct Transform<4> {
  static constexpr int n = 6;

  //        4  0 -5  0  1  0
  //        0 -4 -4  1  1  0
  // B^T =  0  4 -4 -1  1  0
  //        0 -2 -1  2  1  0
  //        0  2 -1 -2  1  0
  //        0  4  0 -5  0  1
  static HWY_INLINE void Input(const Vec* d, int stride, Vec* t, int to_stride) {
    const Tag tag;
    const Vec four = hn::Set(tag, 4.0f), five = hn::Set(tag, 5.0f), two = hn::Set(tag, 2.0f);
    const Vec d0 = d[0], d1 = d[stride], d2 = d[2 * stride], d3 = d[3 * stride], d4 = d[4 * stride],
              d5 = d[5 * stride];
    const Vec even = hn::NegMulAdd(four, d2, d4), odd = hn::NegMulAdd(four, d1, d3);
    const Vec even2 = hn::Sub(d4, d2), odd2 = hn::Mul(two, hn::Sub(d3, d1));
    t[0] = hn::MulAdd(four, d0, hn::NegMulAdd(five, d2, d4));
    t[to_stride] = hn::Add(even, odd);
    t[2 * to_stride] = hn::Sub(even, odd);
    t[3 * to_stride] = hn::Add(even2, odd2);
    t[4 * to_stride] = hn::Sub(even2, odd2);
    t[5 * to_stride] = hn::MulAdd(four, d1, hn::NegMulAdd(five, d3, d5));
  }
  //        1  1  1  1  1  0
  // A^T =  0  1 -1  2 -2  0
  //        0  1  1  4  4  0
  //        0  1 -1  8 -8  1
  static HWY_INLINE void Output(const Vec* v, int stride, Vec* y, int to_stride) {
    const Tag tag;
    const Vec v1 = v[stride], v2 = v[2 * stride], v3 = v[3 * stride], v4 = v[4 * stride];
    const Vec sum1 = hn::Add(v1, v2), difference1 = hn::Sub(v1, v2);
    const Vec sum2 = hn::Add(v3, v4), difference2 = hn::Sub(v3, v4);
    y[0] = hn::Add(hn::Add(v[0], sum1), sum2);
    y[to_stride] = hn::MulAdd(hn::Set(tag, 2.0f), difference2, difference1);
    y[2 * to_stride] = hn::MulAdd(hn::Set(tag, 4.0f), sum2, sum1);
    y[3 * to_stride] =
        hn::Add(hn::MulAdd(hn::Set(tag, 8.0f), difference2, difference1), v[5 * stride]);
  }
  //       1/4   0     0
  //      -1/6  -1/6  -1/6
  // G =  -1/6   1/6  -1/6
  //       1/24  1/12  1/6
  //       1/24 -1/12  1/6
  //       0     0     1
  static HWY_INLINE void Filter(const Vec* g, int stride, Vec* t, int to_stride) {
    const Tag tag;
    const Vec sixth = hn::Set(tag, 1.0f / 6.0f), quarter = hn::Set(tag, 0.25f);
    const Vec g0 = g[0], g1 = g[stride], g2 = g[2 * stride];
    const Vec outer = hn::Add(g0, g2);
    const Vec outer2 = hn::MulAdd(quarter, g0, g2), g1_half = hn::Mul(hn::Set(tag, 0.5f), g1);
    t[0] = hn::Mul(quarter, g0);
    t[to_stride] = hn::Neg(hn::Mul(sixth, hn::Add(outer, g1)));
    t[2 * to_stride] = hn::Mul(sixth, hn::Sub(g1, outer));
    t[3 * to_stride] = hn::Mul(sixth, hn::Add(outer2, g1_half));
    t[4 * to_stride] = hn::Mul(sixth, hn::Sub(outer2, g1_half));
    t[5 * to_stride] = g2;
  }
  static HWY_INLINE void OutputGradient(const Vec* y, int stride, Vec* t, int to_stride) {  // A
    const Tag tag;
    const Vec two = hn::Set(tag, 2.0f), four = hn::Set(tag, 4.0f);
    const Vec y0 = y[0], y1 = y[stride], y2 = y[2 * stride], y3 = y[3 * stride];
    const Vec even = hn::Add(y0, y2), odd = hn::Add(y1, y3);
    const Vec even2 = hn::MulAdd(four, y2, y0), odd2 = hn::Mul(two, hn::MulAdd(four, y3, y1));
    t[0] = y0;
    t[to_stride] = hn::Add(even, odd);
    t[2 * to_stride] = hn::Sub(even, odd);
    t[3 * to_stride] = hn::Add(even2, odd2);
    t[4 * to_stride] = hn::Sub(even2, odd2);
    t[5 * to_stride] = y3;
  }
  static HWY_INLINE void FilterGradient(const Vec* v, int stride, Vec* g, int to_stride) {  // G^T
    const Tag tag;
    const Vec sixth = hn::Set(tag, 1.0f / 6.0f), quarter = hn::Set(tag, 0.25f);
    const Vec v1 = v[stride], v2 = v[2 * stride], v3 = v[3 * stride], v4 = v[4 * stride];
    const Vec sum1 = hn::Add(v1, v2), sum2 = hn::Add(v3, v4);
    const Vec difference = hn::MulAdd(hn::Set(tag, 0.5f), hn::Sub(v3, v4), hn::Sub(v2, v1));
    g[0] = hn::MulAdd(sixth, hn::MulSub(quarter, sum2, sum1), hn::Mul(quarter, v[0]));
    g[to_stride] = hn::Mul(sixth, difference);
    g[2 * to_stride] = hn::MulAdd(sixth, hn::Sub(sum2, sum1), v[5 * stride]);
  }
};

// ---- Input. Lines are transformed first, and each column of a patch once, though it is part of
// two patches: n - m columns are kept for the next one.
template <int m>
void InputOf(const WinogradPatches& args) {
  constexpr int n = Transform<m>::n;
  const Tag tag;
  const int64_t pixel = args.pixel_stride, line = args.width * pixel;
  const bool whole_lines = args.line >= 0 && args.line + n <= args.height;
  for (int64_t c = 0; c < args.channels; c += kLanes) {
    const float* from = args.from + args.line * line + args.column * pixel + c;
    float* to = args.to + c;
    Vec columns[n][n];  // [column of the patch][transformed line]
    const auto next = [&](int64_t column, Vec* transformed) HWY_ATTR {
      Vec lines[n];
      if (column < 0 || column >= args.width) {
        LOCKSTEP_WINOGRAD_UNROLL
        for (int i = 0; i < n; ++i) transformed[i] = hn::Zero(tag);
        return;
      }
      const float* at = from + (column - args.column) * pixel;
      if (whole_lines) {
        LOCKSTEP_WINOGRAD_UNROLL
        for (int i = 0; i < n; ++i) lines[i] = hn::LoadU(tag, at + i * line);
      } else {
        LOCKSTEP_WINOGRAD_UNROLL
        for (int i = 0; i < n; ++i) {
          const bool inside = args.line + i >= 0 && args.line + i < args.height;
          lines[i] = inside ? hn::LoadU(tag, at + i * line) : hn::Zero(tag);
        }
      }
      Transform<m>::Input(lines, 1, transformed, 1);
    };
    LOCKSTEP_WINOGRAD_UNROLL
    for (int j = 0; j < n - m; ++j) next(args.column + j, columns[j]);
    for (int64_t tile = 0; tile < args.tiles; ++tile) {
      const int64_t column = args.column + tile * m;
      LOCKSTEP_WINOGRAD_UNROLL
      for (int j = n - m; j < n; ++j) next(column + j, columns[j]);
      float* at = to + tile * args.channels;
      LOCKSTEP_WINOGRAD_UNROLL
      for (int i = 0; i < n; ++i) {
        Vec transformed[n];
        Transform<m>::Input(&columns[0][i], n, transformed, 1);
        LOCKSTEP_WINOGRAD_UNROLL
        for (int j = 0; j < n; ++j) {
          hn::StoreU(transformed[j], tag, at + (i * n + j) * args.position_stride);
        }
      }
      LOCKSTEP_WINOGRAD_UNROLL
      for (int j = 0; j < n - m; ++j) {
        LOCKSTEP_WINOGRAD_UNROLL
        for (int i = 0; i < n; ++i) columns[j][i] = columns[j + m][i];
      }
    }
  }
}

// ---- Output
template <int m>
void OutputOf(const WinogradTiles& args) {
  constexpr int n = Transform<m>::n;
  const Tag tag;
  for (int64_t c = 0; c < args.channels; c += kLanes) {
    const Vec scale = args.scale == nullptr ? hn::Zero(tag) : hn::LoadU(tag, args.scale + c);
    const Vec bias = args.bias == nullptr ? hn::Zero(tag) : hn::LoadU(tag, args.bias + c);
    for (int64_t tile = 0; tile < args.tiles; ++tile) {
      const float* from = args.from + tile * args.channels + c;
      Vec half[m][n];  // [line of the result][column of the tile's positions]
      LOCKSTEP_WINOGRAD_UNROLL
      for (int j = 0; j < n; ++j) {
        Vec column[n];
        LOCKSTEP_WINOGRAD_UNROLL
        for (int i = 0; i < n; ++i)
          column[i] = hn::LoadU(tag, from + (i * n + j) * args.position_stride);
        Transform<m>::Output(column, 1, &half[0][j], n);
      }
      const int64_t columns = std::min<int64_t>(m, args.columns - tile * m);
      for (int64_t i = args.first_line; i < args.last_line; ++i) {
        Vec pixels[m];
        Transform<m>::Output(half[i], 1, pixels, 1);
        const int64_t at = i * args.line_stride + tile * m * args.pixel_stride + c;
        for (int64_t j = 0; j < columns; ++j) {
          const int64_t place = at + j * args.pixel_stride;
          Vec v = pixels[j];
          if (args.accumulate) v = hn::Add(hn::LoadU(tag, args.to + place), v);
          if (args.scale != nullptr) {
            v = args.bias != nullptr ? hn::MulAdd(scale, v, bias) : hn::Mul(scale, v);
          } else if (args.bias != nullptr) {
            v = hn::Add(v, bias);
          }
          if (args.add != nullptr) v = hn::Add(v, hn::LoadU(tag, args.add + place));
          if (args.relu) v = hn::IfThenZeroElse(hn::Lt(v, hn::Zero(tag)), v);
          hn::StoreU(v, tag, args.to + place);
        }
      }
    }
  }
}

// ---- Filter. Vectors run over whichever channels lie side by side.
template <int m>
void FilterOf(const float* w, int64_t tap_stride, int64_t c_stride, int64_t k_stride, int64_t k,
              float* panels, int64_t position_stride) {
  constexpr int n = Transform<m>::n;
  const Tag tag;
  const bool over_k = c_stride != 1;
  const int64_t outer = over_k ? kWinogradChannels : k, inner = over_k ? k : kWinogradChannels;
  const int64_t outer_stride = over_k ? c_stride : k_stride;
  for (int64_t o = 0; o < outer; ++o) {
    for (int64_t i = 0; i < inner; i += kLanes) {
      const float* from = w + o * outer_stride + i;
      Vec half[3][n], all[n][n];
      LOCKSTEP_WINOGRAD_UNROLL
      for (int kw = 0; kw < 3; ++kw) {
        Vec g[3];
        LOCKSTEP_WINOGRAD_UNROLL
        for (int kh = 0; kh < 3; ++kh) g[kh] = hn::LoadU(tag, from + (kh * 3 + kw) * tap_stride);
        Transform<m>::Filter(g, 1, half[kw], 1);
      }
      LOCKSTEP_WINOGRAD_UNROLL
      for (int row = 0; row < n; ++row) Transform<m>::Filter(&half[0][row], n, all[row], 1);
      LOCKSTEP_WINOGRAD_UNROLL
      for (int position = 0; position < n * n; ++position) {
        const Vec v = all[position / n][position % n];
        float* panel = panels + position * position_stride;
        if (!over_k) {
          hn::StoreU(v, tag, panel + o * kWinogradChannels + i);
          continue;
        }
        HWY_ALIGN float lanes[kWinogradChannels];
        hn::Store(v, tag, lanes);
        LOCKSTEP_WINOGRAD_UNROLL
        for (int lane = 0; lane < kLanes; ++lane)
          panel[(i + lane) * kWinogradChannels + o] = lanes[lane];
      }
    }
  }
}

// ---- Gradients
template <int m>
void InputGradientOf(const WinogradPatches& args) {
  constexpr int n = Transform<m>::n;
  const Tag tag;
  const int64_t pixel = args.pixel_stride, line = args.width * pixel;
  const int64_t lines = std::min<int64_t>(m, args.height - args.line);
  for (int64_t c = 0; c < args.channels; c += kLanes) {
    for (int64_t tile = 0; tile < args.tiles; ++tile) {
      const int64_t column = args.column + tile * m;
      const int64_t columns = std::min<int64_t>(m, args.width - column);
      const float* from = args.from + args.line * line + column * pixel + c;
      Vec half[m][n];  // [column][transformed line]
      LOCKSTEP_WINOGRAD_UNROLL
      for (int64_t j = 0; j < m; ++j) {
        Vec y[m];
        LOCKSTEP_WINOGRAD_UNROLL
        for (int64_t i = 0; i < m; ++i) {
          y[i] = i < lines && j < columns ? hn::LoadU(tag, from + i * line + j * pixel)
                                          : hn::Zero(tag);
        }
        Transform<m>::OutputGradient(y, 1, half[j], 1);
      }
      float* to = args.to + tile * args.channels + c;
      LOCKSTEP_WINOGRAD_UNROLL
      for (int i = 0; i < n; ++i) {
        Vec t[n];
        Transform<m>::OutputGradient(&half[0][i], n, t, 1);
        LOCKSTEP_WINOGRAD_UNROLL
        for (int j = 0; j < n; ++j) {
          hn::StoreU(t[j], tag, to + (i * n + j) * args.position_stride);
        }
      }
    }
  }
}

template <int m>
void FilterGradientOf(const float* from, int64_t position_stride, int64_t channels, float* dw,
                      int64_t tap_stride) {
  constexpr int n = Transform<m>::n;
  const Tag tag;
  for (int64_t c = 0; c < channels; c += kLanes) {
    Vec half[3][n];  // [kh][column]
    LOCKSTEP_WINOGRAD_UNROLL
    for (int j = 0; j < n; ++j) {
      Vec column[n];
      LOCKSTEP_WINOGRAD_UNROLL
      for (int i = 0; i < n; ++i)
        column[i] = hn::LoadU(tag, from + (i * n + j) * position_stride + c);
      Transform<m>::FilterGradient(column, 1, &half[0][j], n);
    }
    LOCKSTEP_WINOGRAD_UNROLL
    for (int kh = 0; kh < 3; ++kh) {
      Vec g[3];
      Transform<m>::FilterGradient(half[kh], 1, g, 1);
      LOCKSTEP_WINOGRAD_UNROLL
      for (int kw = 0; kw < 3; ++kw) hn::StoreU(g[kw], tag, dw + (kh * 3 + kw) * tap_stride + c);
    }
  }
}

}  // namespace

void WinogradInputGradientOf(int m, const WinogradPatches& args) {
  m == 2 ? InputGradientOf<2>(args) : InputGradientOf<4>(args);
}
void WinogradFilterGradientOf(int m, const float* from, int64_t position_stride, int64_t channels,
                              float* dw, int64_t tap_stride) {
  (m == 2 ? FilterGradientOf<2> : FilterGradientOf<4>)(from, position_stride, channels, dw,
                                                       tap_stride);
}
void WinogradInputOf(int m, const WinogradPatches& args) {
  m == 2 ? InputOf<2>(args) : InputOf<4>(args);
}
void WinogradOutputOf(int m, const WinogradTiles& args) {
  m == 2 ? OutputOf<2>(args) : OutputOf<4>(args);
}
void WinogradFilterOf(int m, const float* w, int64_t tap_stride, int64_t c_stride, int64_t k_stride,
                      int64_t k, float* panels, int64_t position_stride) {
  (m == 2 ? FilterOf<2> : FilterOf<4>)(w, tap_stride, c_stride, k_stride, k, panels,
                                       position_stride);
}

// NOLINTNEXTLINE(google-readability-namespace-comments)
}  // namespace lockstep::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace lockstep::inline v0_1::kernels {

HWY_EXPORT(WinogradInputOf);
HWY_EXPORT(WinogradOutputOf);
HWY_EXPORT(WinogradFilterOf);
HWY_EXPORT(WinogradInputGradientOf);
HWY_EXPORT(WinogradFilterGradientOf);

void WinogradInput(int m, const WinogradPatches& args) {
  LOCKSTEP_CHECK(m == 2 || m == 4, "F(2x2, 3x3) or F(4x4, 3x3)");
  LOCKSTEP_CHECK_EQ(args.channels % kWinogradChannels, int64_t{0});
  HWY_DYNAMIC_DISPATCH(WinogradInputOf)(m, args);
}

void WinogradOutput(int m, const WinogradTiles& args) {
  LOCKSTEP_CHECK(m == 2 || m == 4, "F(2x2, 3x3) or F(4x4, 3x3)");
  LOCKSTEP_CHECK_EQ(args.channels % kWinogradChannels, int64_t{0});
  HWY_DYNAMIC_DISPATCH(WinogradOutputOf)(m, args);
}

void WinogradFilter(int m, const float* w, int64_t tap_stride, int64_t c_stride, int64_t k_stride,
                    int64_t k, float* panels, int64_t position_stride) {
  LOCKSTEP_CHECK(m == 2 || m == 4, "F(2x2, 3x3) or F(4x4, 3x3)");
  LOCKSTEP_CHECK(c_stride == 1 || k_stride == 1, "neighbouring channels");
  LOCKSTEP_CHECK_EQ(k % kWinogradChannels, int64_t{0});
  HWY_DYNAMIC_DISPATCH(WinogradFilterOf)
  (m, w, tap_stride, c_stride, k_stride, k, panels, position_stride);
}

void WinogradInputGradient(int m, const WinogradPatches& args) {
  LOCKSTEP_CHECK(m == 2 || m == 4, "F(2x2, 3x3) or F(4x4, 3x3)");
  LOCKSTEP_CHECK_EQ(args.channels % kWinogradChannels, int64_t{0});
  HWY_DYNAMIC_DISPATCH(WinogradInputGradientOf)(m, args);
}

void WinogradFilterGradient(int m, const float* from, int64_t position_stride, int64_t channels,
                            float* dw, int64_t tap_stride) {
  LOCKSTEP_CHECK(m == 2 || m == 4, "F(2x2, 3x3) or F(4x4, 3x3)");
  LOCKSTEP_CHECK_EQ(channels % kWinogradChannels, int64_t{0});
  HWY_DYNAMIC_DISPATCH(WinogradFilterGradientOf)
  (m, from, position_stride, channels, dw, tap_stride);
}

}  // namespace lockstep::kernels
#endif  // HWY_ONCE
