// layers/sequence/places.cc — of a row of tokens, with the separator s:
//   segment_t   = how often s comes before t               -1 where token_t is padding
//   position_t  = how many j < t have segment_j = segment_t  0 where token_t is padding
#include "layers/sequence/places.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

namespace lockstep::inline v0_1 {
namespace {

Status CheckTokens(const TensorSpec& tokens) {
  if (tokens.dtype == DType::kI32 && tokens.shape.rank() == 2) return Status::Ok();
  return Status::Invalid("tokens are i32 (batch, tokens), not " +
                         std::string(NameOf(tokens.dtype)) + " " + tokens.shape.ToString());
}

// In ONNX tokens and places are integers of 64 bits.
OnnxGraph::Value Integer(OnnxGraph& graph, const std::string& name, int64_t value) {
  return graph.AddIntegers(name, {}, {value});
}

// 1 where `condition`, else 0.
OnnxGraph::Value Counted(OnnxGraph& graph, const OnnxGraph::Value& condition) {
  return graph.Add("Where", {condition, Integer(graph, "one", 1), Integer(graph, "zero", 0)},
                   condition.shape);
}

// Of numbers n (B, T, T), or (B, 1, T): the sum over all i < t of n_ti.
OnnxGraph::Value SumOfEarlier(OnnxGraph& graph, const OnnxGraph::Value& n) {
  const int64_t length = n.shape.channels();
  std::vector<int64_t> earlier(static_cast<size_t>(length * length), 0);
  for (int64_t t = 0; t < length; ++t) std::fill_n(earlier.begin() + t * length, t, 1);
  const OnnxGraph::Value kept =
      graph.Add("Mul", {n, graph.AddIntegers("earlier", {length, length}, std::move(earlier))},
                {1, length, length});
  return graph.Add("ReduceSum", {kept, graph.AddIntegers("axes", {1}, {2})}, {1, length},
                   {{"keepdims", int64_t{0}}});
}

// Input: tokens.
class SegmentsOperation final : public Operation {
 public:
  explicit SegmentsOperation(const PlacesOptions& options) : options_(options) {}

  Result<Declaration> Declare(std::span<const TensorSpec> x, const Fused&,
                              const PlanOptions&) const override {
    LOCKSTEP_TRY(CheckTokens(x[0]));
    return Declaration{.outputs = {x[0]}};
  }

  void Forward(const Step& step, const Operands& o) override {
    const int64_t length = o.y().shape()[1];
    const int32_t* tokens = o.x(0).as<int32_t>();
    int32_t* segments = o.y().as<int32_t>();
    step.ctx.For(o.y().shape().batch(), o.y().size(), [&](int64_t row) {
      int32_t text = 0;
      for (int64_t i = row * length; i < (row + 1) * length; ++i) {
        segments[i] = tokens[i] == kPaddingToken ? -1 : text;
        text += tokens[i] == options_.separator && tokens[i] != kPaddingToken;
      }
    });
  }

  Result<OnnxGraph::Value> Export(const Step&, const Operands&, OnnxGraph& graph,
                                  std::span<const OnnxGraph::Value> x) const override {
    const OnnxGraph::Value valid =
        graph.Add("Greater", {x[0], Integer(graph, "padding", kPaddingToken)});
    OnnxGraph::Value text = Integer(graph, "text", 0);
    if (options_.separator >= 0) {
      const OnnxGraph::Value ends = Counted(
          graph, graph.Add("Equal", {x[0], Integer(graph, "separator", options_.separator)}));
      text = SumOfEarlier(graph, graph.Reshape(ends, {1, 1, ends.shape[1]}));
    }
    return graph.Add("Where", {valid, text, Integer(graph, "none", -1)}, x[0].shape);
  }

 private:
  PlacesOptions options_;
};

// Inputs: tokens, their segments or nothing.
class PositionsOperation final : public Operation {
 public:
  Result<Declaration> Declare(std::span<const TensorSpec> x, const Fused&,
                              const PlanOptions& options) const override {
    LOCKSTEP_TRY(CheckTokens(x[0]));
    if (options.cache_tokens > 0 && x[0].shape[1] != 1) {
      return Status::Invalid("where a text goes on, tokens come as (tokens, 1), not " +
                             x[0].shape.ToString());
    }
    return Declaration{.outputs = {x[0]}};
  }

  void Book(std::span<const TensorSpec>, Booking& booking) override {
    cache_tokens_ = booking.options().cache_tokens;
  }

  Status Check(const Step& step, const Operands& o) const override {
    const int64_t tokens = step.first_token + o.x(0).shape().batch();
    if (cache_tokens_ == 0 || (step.first_token >= 0 && tokens <= cache_tokens_))
      return Status::Ok();
    return Status::Invalid("the text would be " + std::to_string(tokens) +
                           " tokens long; there is room for " + std::to_string(cache_tokens_));
  }

  void Forward(const Step& step, const Operands& o) override {
    const int64_t length = o.y().shape()[1];
    int32_t* positions = o.y().as<int32_t>();
    if (cache_tokens_ > 0) {
      for (int64_t i = 0; i < o.y().size(); ++i)
        positions[i] = static_cast<int32_t>(step.first_token + i);
      return;
    }
    const int32_t* segments = o.x(1).empty() ? nullptr : o.x(1).as<int32_t>();
    step.ctx.For(o.y().shape().batch(), o.y().size(), [&](int64_t row) {
      int32_t text = -1, next = 0;
      for (int64_t i = row * length; i < (row + 1) * length; ++i) {
        const int32_t segment = segments == nullptr ? 0 : segments[i];
        if (segment >= 0 && segment != text) text = segment, next = 0;
        positions[i] = segment < 0 ? 0 : next++;
      }
    });
  }

  Result<OnnxGraph::Value> Export(const Step&, const Operands& o, OnnxGraph& graph,
                                  std::span<const OnnxGraph::Value> x) const override {
    const int64_t length = o.y().shape()[1];
    if (x[1].name.empty()) {
      std::vector<int64_t> positions(static_cast<size_t>(length));
      for (int64_t t = 0; t < length; ++t) positions[static_cast<size_t>(t)] = t;
      return graph.AddIntegers("positions", {1, length}, std::move(positions));
    }
    const OnnxGraph::Value one_text = graph.Add(
        "Equal", {graph.Reshape(x[1], {1, length, 1}), graph.Reshape(x[1], {1, 1, length})},
        {1, length, length});
    const OnnxGraph::Value count = SumOfEarlier(graph, Counted(graph, one_text));
    const OnnxGraph::Value valid = graph.Add("Greater", {x[1], Integer(graph, "padding", -1)});
    return graph.Add("Where", {valid, count, Integer(graph, "none", 0)}, x[1].shape);
  }

 private:
  int64_t cache_tokens_ = 0;
};

}  // namespace

Result<Places> PlacesOf(Graph& graph, Value tokens, const PlacesOptions& options) {
  LOCKSTEP_TRY(CheckTokens(graph.spec(tokens)));
  Places places;
  // A text that goes on is one text without padding: an embedding refuses kPaddingToken there.
  if ((options.padded || options.separator >= 0) && graph.options().cache_tokens == 0) {
    LOCKSTEP_TRY_ASSIGN(places.segments, graph.Add(SegmentsOperation(options), {tokens}));
  }
  LOCKSTEP_TRY_ASSIGN(places.positions, graph.Add(PositionsOperation(), {tokens, places.segments}));
  return places;
}

}  // namespace lockstep
