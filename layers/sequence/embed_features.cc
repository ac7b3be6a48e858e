// layers/sequence/embed_features.cc — x seen as (R, D + E), y as (R, D + sum of widths), w_e of
// feature D + e:
//   forward   y_r      = (x_r[0, D), w_0[x_rD], w_1[x_r(D + 1)], ...)
//   backward  dx_r     = (dy_r[0, D), 0, ...)
//             dw_e[v]  = sum over r with x_r(D + e) = v of e's part of dy_r     (id_gradient.h)
#include "layers/sequence/embed_features.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>

#include "layers/onnx_ops.h"
#include "layers/sequence/id_gradient.h"

namespace lockstep::inline v0_1 {
namespace {

constexpr int64_t kMostValues = int64_t{1} << 24;  // whole numbers below are exact in a float

// Of what Check has not seen, any number becomes one of the table.
int32_t IdOf(float feature, int64_t values) {
  const bool fits = feature >= 0.0f && feature < static_cast<float>(values);  // not a NaN
  return static_cast<int32_t>(fits ? feature : static_cast<float>(values - 1));
}

// Inputs: x, a weight for each of the last features.
class EmbedFeaturesOperation final : public Operation {
 public:
  Result<Declaration> Declare(std::span<const TensorSpec> x, const Fused&,
                              const PlanOptions&) const override {
    const auto embedded = static_cast<int64_t>(x.size()) - 1;
    if (x[0].dtype != DType::kF32 || x[0].shape.rank() < 2 || x[0].shape.channels() < embedded) {
      return Status::Invalid("takes f32 (batch, ..., features), the last " +
                             std::to_string(embedded) + " of which are embedded, not " +
                             NameOf(x[0].dtype) + " " + x[0].shape.ToString());
    }
    int64_t channels = x[0].shape.channels() - embedded;
    for (const TensorSpec& weight : x.subspan(1)) channels += weight.shape[1];
    TensorSpec y = x[0];
    y.shape = x[0].shape.WithChannels(channels);
    y.picture = {};
    std::vector<bool> weights(x.size(), true);
    weights[0] = false;
    std::vector<bool> reads(x.size(), false);
    reads[0] = true;
    return Declaration{.outputs = {y},
                       .reads_x = std::move(reads),
                       .accumulates_dx = weights,
                       .reports_dx = weights,
                       .flops = static_cast<double>(y.shape.size())};
  }

  void Book(std::span<const TensorSpec> x, Booking& booking) override {
    tables_.clear();
    int64_t most = 0;
    bool learns = false;
    for (size_t e = 1; e < x.size(); ++e) {
      tables_.push_back({x[e].shape[0], x[e].shape[1]});
      most = std::max(most, x[e].shape[0]);
      learns = learns || booking.wants_dx(static_cast<int>(e));
    }
    dense_ = x[0].shape.channels() - static_cast<int64_t>(tables_.size());
    if (!learns) return;
    ids_ = booking.Book<int32_t>(x[0].shape.rows(), Life::kCall);
    gradient_.Book(x[0].shape.rows(), x[0].shape.rows_per_sample(), most, booking);
  }

  Status Check(const Step&, const Operands& o) const override {
    const int64_t features = o.x(0).shape().channels(), rows = o.x(0).shape().rows();
    const float* x = o.x_f32(0);
    for (int64_t r = 0; r < rows; ++r) {
      for (size_t e = 0; e < tables_.size(); ++e) {
        const int64_t feature = dense_ + static_cast<int64_t>(e);
        const float value = x[r * features + feature];
        if (static_cast<float>(IdOf(value, tables_[e].values)) == value) continue;
        return Status::Invalid("feature " + std::to_string(feature) + " of row " +
                               std::to_string(r) + " is " + std::to_string(value) +
                               ", but is embedded: whole numbers from 0 to " +
                               std::to_string(tables_[e].values - 1));
      }
    }
    return Status::Ok();
  }

