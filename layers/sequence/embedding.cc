// layers/sequence/embedding.cc — ids seen as (R), y as (R, C), w (V, C).
//   forward   y_r  = w[id_r],  0 where id_r is padding
//   backward  dw_v = sum over r with id_r = v of dy_r      in double within a shard, then floats
//                                                          by the tree over shards
#include "layers/sequence/embedding.h"

#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

#include "engine/kernels/conv/depthwise.h"
#include "engine/kernels/elementwise/elementwise.h"
#include "engine/parallel/shards.h"
#include "layers/sequence/places.h"

namespace lockstep {
namespace {

// Sums the rows of one id, for a block of columns.
class RowSum {
 public:
  static constexpr int64_t kColumns = 128;

  // rows[0, count), in ascending order, of dy (R, C), from column `begin` on.
  RowSum(const RowGrid& grid, const int32_t* rows, int64_t count, const float* dy, int64_t channels,
         IndexRange columns)
      : grid_(grid), dy_(dy + columns.begin), channels_(channels), width_(columns.size()) {
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
        const float* row = dy_ + *begin * channels_;
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
  int64_t channels_, width_;
  float sums_[18][kColumns];  // 65536 shards at most
};

// Inputs: ids, weight.
class EmbeddingOperation final : public Operation {
 public:
  explicit EmbeddingOperation(bool padded) : padded_(padded) {}

  Result<Declaration> Declare(std::span<const TensorSpec> x, const Fused&,
                              const PlanOptions&) const override {
    const Shape& ids = x[0].shape;
    if (x[0].dtype != DType::kI32 || ids.rank() < 1 || ids.rank() >= Shape::kMaxRank) {
      return Status::Invalid("takes ids, i32 (batch, ...), not " + std::string(NameOf(x[0].dtype)) +
                             " " + ids.ToString());
    }
    std::vector<int64_t> extents(ids.dims().begin(), ids.dims().end());
    extents.push_back(x[1].shape.channels());
    TensorSpec y = x[0];
    y.shape = Shape(std::span<const int64_t>(extents));
    y.dtype = DType::kF32;
    return Declaration{.outputs = {y},
                       .reads_x = {true, false},
                       .accumulates_dx = {false, true},
                       .reports_dx = {false, true},
                       .flops = static_cast<double>(y.shape.size())};
  }

  void Book(std::span<const TensorSpec> x, Booking& booking) override {
    const int64_t ids = x[0].shape.size();
    count_ = x[1].shape[0];
    channels_ = x[1].shape[1];
    may_be_padding_ = padded_ && booking.options().cache_tokens == 0;
    rows_ = booking.CutRows(x[0].shape.sample_size());
    if (!booking.wants_dx(1)) return;
    ends_ = booking.Book<int32_t>(count_, Life::kCall);
    order_ = booking.Book<int32_t>(ids, Life::kCall);
    present_ = booking.Book<int32_t>(std::min(ids, count_), Life::kCall);
  }

  Status Check(const Step&, const Operands& o) const override {
    const std::span<const int32_t> ids = o.x(0).span<int32_t>();
    const int32_t least = may_be_padding_ ? kPaddingToken : 0;
    for (size_t i = 0; i < ids.size(); ++i) {
      if (ids[i] >= least && ids[i] < count_) continue;
      const auto places = static_cast<size_t>(o.x(0).shape().sample_size());
      return Status::Invalid("id " + std::to_string(ids[i]) + " in row " +
                             std::to_string(i / places) + ", place " + std::to_string(i % places) +
                             ": ids are 0 to " + std::to_string(count_ - 1));
    }
    return Status::Ok();
  }

  void Forward(const Step& step, const Operands& o) override {
    const int32_t* ids = o.x(0).as<int32_t>();
    const float* weight = o.x_f32(1);
    float* y = o.y_f32();
    const int64_t rows = o.x(0).size();
    const auto bytes = static_cast<size_t>(channels_) * sizeof(float);
    constexpr int64_t kRows = 32;
    step.ctx.For((rows + kRows - 1) / kRows, o.y().size(), [&](int64_t block) {
      for (int64_t r = block * kRows; r < std::min(rows, (block + 1) * kRows); ++r) {
        if (ids[r] < 0) {
          std::memset(y + r * channels_, 0, bytes);
        } else {
          std::memcpy(y + r * channels_, weight + ids[r] * channels_, bytes);
        }
      }
    });
  }

