// layers/picture/upsample.cc: for each channel of each sample, along the rows and along the
// columns, with s = 1 / scale_factor where that was given and H / H' otherwise:
//   nearest   y[i] = x[floor(s i)]
//   linear    y[i] = (1 - p) x[j] + p x[j + 1],    j + p = max(0, s (i + 1/2) - 1/2), or where
//                                                  align_corners i (H - 1) / (H' - 1)
//   backward  dx[j] = sum over the i that read x[j], in ascending order, of its weight * dy[i]
#include "layers/picture/upsample.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "layers/picture/picture_shape.h"
#include "layers/picture/resample_operation.h"

namespace lockstep::inline v0_1 {
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
    const bool aligned = options_.align_corners;
    if (!Agrees(rows(), h, nearest, aligned) || !Agrees(columns(), w, nearest, aligned))
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

  // So that inputs * scale, rounded down, is the outputs, in single and in double precision.
  static float ScaleOf(const AxisTaps& taps, double factor) {
    if (taps.IsIdentity()) return 1.0f;
    if (factor > 0.0) return static_cast<float>(factor);
    const auto in = static_cast<double>(taps.inputs), out = static_cast<double>(taps.outputs());
    auto scale = static_cast<float>(out / in);
    while (in * static_cast<double>(scale) < out)
      scale = std::nextafter(scale, std::numeric_limits<float>::infinity());
    return scale;
  }
  static bool Agrees(const AxisTaps& taps, float scale, bool nearest, bool align_corners) {
    const float length = static_cast<float>(taps.inputs) * scale;
    const auto outputs = static_cast<float>(taps.outputs());
    const double exact_length = static_cast<double>(taps.inputs) * static_cast<double>(scale);
    if (std::floor(length) != outputs || static_cast<int64_t>(exact_length) != taps.outputs())
      return false;
    // Corners of ONNX lie at the length that is not rounded.
    if (align_corners && length > outputs * 1.000001f) return false;
    for (int64_t i = 0; nearest && i < taps.outputs(); ++i) {
      const float at = static_cast<float>(i) / scale;
      const double exact = static_cast<double>(i) / static_cast<double>(scale);
      const auto place = static_cast<int64_t>(exact);
      if (static_cast<int64_t>(at) != place ||
          std::min(place, taps.inputs - 1) != taps.from[static_cast<size_t>(i)]) {
        return false;
      }
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
