// layers/sequence/token_pool.cc — x is (B, T, C).
//   mean      y_b = sum over valid t of x_bt / n_b     in double, in order; n_b valid ones, or 1
//             dx_bt = dy_b / n_b where valid, else 0
//   in front  y_b = (token x_b1 ... x_bT)
//             dx_bt = dy_b,t+1,  dtoken = sum over b of dy_b0     in shards
//   first     y_b = x_b1,  dx_b1 = dy_b,  all else 0
#include "layers/sequence/token_pool.h"

#include <algorithm>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "layers/onnx_ops.h"
#include "layers/rows.h"

namespace lockstep::inline v0_1 {
namespace {

Status CheckSequence(const TensorSpec& x) {
  if (x.dtype == DType::kF32 && x.shape.rank() == 3) return Status::Ok();
  return Status::Invalid("takes f32 (batch, tokens, width), not " + x.shape.ToString());
}

// What is left of a sequence where one token stands for all.
Result<TensorSpec> OneToken(const TensorSpec& x) {
  LOCKSTEP_TRY(CheckSequence(x));
  TensorSpec y = x;
  y.shape = {x.shape[0], x.shape[2]};
  return y;
}

// Inputs: x, segments or nothing.
class TokenMean final : public Operation {
 public:
  Result<Declaration> Declare(std::span<const TensorSpec> x, const Fused&,
                              const PlanOptions&) const override {
    LOCKSTEP_TRY_ASSIGN(const TensorSpec y, OneToken(x[0]));
    return Declaration{
        .outputs = {y}, .reads_x = {false, true}, .flops = static_cast<double>(x[0].shape.size())};
  }

  void Book(std::span<const TensorSpec> x, Booking&) override {
    length_ = x[0].shape[1];
    channels_ = x[0].shape[2];
  }

  void Forward(const Step& step, const Operands& o) override {
    const int32_t* segments = Segments(o);
    ForBlocks(step, o.y().shape().batch(), [&](int64_t sample, int64_t begin, int64_t end) {
      double sum[kColumns] = {};
      for (int64_t t = 0; t < length_; ++t) {
        if (!IsValid(segments, sample, t)) continue;
        const float* x = o.x_f32(0) + (sample * length_ + t) * channels_;
        for (int64_t c = begin; c < end; ++c) sum[c - begin] += static_cast<double>(x[c]);
      }
      const double count = Count(segments, sample);
      for (int64_t c = begin; c < end; ++c)
        o.y_f32()[sample * channels_ + c] = static_cast<float>(sum[c - begin] / count);
    });
  }

  void Backward(const Step& step, const Operands& o) override {
    const int32_t* segments = Segments(o);
    ForBlocks(step, o.dy().shape().batch(), [&](int64_t sample, int64_t begin, int64_t end) {
      float mean[kColumns];
      const double count = Count(segments, sample);
      for (int64_t c = begin; c < end; ++c) {
        mean[c - begin] =
            static_cast<float>(static_cast<double>(o.dy_f32()[sample * channels_ + c]) / count);
      }
      for (int64_t t = 0; t < length_; ++t) {
        float* dx = o.dx_f32(0) + (sample * length_ + t) * channels_;
        if (IsValid(segments, sample, t)) {
          std::copy(mean, mean + (end - begin), dx + begin);
        } else {
          std::fill(dx + begin, dx + end, 0.0f);
        }
      }
    });
  }

