#include "engine/kernels/norm/normalize.h"

#include "engine/base/check.h"
#include "engine/kernels/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "engine/kernels/norm/normalize.cc"
#include <hwy/foreach_target.h>
//
#include <hwy/cache_control.h>
#include <hwy/highway.h>

#include "engine/kernels/norm/normalize-inl.h"

HWY_BEFORE_NAMESPACE();
namespace lockstep::inline v0_1::kernels::HWY_NAMESPACE {

template <bool kStream, class D, class V = hn::Vec<D>>
HWY_INLINE void Put(D d, V v, float* to) {
  if constexpr (kStream) {
    hn::Stream(v, d, to);
  } else {
    hn::StoreU(v, d, to);
  }
}

// Stream needs whole aligned vectors.
bool CanStream(const float* to, int64_t channels) {
  constexpr auto kBytes = static_cast<uintptr_t>(64);
  return reinterpret_cast<uintptr_t>(to) % kBytes == 0 &&
         static_cast<uintptr_t>(channels) * sizeof(float) % kBytes == 0;
}

// ------------------------------------------------------------------------------------- forward

template <bool kRelu, bool kAdd, bool kStream>
struct ForwardPass {
  static constexpr bool kStreams = kStream;
  const float* x;
  const float* add;
  float* y;
  const Constants* constants;

  // What one vector of channels needs for any row.
  template <class V>
  struct Channels {
    V mean, scale, shift;
  };
  template <class D>
  HWY_INLINE Channels<hn::Vec<D>> At(D d, int64_t c) const {
    return {hn::Load(d, constants->mean + c), hn::Load(d, constants->scale + c),
            hn::Load(d, constants->shift + c)};
  }

  template <class D>
  HWY_INLINE void One(D d, int64_t i, const Channels<hn::Vec<D>>& k) const {
    auto v = Affine(d, hn::LoadU(d, x + i), k.mean, k.scale, k.shift);
    if constexpr (kAdd) v = hn::Add(v, hn::LoadU(d, add + i));
    if constexpr (kRelu) v = Pass(d, v, v);
    Put<kStream>(d, v, y + i);
  }
};

// ------------------------------------------------------------------------------------ backward

enum class Outputs { kDx, kStreamedDx, kAny };

template <MaskFrom kMask, bool kTrain, Outputs kOutputs>
struct BackwardPass {
  static constexpr bool kStreams = kOutputs == Outputs::kStreamedDx;
  const float* x;
  const float* y;
  const float* dy;
  NormalizeGradient gradient;
  const Constants* constants;

  template <class V>
  struct Channels {
    V mean, inv_std, scale, shift, offset, mean_dgamma;
  };
  template <class D>
  HWY_INLINE Channels<hn::Vec<D>> At(D d, int64_t c) const {
    return {hn::Load(d, constants->mean + c),   hn::Load(d, constants->inv_std + c),
            hn::Load(d, constants->scale + c),  hn::Load(d, constants->shift + c),
            hn::Load(d, constants->offset + c), hn::Load(d, constants->mean_dgamma + c)};
  }

