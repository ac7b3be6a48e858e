// layers/picture/pool.cc: for each channel of each sample, with the window of (oh, ow) the places
// (oh * stride - padding + kh * dilation, the same for w) that lie in x.
//   MaxPool2d
//     forward   y = max of x over the window, at the place p
//     backward  dx[h, w] = sum of dy over the windows whose p is (h, w)
//   AvgPool2d
//     forward   y = (sum of x over the window) / n      n: AvgPoolOptions
//     backward  dx[h, w] = sum of dy / n over the windows that hold (h, w)
#include "layers/picture/pool.h"

#include <algorithm>
#include <limits>
#include <utility>
#include <vector>

#include "engine/ops/max_pool.h"
#include "layers/onnx_ops.h"
#include "layers/picture/picture_shape.h"
#include "layers/picture/resample_operation.h"

namespace lockstep::inline v0_1 {
namespace {

using kernels::SlidingWindow;

// A window of a picture, axis by axis.
struct Windows {
  SlidingWindow rows, columns;
};

Windows WindowsOf(Window kernel, Window stride, Window padding, Window dilation, bool ceil_mode) {
  return {{kernel.h, stride.h, padding.h, dilation.h, ceil_mode},
          {kernel.w, stride.w, padding.w, dilation.w, ceil_mode}};
}

std::string TextOf(Window window) {
  return "(" + std::to_string(window.h) + ", " + std::to_string(window.w) + ")";
}

// One axis of `inputs`, which is called `name`.
Status CheckAxis(const std::string& name, int64_t inputs, const SlidingWindow& window) {
  const auto reject = [&](const std::string& what, int64_t number, const std::string& must) {
    return Status::Invalid(what + " " + std::to_string(number) + " along the " + name +
                           " must be " + must);
  };
  const std::string at_least_one = "from 1 to " + std::to_string(kLargestExtent);
  const auto fits = [](int64_t number) { return number >= 1 && number <= kLargestExtent; };
  if (!fits(window.kernel)) return reject("a kernel of", window.kernel, at_least_one);
  if (!fits(window.stride)) return reject("a stride of", window.stride, at_least_one);
  if (!fits(window.dilation)) return reject("a dilation of", window.dilation, at_least_one);
  // So a window without dilation always holds a place of x.
  if (window.padding < 0 || window.padding > window.kernel / 2) {
    return reject("a padding of", window.padding,
                  "from 0 to half the kernel, " + std::to_string(window.kernel / 2));
  }
  if (kernels::WindowOutputs(inputs, window) < 1) {
    return Status::Invalid(
        "a window of " + std::to_string(window.dilation * (window.kernel - 1) + 1) +
        " does not fit into a " + name + " of " + std::to_string(inputs) +
        (window.padding > 0 ? " and a padding of " + std::to_string(window.padding) : ""));
  }
  return Status::Ok();
}

Status CheckWindows(const Shape& shape, const Windows& windows) {
  const PictureShape in(shape);
  Status status = in.signal ? Status::Ok() : CheckAxis("height", in.h, windows.rows);
  if (status.ok()) status = CheckAxis(in.signal ? "length" : "width", in.w, windows.columns);
  if (status.ok()) return status;
  return Status::Invalid(status.message() + " (x is " + shape.ToString() + ")");
}

// Whether each output reads something.
bool EachReads(const kernels::AxisTaps& taps) {
  return std::adjacent_find(taps.first.begin(), taps.first.end()) == taps.first.end();
}

// A window in ONNX's words. Where its last windows end follows from the padding behind, so that
// nothing depends on how a reader understands ceil_mode.
OnnxGraph::Attributes WindowAttributes(const Windows& windows, const Shape& in, const Shape& out) {
  const auto behind = [](const SlidingWindow& w, int64_t inputs, int64_t outputs) {
    const int64_t end = (outputs - 1) * w.stride + w.dilation * (w.kernel - 1) + 1 - w.padding;
    return std::max<int64_t>(0, end - inputs);
  };
  const auto& [rows, columns] = windows;
  return {{"kernel_shape", std::vector<int64_t>{rows.kernel, columns.kernel}},
          {"strides", std::vector<int64_t>{rows.stride, columns.stride}},
          {"pads", std::vector<int64_t>{rows.padding, columns.padding, behind(rows, in[2], out[2]),
                                        behind(columns, in[3], out[3])}}};
}

class MaxPoolOperation final : public Operation {
 public:
  MaxPoolOperation(const Shape& x, const Windows& windows) : windows_(windows) {
    const PictureShape in(x);
    shape_ = ops::MakeMaxPoolShape(in.h, in.w, in.c, windows.rows, windows.columns);
  }