  void Backward(const Step& step, const Operands& o) override {
    float* dw = o.dx_f32(1);
    if (dw == nullptr) return;
    const float* dy = o.dy_f32();
    if (!o.accumulate(1)) {
      step.ctx.For(count_, count_ * channels_,
                   [&](int64_t v) { std::fill_n(dw + v * channels_, channels_, 0.0f); });
    }
    const int64_t present = SortRows(step, o.x(0).span<int32_t>());
    const int32_t *ends = step[ends_], *order = step[order_], *ids = step[present_];
    const int64_t blocks = (channels_ + RowSum::kColumns - 1) / RowSum::kColumns;
    step.ctx.For(present * blocks, o.dy().size(), [&](int64_t task) {
      const int32_t id = ids[task / blocks];
      const int32_t first = id == 0 ? 0 : ends[id - 1];
      const int64_t begin = task % blocks * RowSum::kColumns;
      const IndexRange columns{begin, std::min(channels_, begin + RowSum::kColumns)};
      const RowSum rows(step.rows(rows_), order + first, ends[id] - first, dy, channels_, columns);
      float* to = dw + id * channels_ + begin;
      kernels::AddTo(rows.sum(), to, columns.size());
      kernels::NoteNotFinite(to, columns.size(), step.gradient_not_finite);
    });
  }

  // Zeros for padding, which Gather would read as an index from the end.
  Result<OnnxGraph::Value> Export(const Step&, const Operands& o, OnnxGraph& graph,
                                  std::span<const OnnxGraph::Value> x) const override {
    const Shape shape = o.y().shape().WithBatch(x[0].shape.batch());
    if (!may_be_padding_) return graph.Add("Gather", {x[1], x[0]}, shape);
    const OnnxGraph::Value& ids = x[0];
    const OnnxGraph::Value zero = graph.AddIntegers("zero", {}, {0});
    const OnnxGraph::Value padding = graph.AddIntegers("padding", {}, {kPaddingToken});
    const OnnxGraph::Value valid = graph.Add("Greater", {ids, padding});
    const OnnxGraph::Value vectors =
        graph.Add("Gather", {x[1], graph.Add("Where", {valid, ids, zero}, ids.shape)}, shape);
    return graph.Add(
        "Where", {graph.Reshape(valid, shape.WithChannels(1)), vectors, graph.Scalar(0.0)}, shape);
  }

 private:
  // Rows by their ids: those of id v are order[ends[v - 1], ends[v]), ascending. Returns how many
  // ids there are, which are listed in `present`.
  int64_t SortRows(const Step& step, std::span<const int32_t> ids) const {
    int32_t *ends = step[ends_], *order = step[order_], *present = step[present_];
    std::fill_n(ends, count_, 0);
    for (const int32_t id : ids) {
      if (id >= 0) ++ends[id];
    }
    int64_t found = 0;
    int32_t begin = 0;
    for (int64_t v = 0; v < count_; ++v) {
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

  bool padded_;
  bool may_be_padding_ = false;
  int64_t count_ = 0, channels_ = 0;
  Rows rows_;
  Buffer<int32_t> ends_, order_, present_;
};

}  // namespace

Result<Value> Embedding::Build(Graph& graph, Value ids) const {
  if (count_ < 1 || width_ < 1) {
    return Status::Invalid("needs at least one vector of at least one number, not " +
                           std::to_string(count_) + " of " + std::to_string(width_));
  }
  LOCKSTEP_TRY_ASSIGN(
      const Value weight,
      graph.AddParameter("weight", {count_, width_}, Init::Normal(options_.init_sd), Decay::kYes));
  return graph.Add(EmbeddingOperation(options_.padded), {ids, weight});
}

Result<Value> PositionEmbedding::Build(Graph& graph, Value positions) const {
  const Shape& shape = graph.shape(positions);
  const int64_t room = graph.options().cache_tokens;
  const int64_t tokens = room > 0 ? room : shape.channels();
  if (tokens > context_) {
    return Status::Invalid((room > 0 ? "there is room for " : "texts are of ") +
                           std::to_string(tokens) + " tokens, but there are only " +
                           std::to_string(context_) + " positions");
  }
  return Embedding(context_, width_, {.init_sd = init_sd_, .padded = false})
      .Build(graph, positions);
}

}  // namespace lockstep
