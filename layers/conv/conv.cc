// layers/conv/conv.cc — extent by extent; a window covers reach = dilation (kernel - 1) + 1:
//   out     = (in + before + after - reach) / stride + 1, rounded down
//   padding : before = after = padding
//   same    : out = ceil(in / stride), before + after = max(0, (out - 1) stride + reach - in),
//             before half of that, rounded down
// The sums, forward and backward, are those of conv_operation.cc.
#include "layers/conv/conv.h"

#include <algorithm>

#include "layers/conv/conv_operation.h"
#include "layers/rows.h"

namespace lockstep::inline v0_1 {
namespace {

struct Extent {
  int64_t out = 0, before = 0;
};

Extent ExtentOf(int64_t in, int64_t kernel, int64_t stride, int64_t padding, bool same,
                int64_t dilation) {
  const int64_t reach = WindowExtent(kernel, dilation);
  if (!same) {
    const int64_t room = in + 2 * padding - reach;
    return {room < 0 ? 0 : room / stride + 1, padding};
  }
  const int64_t out = (in + stride - 1) / stride;
  return {out, std::max<int64_t>(0, (out - 1) * stride + reach - in) / 2};
}

std::string Named(int64_t h, int64_t w, bool picture) {
  return picture ? std::to_string(h) + " x " + std::to_string(w) : std::to_string(w);
}

// A signal is a picture of one line.
Result<Value> Build(Graph& graph, Value x, int64_t out, const Conv2dOptions& options) {
  const Shape in = graph.shape(x);
  const bool picture = in.rank() == 4;
  LOCKSTEP_TRY(CheckWindow("kernel", options.kernel, 1));
  LOCKSTEP_TRY(CheckWindow("stride", options.stride, 1));
  LOCKSTEP_TRY(CheckWindow("padding", options.padding, 0));
  LOCKSTEP_TRY(CheckWindow("dilation", options.dilation, 1));
  LOCKSTEP_TRY(CheckGroups(in.channels(), out, options.groups));
  const int64_t in_h = picture ? in[1] : 1, in_w = in[-2];
  if (in_h < 1 || in_w < 1) return Status::Invalid("takes no empty pictures: " + in.ToString());
  const Extent h = ExtentOf(in_h, options.kernel.h, options.stride.h, options.padding.h,
                            options.same, options.dilation.h);
  const Extent w = ExtentOf(in_w, options.kernel.w, options.stride.w, options.padding.w,
                            options.same, options.dilation.w);
  if (h.out < 1 || w.out < 1) {
    return Status::Invalid(
        "its window covers " +
        Named(WindowExtent(options.kernel.h, options.dilation.h),
              WindowExtent(options.kernel.w, options.dilation.w), picture) +
        ", which is more than the padded " + (picture ? "picture's " : "signal's ") +
        Named(in_h + 2 * options.padding.h, in_w + 2 * options.padding.w, picture) + " of x " +
        in.ToString());
  }
  const ops::ConvShape shape{.in_h = in_h,
                             .in_w = in_w,
                             .in_c = in.channels(),
                             .out_h = h.out,
                             .out_w = w.out,
                             .out_c = out,
                             .kernel_h = options.kernel.h,
                             .kernel_w = options.kernel.w,
                             .stride_h = options.stride.h,
                             .stride_w = options.stride.w,
                             .pad_top = h.before,
                             .pad_left = w.before,
                             .dilation_h = options.dilation.h,
                             .dilation_w = options.dilation.w,
                             .groups = options.groups,
                             .algorithm = options.algorithm};
  return AddConvolution(graph, x, shape, ConvDirection::kForward, options.bias, options.init);
}

}  // namespace

Result<Value> Conv2d::Build(Graph& graph, Value x) const {
  LOCKSTEP_TRY(CheckRows(graph.spec(x), "channels"));
  if (graph.shape(x).rank() != 4)
    return Status::Invalid("takes pictures (batch, height, width, channels), not " +
                           graph.shape(x).ToString());
  return lockstep::Build(graph, x, out_, options_);
}

Result<Value> Conv1d::Build(Graph& graph, Value x) const {
  LOCKSTEP_TRY(CheckRows(graph.spec(x), "channels"));
  if (graph.shape(x).rank() != 3)
    return Status::Invalid("takes signals (batch, time, channels), not " +
                           graph.shape(x).ToString());
  return lockstep::Build(graph, x, out_,
                         {.kernel = {1, options_.kernel},
                          .stride = {1, options_.stride},
                          .padding = {0, options_.padding},
                          .same = options_.same,
                          .dilation = {1, options_.dilation},
                          .groups = options_.groups,
                          .bias = options_.bias,
                          .init = options_.init});
}

}  // namespace lockstep