  Result<OnnxGraph::Value> Export(const Step&, const Operands&, OnnxGraph& graph,
                                  std::span<const OnnxGraph::Value> x) const override {
    const Shape row{1, 1, channels_}, y{1, channels_};
    const auto mean = [&](const OnnxGraph::Value& v, const Shape& shape) {
      return graph.Add("ReduceMean", {v}, shape,
                       {{"axes", std::vector<int64_t>{1}}, {"keepdims", int64_t{0}}});
    };
    if (x[1].name.empty()) return mean(x[0], y);
    // The mean of x where valid, over that of ones where valid, or of the least that is possible.
    const OnnxGraph::Value real =
        graph.Add("Greater", {x[1], graph.AddIntegers("padding", {}, {-1})});
    const OnnxGraph::Value valid =
        graph.Reshape(graph.Add("Where", {real, graph.Scalar(1.0), graph.Scalar(0.0)}, x[1].shape),
                      {1, length_, 1});
    const OnnxGraph::Value share =
        graph.Add("Max", {mean(valid, {1, 1}), graph.Scalar(1.0 / static_cast<double>(length_))});
    return graph.Add("Div", {mean(graph.Add("Mul", {x[0], valid}), y), share});
  }

 private:
  static constexpr int64_t kColumns = 64;

  static const int32_t* Segments(const Operands& o) {
    return o.x(1).empty() ? nullptr : o.x(1).as<int32_t>();
  }
  bool IsValid(const int32_t* segments, int64_t sample, int64_t t) const {
    return segments == nullptr || segments[sample * length_ + t] >= 0;
  }
  double Count(const int32_t* segments, int64_t sample) const {
    int64_t count = 0;
    for (int64_t t = 0; t < length_; ++t) count += IsValid(segments, sample, t);
    return static_cast<double>(std::max<int64_t>(count, 1));
  }
  // body(sample, begin, end) for blocks of columns.
  template <class Body>
  void ForBlocks(const Step& step, int64_t batch, Body&& body) const {
    const int64_t blocks = (channels_ + kColumns - 1) / kColumns;
    step.ctx.For(batch * blocks, batch * length_ * channels_, [&](int64_t task) {
      const int64_t begin = task % blocks * kColumns;
      body(task / blocks, begin, std::min(channels_, begin + kColumns));
    });
  }

  int64_t length_ = 0, channels_ = 0;
};

// Inputs: x, token.
class TokenInFront final : public Operation {
 public:
  Result<Declaration> Declare(std::span<const TensorSpec> x, const Fused&,
                              const PlanOptions&) const override {
    LOCKSTEP_TRY(CheckSequence(x[0]));
    TensorSpec y = x[0];
    y.shape = {x[0].shape[0], x[0].shape[1] + 1, x[0].shape[2]};
    return Declaration{.outputs = {y}, .accumulates_dx = {false, true}};
  }

  void Book(std::span<const TensorSpec> x, Booking& booking) override {
    rows_ = booking.CutRows(1);
    row_ = x[0].shape[2];
    sample_ = x[0].shape.sample_size();
    if (booking.wants_dx(1))
      sums_ = booking.Book<float>(row_ * booking.options().shards, Life::kCall);
  }

  void Forward(const Step& step, const Operands& o) override {
    const int64_t batch = o.y().shape().batch();
    step.ctx.For(batch, batch * sample_, [&](int64_t b) {
      float* y = o.y_f32() + b * (sample_ + row_);
      std::copy_n(o.x_f32(1), row_, y);
      std::copy_n(o.x_f32(0) + b * sample_, sample_, y + row_);
    });
  }

  void Backward(const Step& step, const Operands& o) override {
    const int64_t batch = o.dy().shape().batch();
    if (float* dx = o.dx_f32(0); dx != nullptr) {
      step.ctx.For(batch, batch * sample_, [&](int64_t b) {
        std::copy_n(o.dy_f32() + b * (sample_ + row_) + row_, sample_, dx + b * sample_);
      });
    }
    if (float* dtoken = o.dx_f32(1); dtoken != nullptr) SumToken(step, o, dtoken);
  }

