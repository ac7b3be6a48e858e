// layers/attention/attention_operation.cc — formulas: engine/ops/attention.h, with
// scale = 1 / sqrt(head_size). Of a text that goes on, row r of a step is its token
// first_token + r: query r sees the first_token keys before this step and the r + 1 up to itself.
#include "layers/attention/attention_operation.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "layers/onnx_ops.h"

namespace lockstep::inline v0_1 {
namespace {

Status CheckSegments(const TensorSpec& segments, const TensorSpec& rows, const char* of) {
  if (segments.shape.rank() == 0) return Status::Ok();  // left out
  if (segments.dtype == DType::kI32 && segments.shape.rank() == 2 &&
      segments.shape[0] == rows.shape[0] && segments.shape[1] == rows.shape[1])
    return Status::Ok();
  return Status::Invalid("segments " + segments.shape.ToString() + " are not those of " + of + " " +
                         rows.shape.ToString());
}

// Far below every score, and yet a number: where nothing is seen, ONNX's softmax of it is no NaN.
constexpr double kUnseen = -1e30;

}  // namespace

Result<Declaration> AttentionOperation::Declare(std::span<const TensorSpec> x, const Fused&,
                                                const PlanOptions& options) const {
  const bool memory = x[1].shape.rank() > 0;
  const int64_t width = memory ? QueryWidth() : QueryWidth() + 2 * KeyWidth();
  if (x[0].shape.rank() != 3 || x[0].shape.channels() != width) {
    return Status::Invalid("takes (batch, tokens, " + std::to_string(width) + "), not " +
                           x[0].shape.ToString());
  }
  if (memory && (x[1].shape.rank() != 3 || x[1].shape[0] != x[0].shape[0] ||
                 x[1].shape.channels() != 2 * KeyWidth())) {
    return Status::Invalid("keys and values " + x[1].shape.ToString() + " do not go with queries " +
                           x[0].shape.ToString());
  }
  const TensorSpec& keys = memory ? x[1] : x[0];
  LOCKSTEP_TRY(CheckSegments(x[2], x[0], "queries"));
  LOCKSTEP_TRY(CheckSegments(x[3], keys, "keys"));
  if ((x[2].shape.rank() == 0) != (x[3].shape.rank() == 0)) {
    return Status::Invalid("segments are needed of queries and of keys, or of neither");
  }
  if (options.cache_tokens > 0 && (memory || !spec_.causal)) {
    return Status::Invalid("a text can go on only where attention is causal and without memory");
  }
  TensorSpec y = x[0];
  y.shape = x[0].shape.WithChannels(QueryWidth());
  return Declaration{.outputs = {y},
                     .reads_x = {true, true, true, true},
                     .reads_y = {true},
                     .flops = (spec_.causal ? 2.0 : 4.0) * static_cast<double>(y.shape.size()) *
                              static_cast<double>(options.cache_tokens > 0 ? options.cache_tokens
                                                                           : keys.shape[1])};
}

void AttentionOperation::Book(std::span<const TensorSpec> x, Booking& booking) {
  const PlanOptions& options = booking.options();
  has_memory_ = x[1].shape.rank() > 0;
  cache_tokens_ = options.cache_tokens;
  const int64_t batch = x[0].shape.batch();
  shape_ = {.queries = x[0].shape[1],
            .keys = has_memory_ ? x[1].shape[1] : x[0].shape[1],
            .heads = spec_.heads,
            .key_heads = spec_.key_heads,
            .head_size = spec_.head_size,
            .scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(spec_.head_size))),
            .causal = spec_.causal,
            .dropout = options.training && !options.evaluates ? spec_.dropout : 0.0};
  if (cache_tokens_ > 0) {
    shape_.queries = batch;
    shape_.keys = cache_tokens_;
    cache_ = booking.Book(cache_tokens_ * 2 * KeyWidth(), Life::kBound);
    scratch_floats_ = ops::AttentionScratch(options.threads, shape_, 1, /*backward=*/false);
    scratch_ = booking.Book(scratch_floats_, Life::kCall);
    return;
  }
  scratch_floats_ = ops::AttentionScratch(options.threads, shape_, batch, /*backward=*/false);
  if (options.training) {
    scratch_floats_ =
        std::max(scratch_floats_, ops::AttentionScratch(options.threads, shape_, batch, true));
    log_sum_ = booking.Book(batch * spec_.heads * shape_.queries, Life::kStep);
    if (has_memory_ && !(booking.wants_dx(0) && booking.wants_dx(1)))
      unwanted_ = booking.Book(x[booking.wants_dx(0) ? 1 : 0].shape.size(), Life::kCall);
  }
  scratch_ = booking.Book(scratch_floats_, Life::kCall);
}

