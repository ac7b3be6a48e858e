// layers/sequence/embedding.cc — ids seen as (R), y as (R, C), w (V, C).
//   forward   y_r  = w[id_r],  0 where id_r is padding
//   backward  dw_v = sum over r with id_r = v of dy_r      (id_gradient.h)
#include "layers/sequence/embedding.h"

#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

#include "layers/sequence/id_gradient.h"
#include "layers/sequence/places.h"

namespace lockstep::inline v0_1 {
namespace {

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
    count_ = x[1].shape[0];
    channels_ = x[1].shape[1];
    may_be_padding_ = padded_ && booking.options().cache_tokens == 0;
    if (booking.wants_dx(1))
      gradient_.Book(x[0].shape.size(), x[0].shape.sample_size(), count_, booking);
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
    gradient_.Run(step, o.x(0).span<int32_t>(), o.dy_f32(), channels_, count_, channels_,
                  o.accumulate(1), dw);
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
  bool padded_;
  bool may_be_padding_ = false;
  int64_t count_ = 0, channels_ = 0;
  IdGradient gradient_;
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