  Result<OnnxGraph::Value> Export(const Step&, const Operands& o, OnnxGraph& graph,
                                  std::span<const OnnxGraph::Value> x) const override {
    // As many copies of the token as there are samples: zeros of each sample's first row and it.
    const OnnxGraph::Value first = Slice(graph, x[0], 1, 0, 1);
    const OnnxGraph::Value zeros = graph.Add("Sub", {first, first});
    const OnnxGraph::Value tokens = graph.Add("Add", {zeros, x[1]});
    return graph.Add("Concat", {tokens, x[0]}, o.y().shape().WithBatch(1), {{"axis", int64_t{1}}});
  }

 private:
  // One after another within a shard, in double; then the tree over shards, in floats.
  void SumToken(const Step& step, const Operands& o, float* dtoken) const {
    const RowGrid& grid = step.rows(rows_);
    float* sums = step[sums_];
    step.ctx.For(grid.shards(), o.dy().shape().batch() * row_, [&](int64_t shard) {
      const IndexRange samples = grid.ShardRows(shard);
      for (int64_t c = 0; c < row_; ++c) {
        double sum = 0.0;
        for (int64_t b = samples.begin; b < samples.end; ++b)
          sum += static_cast<double>(o.dy_f32()[b * (sample_ + row_) + c]);
        sums[shard * row_ + c] = static_cast<float>(sum);
      }
    });
    step.ctx.For(1, row_ * grid.shards(), [&](int64_t) {
      MergeTree(0, grid.shards(), [&](int64_t into, int64_t from) {
        for (int64_t c = 0; c < row_; ++c) sums[into * row_ + c] += sums[from * row_ + c];
      });
      for (int64_t c = 0; c < row_; ++c)
        dtoken[c] = o.accumulate(1) ? dtoken[c] + sums[c] : sums[c];
    });
  }

  int64_t row_ = 0, sample_ = 0;
  Rows rows_;
  Buffer<float> sums_;
};

// Input: segments.
class SegmentInFront final : public Operation {
 public:
  Result<Declaration> Declare(std::span<const TensorSpec> x, const Fused&,
                              const PlanOptions&) const override {
    TensorSpec y = x[0];
    y.shape = {x[0].shape[0], x[0].shape[1] + 1};
    return Declaration{.outputs = {y}};
  }
  void Forward(const Step&, const Operands& o) override {
    const int64_t length = o.x(0).shape()[1];
    for (int64_t b = 0; b < o.y().shape().batch(); ++b) {
      int32_t* y = o.y().as<int32_t>() + b * (length + 1);
      y[0] = 0;
      std::copy_n(o.x(0).as<int32_t>() + b * length, length, y + 1);
    }
  }
  Result<OnnxGraph::Value> Export(const Step&, const Operands& o, OnnxGraph& graph,
                                  std::span<const OnnxGraph::Value> x) const override {
    const OnnxGraph::Value first = Slice(graph, x[0], 1, 0, 1);
    return graph.Add("Concat", {graph.Add("Sub", {first, first}), x[0]}, o.y().shape().WithBatch(1),
                     {{"axis", int64_t{1}}});
  }
};

// Input: x.
class FirstToken final : public Operation {
 public:
  Result<Declaration> Declare(std::span<const TensorSpec> x, const Fused&,
                              const PlanOptions&) const override {
    LOCKSTEP_TRY_ASSIGN(const TensorSpec y, OneToken(x[0]));
    return Declaration{.outputs = {y}};
  }
  void Book(std::span<const TensorSpec> x, Booking&) override {
    row_ = x[0].shape[2];
    sample_ = x[0].shape.sample_size();
  }
  void Forward(const Step&, const Operands& o) override {
    for (int64_t b = 0; b < o.y().shape().batch(); ++b)
      std::copy_n(o.x_f32(0) + b * sample_, row_, o.y_f32() + b * row_);
  }
  void Backward(const Step& step, const Operands& o) override {
    const int64_t batch = o.dy().shape().batch();
    step.ctx.For(batch, batch * sample_, [&](int64_t b) {
      float* dx = o.dx_f32(0) + b * sample_;
      std::copy_n(o.dy_f32() + b * row_, row_, dx);
      std::fill_n(dx + row_, sample_ - row_, 0.0f);
    });
  }
  Result<OnnxGraph::Value> Export(const Step&, const Operands&, OnnxGraph& graph,
                                  std::span<const OnnxGraph::Value> x) const override {
    return graph.Reshape(Slice(graph, x[0], 1, 0, 1), {1, row_});
  }