ops::AttentionArgs AttentionOperation::Args(const Step& step, const Operands& o) const {
  const float* packed = has_memory_ ? o.x_f32(1) : o.x_f32(0) + QueryWidth();
  const bool segments = !o.x(2).empty();
  return {.batch = o.x(0).shape().batch(),
          .q = o.x_f32(0),
          .q_stride = o.x(0).shape().channels(),
          .k = packed,
          .v = packed + KeyWidth(),
          .kv_stride = o.x(has_memory_ ? 1 : 0).shape().channels(),
          .q_segments = segments ? o.x(2).as<int32_t>() : nullptr,
          .k_segments = segments ? o.x(3).as<int32_t>() : nullptr,
          .y = o.y_f32(),
          .y_stride = QueryWidth(),
          .log_sum = log_sum_.valid() ? step[log_sum_] : nullptr,
          .seed = step.seed,
          .stream = spec_.stream,
          .step = step.index,
          .first_sample = step.first_sample};
}

void AttentionOperation::Forward(const Step& step, const Operands& o) {
  if (cache_tokens_ > 0) return GoOn(step, o);
  ops::AttentionForward(step.ctx, shape_, Args(step, o),
                        {step[scratch_], static_cast<size_t>(scratch_floats_)});
}

void AttentionOperation::Backward(const Step& step, const Operands& o) {
  const bool wants_dq = !o.dx(0).empty();
  ops::AttentionGradients gradients{.dy = o.dy_f32()};
  gradients.dq = wants_dq ? o.dx_f32(0) : step[unwanted_];
  gradients.dk = !has_memory_      ? gradients.dq + QueryWidth()
                 : o.dx(1).empty() ? step[unwanted_]
                                   : o.dx_f32(1);
  gradients.dv = gradients.dk + KeyWidth();
  ops::AttentionBackward(step.ctx, shape_, Args(step, o), gradients,
                         {step[scratch_], static_cast<size_t>(scratch_floats_)});
}

void AttentionOperation::GoOn(const Step& step, const Operands& o) {
  const int64_t rows = o.x(0).shape().batch(), width = o.x(0).shape().channels();
  const int64_t kept = 2 * KeyWidth(), keys = step.first_token + rows;
  LOCKSTEP_CHECK(step.first_token >= 0 && keys <= cache_tokens_, "more tokens than there is room");
  float* cache = step[cache_];
  for (int64_t r = 0; r < rows; ++r) {
    std::memcpy(cache + (step.first_token + r) * kept, o.x_f32(0) + r * width + QueryWidth(),
                static_cast<size_t>(kept) * sizeof(float));
  }
  ops::AttentionShape shape = shape_;
  shape.queries = rows;
  shape.keys = keys;
  shape.causal_offset = step.first_token;
  ops::AttentionForward(step.ctx, shape,
                        {.batch = rows > 0 ? 1 : 0,
                         .q = o.x_f32(0),
                         .q_stride = width,
                         .k = cache,
                         .v = cache + KeyWidth(),
                         .kv_stride = kept,
                         .y = o.y_f32(),
                         .y_stride = QueryWidth()},
                        {step[scratch_], static_cast<size_t>(scratch_floats_)});
}

