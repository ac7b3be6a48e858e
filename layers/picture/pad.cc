// layers/picture/pad.cc: for each channel of each sample, from(h) the row of x that row h of y
// repeats, if any (columns likewise):
//   forward   y[h, w] = x[from(h), from(w)], or 0
//   backward  dx[i, j] = sum of dy over the (h, w) with from(h) = i and from(w) = j
#include "layers/picture/pad.h"

#include <algorithm>
#include <utility>

#include "layers/picture/picture_shape.h"
#include "layers/picture/resample_operation.h"

namespace lockstep::inline v0_1 {
namespace {

using kernels::Border;

class PadOperation final : public ResampleOperation {
 public:
  PadOperation(kernels::AxisTaps rows, kernels::AxisTaps columns, Borders borders, Border border)
      : ResampleOperation(std::move(rows), std::move(columns)),
        borders_(borders),
        border_(border) {}

 private:
  OnnxGraph::Value ExportChannelsFirst(OnnxGraph& graph, const OnnxGraph::Value& x) const override {
    const bool cuts = std::min({borders_.left, borders_.right, borders_.top, borders_.bottom}) < 0;
    // What ONNX says of borders that are cut off is not the same for every mode.
    if (cuts && border_ != Border::kZero) return ResampleOperation::ExportChannelsFirst(graph, x);
    const OnnxGraph::Value pads = graph.AddIntegers(
        "pads", {8}, {0, 0, borders_.top, borders_.left, 0, 0, borders_.bottom, borders_.right});
    const std::string mode = border_ == Border::kZero      ? "constant"
                             : border_ == Border::kReflect ? "reflect"
                                                           : "edge";
    return graph.Add("Pad", {x, pads}, OutChannelsFirst(x.shape), {{"mode", mode}});
  }

  Borders borders_;
  Border border_;
};

Status CheckAxis(const Shape& x, int64_t inputs, int64_t before, int64_t after, Border border) {
  const auto text = [&] {
    return "borders of " + std::to_string(before) + " and " + std::to_string(after);
  };
  for (const int64_t pixels : {before, after}) {
    if (pixels < -kLargestExtent || pixels > kLargestExtent)
      return Status::Invalid("a border of " + std::to_string(pixels) + " is too large");
    if (border == Border::kReflect && pixels >= inputs) {
      return Status::Invalid("a reflection of " + std::to_string(pixels) +
                             " takes more than that many pixels, not " + std::to_string(inputs) +
                             " of " + x.ToString());
    }
  }
  // One border alone may not cut more than there is: what the other adds has nothing to repeat.
  if (inputs + std::min<int64_t>(before, 0) + std::min<int64_t>(after, 0) < 1)
    return Status::Invalid(text() + " leave nothing of the " + std::to_string(inputs) +
                           " pixels along one side of " + x.ToString());
  return Status::Ok();
}

}  // namespace

Result<Value> Pad2d::Build(Graph& graph, Value x) const {
  LOCKSTEP_TRY(CheckPicture(graph.spec(x), /*pictures=*/true, /*signals=*/false));
  const Shape& shape = graph.shape(x);
  const PictureShape in(shape);
  LOCKSTEP_TRY(CheckAxis(shape, in.h, borders_.top, borders_.bottom, border_));
  LOCKSTEP_TRY(CheckAxis(shape, in.w, borders_.left, borders_.right, border_));
  kernels::AxisTaps rows = kernels::BorderTaps(in.h, borders_.top, borders_.bottom, border_);
  kernels::AxisTaps columns = kernels::BorderTaps(in.w, borders_.left, borders_.right, border_);
  if (rows.IsIdentity() && columns.IsIdentity()) return x;
  return graph.Add(PadOperation(std::move(rows), std::move(columns), borders_, border_), {x});
}

}  // namespace lockstep