 private:
  int64_t row_ = 0, sample_ = 0;
};

// Input: x.
class PixelsAsTokens final : public Operation {
 public:
  Result<Declaration> Declare(std::span<const TensorSpec> x, const Fused&,
                              const PlanOptions&) const override {
    if (x[0].dtype != DType::kF32 || x[0].shape.rank() != 4) {
      return Status::Invalid("takes f32 (batch, height, width, channels), not " +
                             x[0].shape.ToString());
    }
    return Declaration{.outputs = {{.shape = Tokens(x[0].shape), .batched = x[0].batched}},
                       .is_view = true};
  }
  // Copies only where memory is not shared.
  void Forward(const Step&, const Operands& o) override {
    std::memcpy(o.y().data(), o.x(0).data(), o.x(0).bytes());
  }
  void Backward(const Step&, const Operands& o) override {
    std::memcpy(o.dx(0).data(), o.dy().data(), o.dy().bytes());
  }
  Result<OnnxGraph::Value> Export(const Step&, const Operands&, OnnxGraph& graph,
                                  std::span<const OnnxGraph::Value> x) const override {
    return graph.Reshape(x[0], Tokens(x[0].shape));
  }

 private:
  static Shape Tokens(const Shape& x) { return {x[0], x[1] * x[2], x[3]}; }
};

// Input: x.
class PositionsOfRows final : public Operation {
 public:
  Result<Declaration> Declare(std::span<const TensorSpec> x, const Fused&,
                              const PlanOptions&) const override {
    if (x[0].shape.rank() < 2)
      return Status::Invalid("takes (batch, tokens, ...), not " + x[0].shape.ToString());
    return Declaration{.outputs = {{.shape = {x[0].shape[0], x[0].shape[1]},
                                    .dtype = DType::kI32,
                                    .batched = x[0].batched}}};
  }
  void Forward(const Step&, const Operands& o) override {
    const int64_t length = o.y().shape()[1];
    for (int64_t i = 0; i < o.y().size(); ++i)
      o.y().as<int32_t>()[i] = static_cast<int32_t>(i % length);
  }
  Result<OnnxGraph::Value> Export(const Step&, const Operands& o, OnnxGraph& graph,
                                  std::span<const OnnxGraph::Value>) const override {
    std::vector<int64_t> positions(static_cast<size_t>(o.y().shape()[1]));
    for (size_t t = 0; t < positions.size(); ++t) positions[t] = static_cast<int64_t>(t);
    const auto length = static_cast<int64_t>(positions.size());
    return graph.AddIntegers("positions", {1, length}, std::move(positions));
  }
};

}  // namespace

Result<Value> AddPixelsAsTokens(Graph& graph, Value x) { return graph.Add(PixelsAsTokens(), {x}); }

Result<Value> AddPositions(Graph& graph, Value x) { return graph.Add(PositionsOfRows(), {x}); }

Result<Value> AddTokenMean(Graph& graph, Value x, Value segments) {
  return graph.Add(TokenMean(), {x, segments});
}

Result<Value> AddTokenInFront(Graph& graph, Value x, Value token) {
  return graph.Add(TokenInFront(), {x, token});
}

Result<Value> AddSegmentInFront(Graph& graph, Value segments) {
  if (!segments.valid()) return segments;
  return graph.Add(SegmentInFront(), {segments});
}

Result<Value> AddFirstToken(Graph& graph, Value x) { return graph.Add(FirstToken(), {x}); }

}  // namespace lockstep