// Heads go in front as (B, key heads, queries of each, T, D); without groups as (B, heads, T, D).
Result<OnnxGraph::Value> AttentionOperation::Export(const Step&, const Operands&, OnnxGraph& graph,
                                                    std::span<const OnnxGraph::Value> x) const {
  const int64_t heads = spec_.heads, key_heads = spec_.key_heads, size = spec_.head_size;
  const int64_t queries = shape_.queries, keys = shape_.keys, group = heads / key_heads;
  const bool grouped = group > 1;
  const OnnxGraph::Value& packed = x[has_memory_ ? 1 : 0];
  const int64_t at = has_memory_ ? 0 : QueryWidth();
  const auto part = [&](const OnnxGraph::Value& from, int64_t begin, int64_t width) {
    return begin == 0 && width == from.shape.channels()
               ? from
               : Slice(graph, from, -1, begin, begin + width);
  };
  const auto of_keys = [&](int64_t begin, std::vector<int64_t> order, Shape with_group) {
    const OnnxGraph::Value y = Transpose(
        graph, graph.Reshape(part(packed, begin, KeyWidth()), {1, keys, key_heads, size}), order);
    return grouped ? graph.Reshape(y, with_group) : y;
  };
  const OnnxGraph::Value rows = part(x[0], 0, QueryWidth());
  const OnnxGraph::Value q =
      grouped ? Transpose(graph, graph.Reshape(rows, {1, queries, key_heads, group, size}),
                          {0, 2, 3, 1, 4})
              : Transpose(graph, graph.Reshape(rows, {1, queries, heads, size}), {0, 2, 1, 3});
  const OnnxGraph::Value k = of_keys(at, {0, 2, 3, 1}, {1, key_heads, 1, size, keys});
  const OnnxGraph::Value v = of_keys(at + KeyWidth(), {0, 2, 1, 3}, {1, key_heads, 1, keys, size});
  const Shape scores_shape =
      grouped ? Shape{1, key_heads, group, queries, keys} : Shape{1, heads, queries, keys};
  OnnxGraph::Value scores =
      graph.Add("Mul", {graph.Add("MatMul", {q, k}, scores_shape), graph.Scalar(shape_.scale)});
  if (spec_.causal) {
    std::vector<float> unseen(static_cast<size_t>(queries * keys), 0.0f);
    for (int64_t i = 0; i < queries; ++i) {
      for (int64_t j = i + 1; j < keys; ++j)
        unseen[static_cast<size_t>(i * keys + j)] = static_cast<float>(kUnseen);
    }
    scores = graph.Add("Add", {scores, graph.AddConstant("later", {queries, keys}, unseen)});
  }
  OnnxGraph::Value seen;
  if (!x[2].name.empty()) {
    const Shape as_query = grouped ? Shape{1, 1, 1, queries, 1} : Shape{1, 1, queries, 1};
    const Shape as_key = grouped ? Shape{1, 1, 1, 1, keys} : Shape{1, 1, 1, keys};
    const OnnxGraph::Value of_key = graph.Reshape(x[3], as_key);
    const OnnxGraph::Value valid =
        graph.Add("Greater", {of_key, graph.AddIntegers("padding", {}, {-1})});
    const OnnxGraph::Value one_text =
        graph.Add("Equal", {graph.Reshape(x[2], as_query), of_key}, as_query.WithChannels(keys));
    seen = graph.Add("And", {one_text, valid});
    scores = graph.Add("Where", {seen, scores, graph.Scalar(kUnseen)}, scores_shape);
  }
  OnnxGraph::Value p = graph.Add("Softmax", {scores}, {{"axis", int64_t{-1}}});
  if (!x[2].name.empty()) p = graph.Add("Where", {seen, p, graph.Scalar(0.0)}, scores_shape);
  const OnnxGraph::Value y = graph.Add("MatMul", {p, v}, scores_shape.WithChannels(size));
  return graph.Reshape(
      Transpose(graph, y,
                grouped ? std::vector<int64_t>{0, 3, 1, 2, 4} : std::vector<int64_t>{0, 2, 1, 3}),
      {1, queries, QueryWidth()});
}

}  // namespace lockstep