  template <class D>
  HWY_INLINE void One(D d, int64_t i, const Channels<hn::Vec<D>>& k) const {
    using V = hn::Vec<D>;
    V value = k.mean;
    if constexpr (kTrain || kMask == MaskFrom::kX) value = hn::LoadU(d, x + i);
    const V dz = MaskedDy<kMask>(d, dy + i, y + i, value, k.mean, k.scale, k.shift);
    V t = dz;
    if constexpr (kTrain) {
      const V xhat = hn::Mul(hn::Sub(value, k.mean), k.inv_std);
      t = hn::NegMulAdd(xhat, k.mean_dgamma, hn::Sub(dz, k.offset));
    }
    t = hn::Mul(t, k.scale);
    if constexpr (kOutputs == Outputs::kAny) {
      if (gradient.d_add != nullptr) hn::StoreU(dz, d, gradient.d_add + i);
      if (gradient.dx != nullptr) hn::StoreU(t, d, gradient.dx + i);
    } else {
      Put<kOutputs == Outputs::kStreamedDx>(d, t, gradient.dx + i);
    }
  }
};

// -------------------------------------------------------------------------- loops over a matrix

// `channels` columns of one row, or of four, from place `at` on. Four rows share a load of the
// constants, and a pair of vectors fills a cache line of each before the next is begun.
template <class Pass>
void OneRow(const Pass& pass, int64_t at, int64_t c, int64_t channels) {
  const hn::ScalableTag<float> d;
  const hn::CappedTag<float, 4> d4;
  const hn::CappedTag<float, 1> d1;
  const auto n = static_cast<int64_t>(hn::Lanes(d));
  const auto n4 = static_cast<int64_t>(hn::Lanes(d4));
  for (; c + 2 * n <= channels; c += 2 * n) {
    pass.One(d, at + c, pass.At(d, c));
    pass.One(d, at + c + n, pass.At(d, c + n));
  }
  for (; c + n <= channels; c += n) pass.One(d, at + c, pass.At(d, c));
  for (; c + n4 <= channels; c += n4) pass.One(d4, at + c, pass.At(d4, c));
  for (; c < channels; ++c) pass.One(d1, at + c, pass.At(d1, c));
}

template <class Pass>
HWY_INLINE void FourRows(const Pass& pass, int64_t at, int64_t channels, int64_t stride) {
  const hn::ScalableTag<float> d;
  const auto n = static_cast<int64_t>(hn::Lanes(d));
  int64_t c = 0;
  for (; c + 2 * n <= channels; c += 2 * n) {
    const auto k0 = pass.At(d, c);
    const auto k1 = pass.At(d, c + n);
    for (int64_t r = 0; r < 4; ++r) {
      const int64_t i = at + r * stride + c;
      pass.One(d, i, k0);
      pass.One(d, i + n, k1);
    }
  }
  for (; c + n <= channels; c += n) {
    const auto k = pass.At(d, c);
    for (int64_t r = 0; r < 4; ++r) pass.One(d, at + r * stride + c, k);
  }
  if (c == channels) return;
  for (int64_t r = 0; r < 4; ++r) OneRow(pass, at + r * stride, c, channels);
}

// Prefetching x and y here as well (512 to 4,096 bytes ahead) gained nothing from the third-level
// cache or from memory, and cost a tenth nearer by.
//
// What is streamed is written in the order of memory: the same matrix took half as long so as by
// four rows at once (103 MB, Zen 3).
template <class Pass>
void AllRows(const Pass& pass, int64_t first, int64_t channels, int64_t rows, int64_t stride) {
  int64_t r = 0;
  if constexpr (!Pass::kStreams) {
    for (; r + 4 <= rows; r += 4) FourRows(pass, r * stride + first, channels, stride);
  }
  for (; r < rows; ++r) OneRow(pass, r * stride + first, 0, channels);
}

template <bool kStream>
void NormalizeChunk(const float* x, const float* add, int64_t rows, int64_t channels, int64_t first,
                    int64_t count, bool relu, const Constants& constants, float* y) {
  if (relu && add != nullptr) {
    AllRows(ForwardPass<true, true, kStream>{x, add, y, &constants}, first, count, rows, channels);
  } else if (relu) {
    AllRows(ForwardPass<true, false, kStream>{x, add, y, &constants}, first, count, rows, channels);
  } else if (add != nullptr) {
    AllRows(ForwardPass<false, true, kStream>{x, add, y, &constants}, first, count, rows, channels);
  } else {
    AllRows(ForwardPass<false, false, kStream>{x, add, y, &constants}, first, count, rows,
            channels);
  }
}

void Normalize(const float* x, int64_t rows, int64_t channels, const ChannelAffine& affine,
               const Epilogue& epilogue, NormalizeOptions options, float* y) {
  const bool relu = epilogue.activation == Activation::kRelu;
  const bool stream = options.stream && CanStream(y, channels);
  Constants constants;
  for (int64_t c = 0; c < channels; c += kChunk) {
    const int64_t count = HWY_MIN(kChunk, channels - c);
    Fill(affine, {}, c, count, constants);
    if (stream) {
      NormalizeChunk<true>(x, epilogue.add, rows, channels, c, count, relu, constants, y);
    } else {
      NormalizeChunk<false>(x, epilogue.add, rows, channels, c, count, relu, constants, y);
    }
  }
  if (stream) hwy::FlushStream();
}

template <MaskFrom kMask, bool kTrain, Outputs kOutputs>
void BackwardChunk(const float* x, const float* y, const float* dy, int64_t rows, int64_t channels,
                   int64_t first, int64_t count, const NormalizeGradient& gradient,
                   const Constants& constants) {
  AllRows(BackwardPass<kMask, kTrain, kOutputs>{x, y, dy, gradient, &constants}, first, count, rows,
          channels);
}

using BackwardFunction = decltype(&BackwardChunk<MaskFrom::kNothing, true, Outputs::kAny>);

// The common cases have loops of their own; the others share one for each mask.
template <MaskFrom kMask>
BackwardFunction ChooseBackward(bool train, Outputs outputs) {
  if (!train) return BackwardChunk<kMask, false, Outputs::kAny>;
  if constexpr (kMask != MaskFrom::kY) {
    if (outputs == Outputs::kDx) return BackwardChunk<kMask, true, Outputs::kDx>;
    if (outputs == Outputs::kStreamedDx) return BackwardChunk<kMask, true, Outputs::kStreamedDx>;
  }
  return BackwardChunk<kMask, true, Outputs::kAny>;
}

void NormalizeBackward(const float* x, const float* y, const float* dy, int64_t rows,
                       int64_t channels, const ChannelAffine& affine, Activation activation,
                       NormalizeOptions options, const NormalizeGradient& gradient) {
  Outputs outputs = Outputs::kDx;
  if (gradient.d_add != nullptr || gradient.dx == nullptr) {
    outputs = Outputs::kAny;
  } else if (options.stream && CanStream(gradient.dx, channels)) {
    outputs = Outputs::kStreamedDx;
  }
  const MaskFrom mask = MaskOf(activation, y);
  if (mask != MaskFrom::kY) y = dy;  // not read: any address that may be formed
  const bool train = gradient.mean_dbeta != nullptr;
  const BackwardFunction backward =
      mask == MaskFrom::kX   ? ChooseBackward<MaskFrom::kX>(train, outputs)
      : mask == MaskFrom::kY ? ChooseBackward<MaskFrom::kY>(train, outputs)
                             : ChooseBackward<MaskFrom::kNothing>(train, outputs);
  Constants constants;
  for (int64_t c = 0; c < channels; c += kChunk) {
    const int64_t count = HWY_MIN(kChunk, channels - c);
    Fill(affine, gradient, c, count, constants);
    backward(x, y, dy, rows, channels, c, count, gradient, constants);
  }
  if (outputs == Outputs::kStreamedDx) hwy::FlushStream();
}

// NOLINTNEXTLINE(google-readability-namespace-comments)
}  // namespace lockstep::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace lockstep::inline v0_1::kernels {

HWY_EXPORT(Normalize);
HWY_EXPORT(NormalizeBackward);

void Normalize(const float* x, int64_t rows, int64_t channels, const ChannelAffine& affine,
               const Epilogue& epilogue, NormalizeOptions options, float* y) {
  LOCKSTEP_CHECK(epilogue.scale == nullptr && epilogue.bias == nullptr,
                 "gamma and beta are the scale and bias of a normalisation");
  if (epilogue.add != nullptr) LOCKSTEP_CHECK_EQ(epilogue.add_stride, channels);
  HWY_DYNAMIC_DISPATCH(Normalize)(x, rows, channels, affine, epilogue, options, y);
}

void NormalizeBackward(const float* x, const float* y, const float* dy, int64_t rows,
                       int64_t channels, const ChannelAffine& affine, Activation activation,
                       NormalizeOptions options, const NormalizeGradient& gradient) {
  HWY_DYNAMIC_DISPATCH(NormalizeBackward)
  (x, y, dy, rows, channels, affine, activation, options, gradient);
}

}  // namespace lockstep::kernels
#endif  // HWY_ONCE