  Result<Declaration> Declare(std::span<const TensorSpec> x, const Fused&,
                              const PlanOptions&) const override {
    if (!EachReads(shape_.rows) || !EachReads(shape_.columns)) {
      return Status::Invalid("a dilated window lies in the padding alone, on both sides of " +
                             x[0].shape.ToString() + ": choose less padding");
    }
    TensorSpec y = x[0];
    const PictureShape in(x[0].shape);
    y.shape = in.With(shape_.rows.outputs(), shape_.columns.outputs());
    return Declaration{.outputs = {y},
                       .accumulates_dx = {true},
                       .flops = static_cast<double>(shape_.rows.taps()) *
                                static_cast<double>(shape_.columns.taps()) *
                                static_cast<double>(in.c) * static_cast<double>(in.batch)};
  }

  void Book(std::span<const TensorSpec> x, Booking& booking) override {
    if (!booking.wants_dx(0)) return;
    const int64_t places =
        PictureShape(x[0].shape).With(shape_.rows.outputs(), shape_.columns.outputs()).size();
    places_ = booking.Book<std::byte>(places * shape_.place_bytes(), Life::kStep);
  }

  void Forward(const Step& step, const Operands& o) override {
    ops::MaxPoolForward(step.ctx, shape_, o.x(0).shape().batch(), o.x_f32(0), o.y_f32(),
                        places_.valid() ? step[places_] : nullptr);
  }

  void Backward(const Step& step, const Operands& o) override {
    ops::MaxPoolBackward(step.ctx, shape_, o.dy().shape().batch(), o.dy_f32(), step[places_],
                         o.accumulate(0), o.dx_f32(0));
  }

  Result<OnnxGraph::Value> Export(const Step&, const Operands&, OnnxGraph& graph,
                                  std::span<const OnnxGraph::Value> x) const override {
    const PictureShape in(x[0].shape);
    const OnnxGraph::Value picture =
        ToChannelsFirst(graph, graph.Reshape(x[0], {in.batch, in.h, in.w, in.c}));
    const Shape out{in.batch, in.c, shape_.rows.outputs(), shape_.columns.outputs()};
    OnnxGraph::Attributes attributes = WindowAttributes(windows_, picture.shape, out);
    attributes.push_back(
        {"dilations", std::vector<int64_t>{windows_.rows.dilation, windows_.columns.dilation}});
    const OnnxGraph::Value y = graph.Add("MaxPool", {picture}, out, std::move(attributes));
    return graph.Reshape(ToChannelsLast(graph, y), in.With(out[2], out[3]));
  }

 private:
  Windows windows_;
  ops::MaxPoolShape shape_;
  Buffer<std::byte> places_;
};

class AvgPoolOperation final : public ResampleOperation {
 public:
  AvgPoolOperation(const Shape& x, const Windows& windows, const AvgPoolOptions& options)
      : ResampleOperation(
            TapsOf(PictureShape(x).h, windows.rows, options, /*takes_divisor=*/true),
            TapsOf(PictureShape(x).w, windows.columns, options, /*takes_divisor=*/false)),
        windows_(windows),
        options_(options) {}

 private:
  // A divisor for the whole window goes to one of the axes.
  static kernels::AxisTaps TapsOf(int64_t inputs, const SlidingWindow& window,
                                  const AvgPoolOptions& options, bool takes_divisor) {
    std::optional<float> divisor;
    if (options.divisor_override)
      divisor = takes_divisor ? static_cast<float>(*options.divisor_override) : 1.0f;
    return kernels::AverageTaps(inputs, window, options.count_include_pad, divisor);
  }

