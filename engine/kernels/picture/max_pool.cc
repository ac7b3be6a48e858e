#include "engine/kernels/picture/max_pool.h"

#include <cstddef>
#include <type_traits>

#include "engine/kernels/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "engine/kernels/picture/max_pool.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "engine/kernels/picture/parts-inl.h"

HWY_BEFORE_NAMESPACE();
namespace lockstep::inline v0_1::kernels {
namespace HWY_NAMESPACE {
namespace {

// The taps of one output on one axis.
struct Taps {
  Taps(const AxisTaps& axis, int64_t output)
      : from(axis.from.data() + axis.first[static_cast<size_t>(output)]),
        number(axis.number.data() + axis.first[static_cast<size_t>(output)]),
        count(axis.first[static_cast<size_t>(output) + 1] -
              axis.first[static_cast<size_t>(output)]) {}
  const int64_t* from;
  const int32_t* number;
  int64_t count;
};

template <class D, class Place>
HWY_INLINE void StorePlaces(D di, hn::Vec<D> places, Place* to) {
  if constexpr (std::is_same_v<Place, uint8_t>) {
    const hn::Rebind<uint8_t, D> d8;
    hn::StoreU(hn::DemoteTo(d8, places), d8, to);
  } else {
    hn::StoreU(places, di, to);
  }
}

template <class D, class Place>
HWY_INLINE hn::Vec<D> LoadPlaces(D di, const Place* from) {
  if constexpr (std::is_same_v<Place, uint8_t>) {
    return hn::PromoteTo(di, hn::LoadU(hn::Rebind<uint8_t, D>(), from));
  } else {
    return hn::LoadU(di, from);
  }
}

template <class Place>
HWY_INLINE void MaxLine(const AxisTaps& rows, const AxisTaps& columns, int64_t row,
                        int64_t kernel_w, int64_t channels, const float* HWY_RESTRICT x,
                        float* HWY_RESTRICT y, Place* HWY_RESTRICT places) {
  const Taps h(rows, row);
  const int64_t line = columns.inputs * channels;
  for (int64_t column = 0; column < columns.outputs(); ++column) {
    const Taps w(columns, column);
    const int64_t to = column * channels;
    ForEachPart(channels, [&](auto d, int64_t c, auto vectors) HWY_ATTR {
      constexpr int kVectors = decltype(vectors)::value;
      const hn::RebindToSigned<decltype(d)> di;
      using V = hn::Vec<decltype(d)>;
      using I = hn::Vec<decltype(di)>;
      const auto lanes = static_cast<int64_t>(hn::Lanes(d));
      V most[kVectors];
      I at[kVectors];
      const float* const first = x + h.from[0] * line + w.from[0] * channels + c;
      const auto first_place = static_cast<int32_t>(h.number[0] * kernel_w + w.number[0]);
      LOCKSTEP_PARTS_UNROLL
      for (int v = 0; v < kVectors; ++v) {
        most[v] = hn::LoadU(d, first + v * lanes);
        at[v] = hn::Set(di, first_place);
      }
      for (int64_t i = 0; i < h.count; ++i) {
        for (int64_t j = 0; j < w.count; ++j) {
          const float* const from = x + h.from[i] * line + w.from[j] * channels + c;
          const auto place =
              hn::Set(di, static_cast<int32_t>(h.number[i] * kernel_w + w.number[j]));
          LOCKSTEP_PARTS_UNROLL
          for (int v = 0; v < kVectors; ++v) {
            const V value = hn::LoadU(d, from + v * lanes);
            // Larger, or NaN: not(value <= most) would take a number over an earlier NaN.
            const auto takes = hn::Or(hn::Gt(value, most[v]), hn::IsNaN(value));
            most[v] = hn::IfThenElse(takes, value, most[v]);
            at[v] = hn::IfThenElse(hn::RebindMask(di, takes), place, at[v]);
          }
        }
      }
      LOCKSTEP_PARTS_UNROLL
      for (int v = 0; v < kVectors; ++v) {
        hn::StoreU(most[v], d, y + to + c + v * lanes);
        if (places != nullptr) StorePlaces(di, at[v], places + to + c + v * lanes);
      }
    });
  }
}

template <class Place>
HWY_INLINE void GradientLine(const AxisTaps& rows, const AxisTaps& columns, int64_t row,
                             int64_t kernel_w, int64_t channels, const float* HWY_RESTRICT dy,
                             const Place* HWY_RESTRICT places, bool accumulate,
                             float* HWY_RESTRICT dx) {
  const Taps h(rows, row);
  const int64_t line = columns.inputs * channels;
  for (int64_t column = 0; column < columns.outputs(); ++column) {
    const Taps w(columns, column);
    float* const to = dx + column * channels;
    ForEachPart(channels, [&](auto d, int64_t c, auto vectors) HWY_ATTR {
      constexpr int kVectors = decltype(vectors)::value;
      const hn::RebindToSigned<decltype(d)> di;
      using V = hn::Vec<decltype(d)>;
      const auto lanes = static_cast<int64_t>(hn::Lanes(d));
      V sum[kVectors];
      LOCKSTEP_PARTS_UNROLL
      for (int v = 0; v < kVectors; ++v) sum[v] = hn::Zero(d);
      for (int64_t i = 0; i < h.count; ++i) {
        for (int64_t j = 0; j < w.count; ++j) {
          const int64_t from = h.from[i] * line + w.from[j] * channels + c;
          const auto here = hn::Set(di, static_cast<int32_t>(h.number[i] * kernel_w + w.number[j]));
          LOCKSTEP_PARTS_UNROLL
          for (int v = 0; v < kVectors; ++v) {
            const auto is_here = hn::Eq(LoadPlaces(di, places + from + v * lanes), here);
            sum[v] = hn::Add(sum[v], hn::IfThenElseZero(hn::RebindMask(d, is_here),
                                                        hn::LoadU(d, dy + from + v * lanes)));
          }
        }
      }
      LOCKSTEP_PARTS_UNROLL
      for (int v = 0; v < kVectors; ++v) {
        float* const out = to + c + v * lanes;
        hn::StoreU(accumulate ? hn::Add(hn::LoadU(d, out), sum[v]) : sum[v], d, out);
      }
    });
  }
}

void MaxLine8(const AxisTaps& rows, const AxisTaps& columns, int64_t row, int64_t kernel_w,
              int64_t channels, const float* x, float* y, uint8_t* places) {
  MaxLine(rows, columns, row, kernel_w, channels, x, y, places);
}
void MaxLine32(const AxisTaps& rows, const AxisTaps& columns, int64_t row, int64_t kernel_w,
               int64_t channels, const float* x, float* y, int32_t* places) {
  MaxLine(rows, columns, row, kernel_w, channels, x, y, places);
}
void GradientLine8(const AxisTaps& rows, const AxisTaps& columns, int64_t row, int64_t kernel_w,
                   int64_t channels, const float* dy, const uint8_t* places, bool accumulate,
                   float* dx) {
  GradientLine(rows, columns, row, kernel_w, channels, dy, places, accumulate, dx);
}
void GradientLine32(const AxisTaps& rows, const AxisTaps& columns, int64_t row, int64_t kernel_w,
                    int64_t channels, const float* dy, const int32_t* places, bool accumulate,
                    float* dx) {
  GradientLine(rows, columns, row, kernel_w, channels, dy, places, accumulate, dx);
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace lockstep::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace lockstep::inline v0_1::kernels {
namespace {
HWY_EXPORT(MaxLine8);
HWY_EXPORT(MaxLine32);
HWY_EXPORT(GradientLine8);
HWY_EXPORT(GradientLine32);
}  // namespace

template <>
void MaxPoolLine(const AxisTaps& rows, const AxisTaps& columns, int64_t row, int64_t kernel_w,
                 int64_t channels, const float* x, float* y, uint8_t* places) {
  HWY_DYNAMIC_DISPATCH(MaxLine8)(rows, columns, row, kernel_w, channels, x, y, places);
}
template <>
void MaxPoolLine(const AxisTaps& rows, const AxisTaps& columns, int64_t row, int64_t kernel_w,
                 int64_t channels, const float* x, float* y, int32_t* places) {
  HWY_DYNAMIC_DISPATCH(MaxLine32)(rows, columns, row, kernel_w, channels, x, y, places);
}
template <>
void MaxPoolGradientLine(const AxisTaps& rows, const AxisTaps& columns, int64_t row,
                         int64_t kernel_w, int64_t channels, const float* dy, const uint8_t* places,
                         bool accumulate, float* dx) {
  HWY_DYNAMIC_DISPATCH(GradientLine8)
  (rows, columns, row, kernel_w, channels, dy, places, accumulate, dx);
}
template <>
void MaxPoolGradientLine(const AxisTaps& rows, const AxisTaps& columns, int64_t row,
                         int64_t kernel_w, int64_t channels, const float* dy, const int32_t* places,
                         bool accumulate, float* dx) {
  HWY_DYNAMIC_DISPATCH(GradientLine32)
  (rows, columns, row, kernel_w, channels, dy, places, accumulate, dx);
}

}  // namespace lockstep::kernels
#endif  // HWY_ONCE
