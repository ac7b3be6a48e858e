// layers/sequence/places.cc — of a row of tokens, with the separator s:
//   segment_t   = how often s comes before t               -1 where token_t is padding
//   position_t  = how many j < t have segment_j = segment_t  0 where token_t is padding
#include "layers/sequence/places.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

namespace lockstep {
namespace {

Status CheckTokens(const TensorSpec& tokens) {
  if (tokens.dtype == DType::kI32 && tokens.shape.rank() == 2) return Status::Ok();
  return Status::Invalid("tokens are i32 (batch, tokens), not " +
                         std::string(NameOf(tokens.dtype)) + " " + tokens.shape.ToString());
}

// ONNX's integers are of 64 bits.
OnnxGraph::Value Wide(OnnxGraph& graph, const OnnxGraph::Value& x) {
  return graph.Add("Cast", {x}, {{"to", int64_t{7}}});
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
    const OnnxGraph::Value tokens = Wide(graph, x[0]);
    const OnnxGraph::Value padding = graph.AddIntegers("padding", {}, {kPaddingToken});
    const OnnxGraph::Value valid = Wide(graph, graph.Add("Greater", {tokens, padding}));
    const OnnxGraph::Value one = graph.AddIntegers("one", {}, {1});
    if (options_.separator < 0) return graph.Add("Sub", {valid, one});
    const OnnxGraph::Value separator = graph.AddIntegers("separator", {}, {options_.separator});
    const OnnxGraph::Value ends = Wide(graph, graph.Add("Equal", {tokens, separator}));
    const OnnxGraph::Value text =
        graph.Add("CumSum", {ends, one}, ends.shape, {{"exclusive", int64_t{1}}});
    // (text + 1) valid - 1
    const OnnxGraph::Value counted = graph.Add("Mul", {graph.Add("Add", {text, one}), valid});
    return graph.Add("Sub", {counted, one});
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
    // Counts pairs of one text by a product with a row of ones: earlier (T, T) is 1 below the
    // diagonal.
    std::vector<float> earlier(static_cast<size_t>(length * length), 0.0f);
    for (int64_t t = 0; t < length; ++t) std::fill_n(earlier.begin() + t * length, t, 1.0f);
    const OnnxGraph::Value one_text = graph.Add(
        "Equal", {graph.Reshape(x[1], {1, length, 1}), graph.Reshape(x[1], {1, 1, length})},
        {1, length, length});
    const OnnxGraph::Value pairs =
        graph.Add("Mul", {graph.Add("Cast", {one_text}, {{"to", int64_t{1}}}),
                          graph.AddConstant("earlier", {length, length}, std::move(earlier))});
    const OnnxGraph::Value ones = graph.AddConstant(
        "ones", {length, 1}, std::vector<float>(static_cast<size_t>(length), 1.0f));
    const OnnxGraph::Value count =
        graph.Reshape(graph.Add("MatMul", {pairs, ones}, {1, length, 1}), {1, length});
    const OnnxGraph::Value padding = graph.AddIntegers("padding", {}, {-1});
    const OnnxGraph::Value valid = graph.Add("Greater", {x[1], padding});
    return graph.Add("Where", {valid, Wide(graph, count), graph.AddIntegers("zero", {}, {0})},
                     x[1].shape);
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
