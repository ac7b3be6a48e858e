// A product of one row with a B whose columns are contiguous: y = x W^T with W as it is stored.
// Included once per SIMD target.
//
// Nothing is used twice, so it is as fast as B comes from memory, if nothing else is in the way:
// kRowCols columns are read side by side, four floats of each, turned in registers and added up at
// once. No panel is packed, and no turned copy of B need be kept.
#if defined(LOCKSTEP_ENGINE_KERNELS_PRODUCT_GEMM_ROW_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LOCKSTEP_ENGINE_KERNELS_PRODUCT_GEMM_ROW_INL_H_
#undef LOCKSTEP_ENGINE_KERNELS_PRODUCT_GEMM_ROW_INL_H_
#else
#define LOCKSTEP_ENGINE_KERNELS_PRODUCT_GEMM_ROW_INL_H_
#endif

#include <algorithm>
#include <cstdint>

#include "engine/kernels/product/gemm-inl.h"

HWY_BEFORE_NAMESPACE();
namespace lockstep::inline v0_1::kernels::HWY_NAMESPACE {

// Two vectors of columns: with one the multiply-adds wait for each other, and four are more rows of
// memory at a time than the machine follows.
inline constexpr int kRowVecs = 2, kRowCols = kRowVecs * kLanes;
inline constexpr int64_t kRowSlots = 16;  // sums that wait for a partner: of any k up to 2^24

// What comes next is fetched into the L2 cache as fast as this is read: memory is too far away to
// be asked for when it is needed, and it sends rows of a few hundred bytes as fast as longer ones.
class RowsAhead {
 public:
  // Rows from `first` on, `bytes` of each, `stride` bytes apart.
  RowsAhead(const float* first, int64_t stride, int64_t bytes)
      : row_(reinterpret_cast<const char*>(first)), stride_(stride), bytes_(bytes) {}
  HWY_INLINE void Line() {
    __builtin_prefetch(row_ + at_, /*write=*/0, /*locality: L2*/ 2);
    at_ += 64;
    if (at_ >= bytes_) at_ = 0, row_ += stride_;
  }

