// layers/conv/conv_transpose.cc — the convolution that takes y (B, H', W', out) to x (B, H, W,
// C), gone the other way; the sums, forward and backward, are those of conv_operation.cc.
#include "layers/conv/conv_transpose.h"

#include "layers/conv/conv_operation.h"
#include "layers/rows.h"

namespace lockstep::inline v0_1 {
namespace {

int64_t OutExtent(int64_t in, int64_t kernel, int64_t stride, int64_t padding,
                  int64_t output_padding, int64_t dilation) {
  return (in - 1) * stride - 2 * padding + WindowExtent(kernel, dilation) + output_padding;
}

}  // namespace

Result<Value> ConvTranspose2d::Build(Graph& graph, Value x) const {
  const ConvTranspose2dOptions& o = options_;
  LOCKSTEP_TRY(CheckRows(graph.spec(x), "channels"));
  const Shape in = graph.shape(x);
  if (in.rank() != 4)
    return Status::Invalid("takes pictures (batch, height, width, channels), not " + in.ToString());
  LOCKSTEP_TRY(CheckWindow("kernel", o.kernel, 1));
  LOCKSTEP_TRY(CheckWindow("stride", o.stride, 1));
  LOCKSTEP_TRY(CheckWindow("padding", o.padding, 0));
  LOCKSTEP_TRY(CheckWindow("output_padding", o.output_padding, 0));
  LOCKSTEP_TRY(CheckWindow("dilation", o.dilation, 1));
  LOCKSTEP_TRY(CheckGroups(in.channels(), out_, o.groups));
  if (in[1] < 1 || in[2] < 1) return Status::Invalid("takes no empty pictures: " + in.ToString());
  const auto fits = [](int64_t padding, int64_t stride, int64_t dilation) {
    return padding < stride || padding < dilation;
  };
  if (!fits(o.output_padding.h, o.stride.h, o.dilation.h) ||
      !fits(o.output_padding.w, o.stride.w, o.dilation.w)) {
    return Status::Invalid("output_padding must be less than the stride or the dilation");
  }
  const int64_t h =
      OutExtent(in[1], o.kernel.h, o.stride.h, o.padding.h, o.output_padding.h, o.dilation.h);
  const int64_t w =
      OutExtent(in[2], o.kernel.w, o.stride.w, o.padding.w, o.output_padding.w, o.dilation.w);
  if (h < 1 || w < 1) {
    return Status::Invalid("its padding leaves nothing of y: " + std::to_string(h) + " x " +
                           std::to_string(w) + " for x " + in.ToString());
  }
  const ops::ConvShape shape{.in_h = h,
                             .in_w = w,
                             .in_c = out_,
                             .out_h = in[1],
                             .out_w = in[2],
                             .out_c = in.channels(),
                             .kernel_h = o.kernel.h,
                             .kernel_w = o.kernel.w,
                             .stride_h = o.stride.h,
                             .stride_w = o.stride.w,
                             .pad_top = o.padding.h,
                             .pad_left = o.padding.w,
                             .dilation_h = o.dilation.h,
                             .dilation_w = o.dilation.w,
                             .groups = o.groups};
  return AddConvolution(graph, x, shape, ConvDirection::kTransposed, o.bias, o.init);
}

}  // namespace lockstep