  // Where ONNX would divide by something else than we, it divides by the whole window, and a
  // constant makes up for it.
  OnnxGraph::Value ExportChannelsFirst(OnnxGraph& graph, const OnnxGraph::Value& x) const override {
    const Shape out = OutChannelsFirst(x.shape);
    const auto area = static_cast<float>(windows_.rows.kernel * windows_.columns.kernel);
    std::vector<float> factors;
    for (int64_t h = 0; h < out[2]; ++h) {
      for (int64_t w = 0; w < out[3]; ++w)
        factors.push_back(area / (rows().DivisorOf(h) * columns().DivisorOf(w)));
    }
    const bool whole =
        std::all_of(factors.begin(), factors.end(), [](float f) { return f == 1.0f; });
    const bool inside = !options_.count_include_pad && !options_.divisor_override;
    OnnxGraph::Attributes attributes = WindowAttributes(windows_, x.shape, out);
    attributes.push_back({"count_include_pad", int64_t{inside ? 0 : 1}});
    const OnnxGraph::Value y = graph.Add("AveragePool", {x}, out, std::move(attributes));
    if (whole || inside) return y;
    return graph.Add(
        "Mul", {y, graph.AddConstant("divisors", {1, 1, out[2], out[3]}, std::move(factors))});
  }

  Windows windows_;
  AvgPoolOptions options_;
};

Result<Value> BuildMaxPool(Graph& graph, Value x, const Windows& windows) {
  const Shape& shape = graph.shape(x);
  LOCKSTEP_TRY(CheckWindows(shape, windows));
  if (windows.rows.kernel > std::numeric_limits<int32_t>::max() / windows.columns.kernel)
    return Status::Invalid("a kernel of " + TextOf({windows.rows.kernel, windows.columns.kernel}) +
                           " holds more than 2^31 places");
  return graph.Add(MaxPoolOperation(shape, windows), {x});
}

}  // namespace

Result<Value> MaxPool2d::Build(Graph& graph, Value x) const {
  LOCKSTEP_TRY(CheckPicture(graph.spec(x), /*pictures=*/true, /*signals=*/false));
  return BuildMaxPool(graph, x,
                      WindowsOf(kernel_, options_.stride.value_or(kernel_), options_.padding,
                                options_.dilation, options_.ceil_mode));
}

Result<Value> MaxPool1d::Build(Graph& graph, Value x) const {
  LOCKSTEP_TRY(CheckPicture(graph.spec(x), /*pictures=*/false, /*signals=*/true));
  return BuildMaxPool(graph, x,
                      WindowsOf({1, kernel_}, {1, options_.stride.value_or(kernel_)},
                                {0, options_.padding}, {1, options_.dilation}, options_.ceil_mode));
}

Result<Value> AvgPool2d::Build(Graph& graph, Value x) const {
  LOCKSTEP_TRY(CheckPicture(graph.spec(x), /*pictures=*/true, /*signals=*/false));
  const Windows windows = WindowsOf(kernel_, options_.stride.value_or(kernel_), options_.padding,
                                    /*dilation=*/1, options_.ceil_mode);
  LOCKSTEP_TRY(CheckWindows(graph.shape(x), windows));
  if (options_.divisor_override && *options_.divisor_override == 0)
    return Status::Invalid("divisor_override must not be 0");
  return graph.Add(AvgPoolOperation(graph.shape(x), windows, options_), {x});
}

Result<Value> AvgPool1d::Build(Graph& graph, Value x) const {
  LOCKSTEP_TRY(CheckPicture(graph.spec(x), /*pictures=*/false, /*signals=*/true));
  const Windows windows = WindowsOf({1, kernel_}, {1, options_.stride.value_or(kernel_)},
                                    {0, options_.padding}, /*dilation=*/1, options_.ceil_mode);
  LOCKSTEP_TRY(CheckWindows(graph.shape(x), windows));
  return graph.Add(
      AvgPoolOperation(graph.shape(x), windows, {.count_include_pad = options_.count_include_pad}),
      {x});
}

}  // namespace lockstep