 private:
  const char* row_;
  int64_t stride_, bytes_, at_ = 0;
};

#if HWY_TARGET == HWY_SCALAR
inline constexpr bool kTurnsRows = false;
#else
inline constexpr bool kTurnsRows = true;

// Four floats, from `offset` on, of each column that `fourth` holds, which are every fourth one:
// block q of the result is of fourth[q].
HWY_INLINE TileVec QuadsOf(const float* const* fourth, int64_t offset) {
  const hn::CappedTag<float, 4> d4;
#if HWY_MAX_BYTES == 64
  const hn::CappedTag<float, 8> d8;
  return hn::Combine(
      TileTag(),
      hn::Combine(d8, hn::LoadU(d4, fourth[3] + offset), hn::LoadU(d4, fourth[2] + offset)),
      hn::Combine(d8, hn::LoadU(d4, fourth[1] + offset), hn::LoadU(d4, fourth[0] + offset)));
#elif HWY_MAX_BYTES == 32
  return hn::Combine(TileTag(), hn::LoadU(d4, fourth[1] + offset),
                     hn::LoadU(d4, fourth[0] + offset));
#else
  return hn::LoadU(d4, fourth[0] + offset);
#endif
}

// acc += x[p] column[p] for four p, at `fourth`: every fourth column.
HWY_INLINE void AddFour(const float* HWY_RESTRICT x, const float* const* fourth, int64_t stride,
                        int64_t p, TileVec& acc) {
  const TileTag d;
  const hn::Repartition<uint64_t, TileTag> pairs;
  const TileVec r0 = QuadsOf(fourth, p), r1 = QuadsOf(fourth, p + stride);
  const TileVec r2 = QuadsOf(fourth, p + 2 * stride), r3 = QuadsOf(fourth, p + 3 * stride);
  const auto lo01 = hn::BitCast(pairs, hn::InterleaveLower(d, r0, r1));
  const auto lo23 = hn::BitCast(pairs, hn::InterleaveLower(d, r2, r3));
  const auto hi01 = hn::BitCast(pairs, hn::InterleaveUpper(d, r0, r1));
  const auto hi23 = hn::BitCast(pairs, hn::InterleaveUpper(d, r2, r3));
  const auto v0 = hn::BitCast(d, hn::InterleaveLower(pairs, lo01, lo23));
  const auto v1 = hn::BitCast(d, hn::InterleaveUpper(pairs, lo01, lo23));
  const auto v2 = hn::BitCast(d, hn::InterleaveLower(pairs, hi01, hi23));
  const auto v3 = hn::BitCast(d, hn::InterleaveUpper(pairs, hi01, hi23));
  acc = hn::MulAdd(hn::Set(d, x[p]), v0, acc);
  acc = hn::MulAdd(hn::Set(d, x[p + 1]), v1, acc);
  acc = hn::MulAdd(hn::Set(d, x[p + 2]), v2, acc);
  acc = hn::MulAdd(hn::Set(d, x[p + 3]), v3, acc);
}

// acc[j] += x[p] column[p] for p in [0, length), of kRowCols columns.
HWY_INLINE void AddRowChain(const float* HWY_RESTRICT x, const float* from, int64_t stride,
                            int64_t length, RowsAhead ahead, TileVec (&acc)[1][kRowVecs]) {
  const TileTag d;
  constexpr int kFourths = kLanes / 4;
  const float* fourth[kRowVecs][kFourths];
  LOCKSTEP_GEMM_UNROLL
  for (int j = 0; j < kRowVecs; ++j) {
    LOCKSTEP_GEMM_UNROLL
    for (int q = 0; q < kFourths; ++q) fourth[j][q] = from + (j * kLanes + 4 * q) * stride;
  }
  int64_t left = length;
  for (; left >= 16; left -= 16, x += 16) {
    LOCKSTEP_GEMM_UNROLL
    for (int64_t p = 0; p < 16; p += 4) {
      LOCKSTEP_GEMM_UNROLL
      for (int line = 0; line < kRowCols / 4; ++line) ahead.Line();
      LOCKSTEP_GEMM_UNROLL
      for (int j = 0; j < kRowVecs; ++j) AddFour(x, fourth[j], stride, p, acc[0][j]);
    }
    LOCKSTEP_GEMM_UNROLL
    for (int j = 0; j < kRowVecs; ++j) {
      LOCKSTEP_GEMM_UNROLL
      for (int q = 0; q < kFourths; ++q) fourth[j][q] += 16;
    }
  }
  int64_t p = 0;
  for (; p + 4 <= left; p += 4) {
    for (int j = 0; j < kRowVecs; ++j) AddFour(x, fourth[j], stride, p, acc[0][j]);
  }
  for (; p < left; ++p) {
    HWY_ALIGN float column[kRowCols];
    for (int i = 0; i < kRowCols; ++i) column[i] = fourth[0][0][i * stride + p];
    for (int j = 0; j < kRowVecs; ++j) {
      acc[0][j] = hn::MulAdd(hn::Set(d, x[p]), hn::Load(d, column + j * kLanes), acc[0][j]);
    }
  }
}
#endif  // HWY_TARGET == HWY_SCALAR

// Whether RowOf can do it. The last columns are whole panels too: one begins earlier if need be and
// writes some columns again, with the same bits, which must not read what it wrote.
HWY_INLINE bool IsRow(const GemmArgs& args) {
  const bool reads_c = args.accumulate || args.epilogue.add == args.c;
  return kTurnsRows && args.m == 1 && args.n >= kRowCols && (!reads_c || args.n % kRowCols == 0) &&
         args.a.col_stride == 1 && args.b.row_stride == 1 && args.segment_count() == 1 &&
         WaitingSums(args.k, 1) <= kRowSlots;
}

static HWY_NOINLINE void RowOf(const GemmArgs& args) {
#if HWY_TARGET == HWY_SCALAR
  (void)args;
#else
  const TileTag d;
  const Epilogue& epilogue = args.epilogue;
  const TileOutput output{args.c_stride,        epilogue.add_stride,
                          args.accumulate,
                          /*one_column=*/false, epilogue.activation == Activation::kRelu,
                          args.not_finite};
  const int64_t whole_k[] = {0, args.k}, stride = args.b.col_stride;
  HWY_ALIGN float waiting[(kRowSlots + 1) * kRowCols];
  for (int64_t next = 0; next < args.n; next += kRowCols) {
    const int64_t col = std::min(next, args.n - kRowCols);
    TileArgs tile;
    tile.cols = kRowCols;
    tile.scale = epilogue.scale == nullptr ? nullptr : epilogue.scale + col;
    tile.bias = epilogue.bias == nullptr ? nullptr : epilogue.bias + col;
    tile.add = epilogue.add == nullptr ? nullptr : epilogue.add + col;
    tile.c = args.c + col;
    tile.output = &output;
    const float *x = args.a.data, *from = args.b.data + col * stride;
    TileVec acc[1][kRowVecs];
    for (Chains chains(whole_k, 1); !chains.done();) {
      const Chain chain = chains.Next();
      LOCKSTEP_GEMM_UNROLL
      for (int j = 0; j < kRowVecs; ++j) acc[0][j] = hn::Zero(d);
      const bool more = next + 2 * kRowCols <= args.n;
      const float* after = !chains.done() ? from + chain.length
                           : more         ? args.b.data + (col + kRowCols) * stride
                                          : from;
      AddRowChain(x, from, stride, chain.length, RowsAhead(after, stride * 4, chain.length * 4),
                  acc);
      x += chain.length, from += chain.length;
      float* slot = waiting + chain.waiting * kRowCols;
      for (int32_t merge = 0; merge < chain.merges; ++merge) {
        slot -= kRowCols;
        AddTile(slot, kRowCols, acc);
      }
      if (!chains.done()) StoreTile(acc, kRowCols, slot);
    }
    WriteTile<1, kRowVecs>(tile, acc);
  }
#endif
}

// NOLINTNEXTLINE(google-readability-namespace-comments)
}  // namespace lockstep::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // LOCKSTEP_ENGINE_KERNELS_PRODUCT_GEMM_ROW_INL_H_
