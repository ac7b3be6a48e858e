// layers/upsample.cc: for each channel of each sample, along the rows and along the columns, with
// s = 1 / scale_factor where that was given and H / H' otherwise:
//   nearest   y[i] = x[floor(s i)]
//   linear    y[i] = (1 - p) x[j] + p x[j + 1],    j + p = max(0, s (i + 1/2) - 1/2), or where
//                                                  align_corners i (H - 1) / (H' - 1)
//   backward  dx[j] = sum over the i that read x[j], in ascending order, of its weight * dy[i]
#include "layers/upsample.h"

#include <cmath>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "layers/picture_shape.h"
#include "layers/resample_operation.h"

namespace lockstep {
namespace {

using Mode = UpsampleOptions::Mode;
using kernels::AxisTaps;

class UpsampleOperation final : public ResampleOperation {
 public:
  UpsampleOperation(AxisTaps rows, AxisTaps columns, const UpsampleOptions& options)
      : ResampleOperation(std::move(rows), std::move(columns)), options_(options) {}

 private:
  // ONNX takes scales, as single floats, and rounds down as we do; sizes it would take of the batch
  // too. Where a scale does not say which pixels are read, the matrices do.
  OnnxGraph::Value ExportChannelsFirst(OnnxGraph& graph, const OnnxGraph::Value& x) const override {
    const auto factor = options_.scale_factor.value_or(UpsampleOptions::Factor(0.0));
    const float h = ScaleOf(rows(), factor.h), w = ScaleOf(columns(), factor.w);
    const bool nearest = options_.mode == Mode::kNearest;
    if (!Agrees(rows(), h, nearest) || !Agrees(columns(), w, nearest))
      return ResampleOperation::ExportChannelsFirst(graph, x);
    const OnnxGraph::Value scales = graph.AddConstant("scales", {4}, {1.0f, 1.0f, h, w});
    OnnxGraph::Attributes attributes = {
        {"mode", std::string(nearest ? "nearest" : "linear")},
        {"coordinate_transformation_mode", std::string(nearest                  ? "asymmetric"
                                                       : options_.align_corners ? "align_corners"
                                                                                : "half_pixel")}};
    if (nearest) attributes.push_back({"nearest_mode", std::string("floor")});
    return graph.Add("Resize", {x, {}, scales}, OutChannelsFirst(x.shape), std::move(attributes));
  }

  // So that inputs * scale, rounded down, is the outputs.
  static float ScaleOf(const AxisTaps& taps, double factor) {
    if (factor > 0.0) return static_cast<float>(factor);
    const auto in = static_cast<float>(taps.inputs);
    float scale = static_cast<float>(taps.outputs()) / in;
    while (std::floor(in * scale) < static_cast<float>(taps.outputs()))
      scale = std::nextafter(scale, std::numeric_limits<float>::infinity());
    return scale;
  }
  static bool Agrees(const AxisTaps& taps, float scale, bool nearest) {
    const float outputs = std::floor(static_cast<float>(taps.inputs) * scale);
    if (outputs != static_cast<float>(taps.outputs())) return false;
    for (int64_t i = 0; nearest && i < taps.outputs(); ++i) {
      const auto place = static_cast<int64_t>(std::floor(static_cast<float>(i) / scale));
      if (std::min(place, taps.inputs - 1) != taps.from[static_cast<size_t>(i)]) return false;
    }
    return true;
  }

  UpsampleOptions options_;
};

Result<AxisTaps> TapsOf(const Shape& x, int64_t inputs, int64_t size, double factor,
                        const UpsampleOptions& options) {
  int64_t outputs = size;
  std::optional<double> scale;
  if (options.scale_factor) {
    const double wanted = std::floor(static_cast<double>(inputs) * factor);
    if (!(factor > 0.0) || !(wanted >= 1.0) || !(wanted <= static_cast<double>(kLargestExtent))) {
      return Status::Invalid("a scale_factor of " + std::to_string(factor) + " cannot be had of " +
                             std::to_string(inputs) + " pixels of " + x.ToString());
    }
    outputs = static_cast<int64_t>(wanted);
    scale = factor;
  } else if (size < 1 || size > kLargestExtent) {
    return Status::Invalid("a size of " + std::to_string(size) + " cannot be had of " +
                           x.ToString());
  }
  return options.mode == Mode::kNearest
             ? kernels::NearestTaps(inputs, outputs, scale)
             : kernels::LinearTaps(inputs, outputs, scale, options.align_corners);
}

}  // namespace

Result<Value> Upsample::Build(Graph& graph, Value x) const {
  LOCKSTEP_TRY(CheckPicture(graph.spec(x), /*pictures=*/true, /*signals=*/true));
  if (options_.size.has_value() == options_.scale_factor.has_value())
    return Status::Invalid("takes a size or a scale_factor, one of them");
  if (options_.align_corners && options_.mode == Mode::kNearest)
    return Status::Invalid("align_corners is for the linear mode alone");
  const Shape& shape = graph.shape(x);
  const PictureShape in(shape);
  const Window size = options_.size.value_or(Window());
  const auto factor = options_.scale_factor.value_or(UpsampleOptions::Factor());
  LOCKSTEP_TRY_ASSIGN(AxisTaps rows, TapsOf(shape, in.h, in.signal ? 1 : size.h,
                                            in.signal ? 1.0 : factor.h, options_));
  LOCKSTEP_TRY_ASSIGN(AxisTaps columns, TapsOf(shape, in.w, size.w, factor.w, options_));
  if (rows.IsIdentity() && columns.IsIdentity()) return x;
  return graph.Add(UpsampleOperation(std::move(rows), std::move(columns), options_), {x});
}

}  // namespace lockstep