  void Forward(const Step& step, const Operands& o) override {
    const int64_t rows = o.x(0).shape().rows(), features = o.x(0).shape().channels();
    const int64_t channels = o.y().shape().channels();
    const float* x = o.x_f32(0);
    float* y = o.y_f32();
    constexpr int64_t kRows = 32;
    step.ctx.For((rows + kRows - 1) / kRows, o.y().size(), [&](int64_t block) {
      for (int64_t r = block * kRows; r < std::min(rows, (block + 1) * kRows); ++r) {
        const float* from = x + r * features;
        float* to = std::copy_n(from, dense_, y + r * channels);
        for (size_t e = 0; e < tables_.size(); ++e) {
          const auto [values, width] = tables_[e];
          const float* weight = o.x_f32(static_cast<int>(e) + 1);
          to = std::copy_n(weight + IdOf(from[dense_ + static_cast<int64_t>(e)], values) * width,
                           width, to);
        }
      }
    });
  }

  void Backward(const Step& step, const Operands& o) override {
    const int64_t rows = o.dy().shape().rows(), channels = o.dy().shape().channels();
    const int64_t features = dense_ + static_cast<int64_t>(tables_.size());
    const float *x = o.x_f32(0), *dy = o.dy_f32();
    if (float* dx = o.dx_f32(0); dx != nullptr) {
      for (int64_t r = 0; r < rows; ++r) {
        float* rest = std::copy_n(dy + r * channels, dense_, dx + r * features);
        std::fill_n(rest, tables_.size(), 0.0f);
      }
    }
    int64_t column = dense_;
    for (size_t e = 0; e < tables_.size(); ++e) {
      const auto [values, width] = tables_[e];
      const int input = static_cast<int>(e) + 1;
      if (float* dw = o.dx_f32(input); dw != nullptr) {
        int32_t* ids = step[ids_];
        for (int64_t r = 0; r < rows; ++r)
          ids[r] = IdOf(x[r * features + dense_ + static_cast<int64_t>(e)], values);
        gradient_.Run(step, {ids, static_cast<size_t>(rows)}, dy + column, channels, values, width,
                      o.accumulate(input), dw);
      }
      column += width;
    }
  }

  Result<OnnxGraph::Value> Export(const Step&, const Operands& o, OnnxGraph& graph,
                                  std::span<const OnnxGraph::Value> x) const override {
    const Shape shape = x[0].shape;
    std::vector<OnnxGraph::Value> parts;
    if (dense_ > 0) parts.push_back(Slice(graph, x[0], -1, 0, dense_));
    for (size_t e = 0; e < tables_.size(); ++e) {
      const int64_t feature = dense_ + static_cast<int64_t>(e);
      const OnnxGraph::Value number = Slice(graph, x[0], -1, feature, feature + 1);
      const auto places = shape.dims().first(static_cast<size_t>(shape.rank()) - 1);
      const OnnxGraph::Value id =
          graph.Reshape(graph.Cast(number, OnnxType::kInt64), Shape(places));
      parts.push_back(graph.Add("Gather", {x[e + 1], id}, shape.WithChannels(tables_[e].width)));
    }
    return graph.Add("Concat", parts, shape.WithChannels(o.y().shape().channels()),
                     {{"axis", int64_t{-1}}});
  }

 private:
  std::vector<EmbeddingTable> tables_;
  int64_t dense_ = 0;
  Buffer<int32_t> ids_;  // of one feature
  IdGradient gradient_;
};

}  // namespace

Result<Value> EmbedFeatures::Build(Graph& graph, Value x) const {
  std::vector<Value> inputs = {x};
  for (size_t e = 0; e < tables_.size(); ++e) {
    const auto [values, width] = tables_[e];
    if (values < 1 || values > kMostValues || width < 1) {
      return Status::Invalid("table " + std::to_string(e) + " has " + std::to_string(values) +
                             " vectors of " + std::to_string(width) +
                             " numbers; 1 to 2^24 vectors of at least one number are possible");
    }
    LOCKSTEP_TRY_ASSIGN(const Value weight,
                        graph.AddParameter(std::to_string(e) + ".weight", {values, width},
                                           Init::Normal(init_sd_), Decay::kYes));
    inputs.push_back(weight);
  }
  LOCKSTEP_TRY_ASSIGN(
      const std::vector<Value> outputs,
      graph.AddOperation(std::make_unique<EmbedFeaturesOperation>(), std::move(inputs)));
  return outputs.front();
}

}  // namespace lockstep
