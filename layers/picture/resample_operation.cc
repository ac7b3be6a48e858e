#include "layers/picture/resample_operation.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "engine/ops/resample.h"
#include "layers/onnx_ops.h"
#include "layers/picture/picture_shape.h"

namespace lockstep::inline v0_1 {
namespace {

// The matrix (outputs, inputs) of one axis, or its transpose.
std::vector<float> MatrixOf(const kernels::AxisTaps& taps, bool transposed) {
  std::vector<float> matrix(static_cast<size_t>(taps.outputs() * taps.inputs), 0.0f);
  for (int64_t i = 0; i < taps.outputs(); ++i) {
    const auto output = static_cast<size_t>(i);
    for (int64_t t = taps.first[output]; t < taps.first[output + 1]; ++t) {
      const auto tap = static_cast<size_t>(t);
      const int64_t from = taps.from[tap];
      const int64_t at = transposed ? from * taps.outputs() + i : i * taps.inputs + from;
      matrix[static_cast<size_t>(at)] +=
          (taps.weight.empty() ? 1.0f : taps.weight[tap]) / taps.DivisorOf(i);
    }
  }
  return matrix;
}

}  // namespace

ResampleOperation::ResampleOperation(kernels::AxisTaps rows, kernels::AxisTaps columns)
    : rows_(std::move(rows)),
      columns_(std::move(columns)),
      turned_rows_(kernels::Turned(rows_)),
      turned_columns_(kernels::Turned(columns_)) {}

Result<Declaration> ResampleOperation::Declare(std::span<const TensorSpec> x, const Fused&,
                                               const PlanOptions&) const {
  TensorSpec y = x[0];
  const PictureShape in(x[0].shape);
  y.shape = in.With(rows_.outputs(), columns_.outputs());
  const double sums = static_cast<double>(rows_.taps()) * static_cast<double>(in.w) +
                      static_cast<double>(rows_.outputs()) * static_cast<double>(columns_.taps());
  return Declaration{
      .outputs = {y},
      .accumulates_dx = {true},
      .flops = 2.0 * sums * static_cast<double>(in.c) * static_cast<double>(in.batch)};
}

void ResampleOperation::Book(std::span<const TensorSpec> x, Booking& booking) {
  channels_ = x[0].shape.channels();
  const int threads = booking.options().threads;
  scratch_floats_ = ops::ResampleScratch(threads, columns_, channels_);
  if (booking.wants_dx(0))
    scratch_floats_ =
        std::max(scratch_floats_, ops::ResampleScratch(threads, turned_columns_, channels_));
  scratch_ = booking.Book(scratch_floats_, Life::kCall);
}

void ResampleOperation::Forward(const Step& step, const Operands& o) {
  ops::Resample(
      step.ctx, rows_, columns_,
      {.batch = o.x(0).shape().batch(), .channels = channels_, .x = o.x_f32(0), .y = o.y_f32()},
      {step[scratch_], static_cast<size_t>(scratch_floats_)});
}

void ResampleOperation::Backward(const Step& step, const Operands& o) {
  ops::Resample(step.ctx, turned_rows_, turned_columns_,
                {.batch = o.dy().shape().batch(),
                 .channels = channels_,
                 .x = o.dy_f32(),
                 .y = o.dx_f32(0),
                 .accumulate = o.accumulate(0)},
                {step[scratch_], static_cast<size_t>(scratch_floats_)});
}

Result<OnnxGraph::Value> ResampleOperation::Export(const Step&, const Operands&, OnnxGraph& graph,
                                                   std::span<const OnnxGraph::Value> x) const {
  const PictureShape in(x[0].shape);
  const OnnxGraph::Value picture =
      ToChannelsFirst(graph, graph.Reshape(x[0], {in.batch, in.h, in.w, in.c}));
  const OnnxGraph::Value y = ToChannelsLast(graph, ExportChannelsFirst(graph, picture));
  return graph.Reshape(y, in.With(rows_.outputs(), columns_.outputs()));
}

OnnxGraph::Value ResampleOperation::ExportChannelsFirst(OnnxGraph& graph,
                                                        const OnnxGraph::Value& x) const {
  OnnxGraph::Value y = x;
  if (!columns_.IsIdentity()) {
    const OnnxGraph::Value matrix = graph.AddConstant(
        "columns", {columns_.inputs, columns_.outputs()}, MatrixOf(columns_, /*transposed=*/true));
    y = graph.Add("MatMul", {y, matrix}, {x.shape[0], x.shape[1], x.shape[2], columns_.outputs()});
  }
  if (!rows_.IsIdentity()) {
    const OnnxGraph::Value matrix = graph.AddConstant("rows", {rows_.outputs(), rows_.inputs},
                                                      MatrixOf(rows_, /*transposed=*/false));
    y = graph.Add("MatMul", {matrix, y}, OutChannelsFirst(x.shape));
  }
  return y;
}

}  // namespace lockstep
