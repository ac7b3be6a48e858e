// layers/picture/adaptive_pool.cc: for each channel of each sample, n the places of a window,
//   forward   y = (sum of x over the window) / n
//   backward  dx[h, w] = sum of dy / n over the windows that hold (h, w): they may overlap
#include "layers/picture/adaptive_pool.h"

#include <vector>

#include "layers/picture/picture_shape.h"
#include "layers/picture/resample_operation.h"

namespace lockstep::inline v0_1 {
namespace {

class AdaptiveAvgPoolOperation final : public ResampleOperation {
 public:
  using ResampleOperation::ResampleOperation;

 private:
  OnnxGraph::Value ExportChannelsFirst(OnnxGraph& graph, const OnnxGraph::Value& x) const override {
    const Shape out = OutChannelsFirst(x.shape);
    if (out[2] == 1 && out[3] == 1) return graph.Add("GlobalAveragePool", {x}, out);
    // Windows that are not all alike are nothing that ONNX has.
    if (x.shape[2] % out[2] != 0 || x.shape[3] % out[3] != 0)
      return ResampleOperation::ExportChannelsFirst(graph, x);
    const std::vector<int64_t> window = {x.shape[2] / out[2], x.shape[3] / out[3]};
    return graph.Add("AveragePool", {x}, out, {{"kernel_shape", window}, {"strides", window}});
  }
};

Result<Value> BuildAdaptive(Graph& graph, Value x, Window output) {
  const PictureShape in(graph.shape(x));
  for (const int64_t extent : {output.h, output.w}) {
    if (extent < 0 || extent > kLargestExtent)
      return Status::Invalid("cannot give " + std::to_string(extent) +
                             " averages along one side of " + graph.shape(x).ToString());
  }
  kernels::AxisTaps rows = kernels::AdaptiveAverageTaps(in.h, output.h == 0 ? in.h : output.h);
  kernels::AxisTaps columns = kernels::AdaptiveAverageTaps(in.w, output.w == 0 ? in.w : output.w);
  if (rows.IsIdentity() && columns.IsIdentity()) return x;
  return graph.Add(AdaptiveAvgPoolOperation(std::move(rows), std::move(columns)), {x});
}

}  // namespace

Result<Value> AdaptiveAvgPool2d::Build(Graph& graph, Value x) const {
  LOCKSTEP_TRY(CheckPicture(graph.spec(x), /*pictures=*/true, /*signals=*/false));
  return BuildAdaptive(graph, x, output_);
}

Result<Value> AdaptiveAvgPool1d::Build(Graph& graph, Value x) const {
  LOCKSTEP_TRY(CheckPicture(graph.spec(x), /*pictures=*/false, /*signals=*/true));
  return BuildAdaptive(graph, x, {1, output_});
}

}  // namespace lockstep
