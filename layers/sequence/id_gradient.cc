#include "layers/sequence/id_gradient.h"

#include <algorithm>

#include "engine/kernels/conv/depthwise.h"
#include "engine/kernels/elementwise/elementwise.h"
#include "engine/parallel/shards.h"

namespace lockstep::inline v0_1 {
namespace {

// Sums the rows of one id, for a block of columns.
class RowSum {
 public:
  static constexpr int64_t kColumns = 128;

  // rows[0, count), in ascending order, of dy (R, stride), of which `columns` are meant.
  RowSum(const RowGrid& grid, const int32_t* rows, int64_t count, const float* dy, int64_t stride,
         IndexRange columns)
      : grid_(grid), dy_(dy + columns.begin), stride_(stride), width_(columns.size()) {
    Sum({0, grid.shards()}, rows, rows + count, 0);
  }
  const float* sum() const { return sums_[0]; }

 private:
  // Of the rows [begin, end), at least one, which lie in `shards`, into sums_[depth]. The tree is
  // MergeTree's; a shard without any of them would add zeros.
  void Sum(IndexRange shards, const int32_t* begin, const int32_t* end, int depth) {
    float* sum = sums_[depth];
    if (shards.size() == 1) {
      double exact[kColumns] = {};
      for (; begin != end; ++begin) {
        const float* row = dy_ + *begin * stride_;
        for (int64_t c = 0; c < width_; ++c) exact[c] += static_cast<double>(row[c]);
      }
      for (int64_t c = 0; c < width_; ++c) sum[c] = static_cast<float>(exact[c]);
      return;
    }
    int64_t left = 1;
    while (2 * left < shards.size()) left *= 2;
    const int64_t middle = shards.begin + left;
    const int32_t* split = std::lower_bound(begin, end, grid_.ShardRows(middle).begin);
    if (split != begin) Sum({shards.begin, middle}, begin, split, depth);
    if (split == end) return;
    if (split == begin) return Sum({middle, shards.end}, split, end, depth);
    Sum({middle, shards.end}, split, end, depth + 1);
    kernels::AddTo(sums_[depth + 1], sum, width_);
  }

  const RowGrid& grid_;
  const float* dy_;
  int64_t stride_, width_;
  float sums_[18][kColumns];  // 65536 shards at most
};

}  // namespace

void IdGradient::Book(int64_t ids, int64_t per_sample, int64_t count, Booking& booking) {
  rows_ = booking.CutRows(per_sample);
  ends_ = booking.Book<int32_t>(count, Life::kCall);
  order_ = booking.Book<int32_t>(ids, Life::kCall);
  present_ = booking.Book<int32_t>(std::min(ids, count), Life::kCall);
}

void IdGradient::Run(const Step& step, std::span<const int32_t> ids, const float* dy,
                     int64_t stride, int64_t count, int64_t width, bool accumulate,
                     float* dw) const {
  if (!accumulate) {
    step.ctx.For(count, count * width,
                 [&](int64_t v) { std::fill_n(dw + v * width, width, 0.0f); });
  }
  const int64_t present = SortRows(step, ids, count);
  const int32_t *ends = step[ends_], *order = step[order_], *those = step[present_];
  const int64_t blocks = (width + RowSum::kColumns - 1) / RowSum::kColumns;
  step.ctx.For(present * blocks, static_cast<int64_t>(ids.size()) * width, [&](int64_t task) {
    const int32_t id = those[task / blocks];
    const int32_t first = id == 0 ? 0 : ends[id - 1];
    const int64_t begin = task % blocks * RowSum::kColumns;
    const IndexRange columns{begin, std::min(width, begin + RowSum::kColumns)};
    const RowSum rows(step.rows(rows_), order + first, ends[id] - first, dy, stride, columns);
    float* to = dw + id * width + begin;
    kernels::AddTo(rows.sum(), to, columns.size());
    kernels::NoteNotFinite(to, columns.size(), step.gradient_not_finite);
  });
}

// Rows by their ids: those of id v are order[ends[v - 1], ends[v]), ascending. Returns how many ids
// there are, which are listed in `present`.
int64_t IdGradient::SortRows(const Step& step, std::span<const int32_t> ids, int64_t count) const {
  int32_t *ends = step[ends_], *order = step[order_], *present = step[present_];
  std::fill_n(ends, count, 0);
  for (const int32_t id : ids) {
    if (id >= 0) ++ends[id];
  }
  int64_t found = 0;
  int32_t begin = 0;
  for (int64_t v = 0; v < count; ++v) {
    if (ends[v] > 0) present[found++] = static_cast<int32_t>(v);
    const int32_t next = begin + ends[v];
    ends[v] = begin;
    begin = next;
  }
  for (size_t r = 0; r < ids.size(); ++r) {
    if (ids[r] >= 0) order[ends[ids[r]]++] = static_cast<int32_t>(r);
  }
  return found;
}

}  // namespace lockstep
