#include "engine/ops/conv_few_channels.h"

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "engine/base/check.h"
#include "engine/base/integers.h"
#include "engine/kernels/conv/conv.h"
#include "engine/kernels/conv/panel_product.h"
#include "engine/ops/conv_cells.h"

namespace lockstep::inline v0_1::ops {
namespace {

using kernels::kConvPanel;

struct Pass {
  explicit Pass(const ConvShape& shape)
      : s(shape),
        reach(s.kernel_w * s.in_c),
        columns(RoundUp(reach, kConvPanel)),
        before(s.pad_left * s.in_c),
        line(std::max(((s.out_w - 1) * s.stride_w + s.kernel_w), s.in_w + s.pad_left) * s.in_c) {}

  int64_t panel_floats() const { return s.out_c * kConvPanel; }
  int64_t packed_floats() const { return s.kernel_h * columns / kConvPanel * panel_floats(); }
  int64_t products_floats() const { return RoundUp(s.out_w * columns, 16); }
  int64_t line_floats() const { return RoundUp(line, 16); }
  int64_t thread_scratch() const {
    return products_floats() + line_floats() + kernels::PanelProduct::Scratch(s.out_c);
  }

  const ConvShape& s;
  int64_t reach;    // floats of a line that a pixel of dy gives to
  int64_t columns;  // the same in whole panels
  int64_t before;   // floats of padding in front of a line
  int64_t line;     // with the padding on either side
};

class Worker {
 public:
  Worker(const Pass& pass, const ConvArgs& args, float* scratch)
      : pass_(pass),
        args_(args),
        products_(scratch),
        line_(products_ + pass.products_floats()),
        product_(pass.s.out_c, line_ + pass.line_floats()) {}

  // Line h of a sample's dx.
  void Run(int64_t sample, int64_t h) {
    const ConvShape& s = pass_.s;
    std::fill_n(line_, pass_.line, 0.0f);
    for (int64_t kh = 0; kh < s.kernel_h; ++kh) {
      const int64_t at = h + s.pad_top - kh * s.dilation_h;
      if (at < 0 || at % s.stride_h != 0 || at / s.stride_h >= s.out_h) continue;
      product_.Run(s.out_w, args_.from + (sample * s.out_h + at / s.stride_h) * s.out_w * s.out_c,
                   args_.packed + kh * pass_.columns / kConvPanel * pass_.panel_floats(),
                   pass_.panel_floats(), pass_.columns, pass_.columns, products_);
      for (int64_t ow = 0; ow < s.out_w; ++ow) {
        const float* from = products_ + ow * pass_.columns;
        float* to = line_ + ow * s.stride_w * s.in_c;
        for (int64_t i = 0; i < pass_.reach; ++i) to[i] += from[i];
      }
    }
    Finish((sample * s.in_h + h) * s.in_w * s.in_c);
  }

 private:
  // The epilogue of a line, whose first element is number `begin` of dx.
  void Finish(int64_t begin) {
    const ConvShape& s = pass_.s;
    const kernels::Epilogue& epilogue = args_.epilogue;
    const float* sums = line_ + pass_.before;
    float* to = args_.to + begin;
    for (int64_t i = 0; i < s.in_w * s.in_c; ++i) {
      const int64_t channel = i % s.in_c;
      float v = args_.accumulate ? to[i] + sums[i] : sums[i];
      const float bias = epilogue.bias == nullptr ? 0.0f : epilogue.bias[channel];
      if (epilogue.scale != nullptr) {
        v = epilogue.bias != nullptr ? std::fma(epilogue.scale[channel], v, bias)
                                     : epilogue.scale[channel] * v;
      } else if (epilogue.bias != nullptr) {
        v += bias;
      }
      if (epilogue.add != nullptr) v += epilogue.add[begin + i];
      if (epilogue.activation == kernels::Activation::kRelu && v < 0.0f) v = 0.0f;
      to[i] = v;
    }
  }

  const Pass& pass_;
  const ConvArgs& args_;
  float *products_, *line_;
  kernels::PanelProduct product_;
};

}  // namespace

bool UsesFewChannels(const ConvShape& s) {
  constexpr int64_t kFew = 7;
  return s.groups == 1 && s.in_c <= kFew && s.kernel_w > 1 && s.dilation_w == 1;
}

int64_t FewChannelsPackedFloats(const ConvShape& shape) { return Pass(shape).packed_floats(); }

void FewChannelsPack(Context& ctx, const ConvShape& shape, const float* w, float* packed) {
  const Pass pass(shape);
  const int64_t panels = pass.columns / kConvPanel;
  ctx.For(shape.kernel_h * panels, pass.packed_floats(), [&](int64_t at) {
    const int64_t kh = at / panels, column = at % panels * kConvPanel;
    const int64_t filter = shape.kernel_h * pass.reach;
    kernels::ConvPackPanel(w + kh * pass.reach + column, 1, filter,
                           std::min(kConvPanel, pass.reach - column), shape.out_c,
                           packed + at * pass.panel_floats());
  });
}

int64_t FewChannelsScratch(int threads, const ConvShape& shape) {
  return threads * Pass(shape).thread_scratch();
}

void FewChannelsDataGradient(Context& ctx, const ConvShape& shape, const ConvArgs& args,
                             std::span<float> scratch) {
  const Pass pass(shape);
  const int64_t work = args.batch * shape.out_h * shape.out_w * shape.weights() / 4;
  const int64_t threads = work < Context::kInlineWork ? 1 : ctx.threads();
  LOCKSTEP_CHECK_GE(static_cast<int64_t>(scratch.size()), threads * pass.thread_scratch());
  const ConvCells cells(args, args.batch, shape.in_h, shape.in_w);
  const ConvTasks tasks(cells, shape.in_c, threads, 0, 1, /*splits=*/false, 1);
  ctx.ForWithThread(tasks.count(), work, [&](int64_t task, int thread) {
    Worker worker(pass, args, scratch.data() + thread * pass.thread_scratch());
    const IndexRange lines = cells.Lines(tasks.Cells(task));
    for (int64_t line = lines.begin; line < lines.end; ++line)
      worker.Run(line / shape.in_h, line % shape.in_h);
    cells.Finish(tasks.Cells(task), tasks.Channels(task));
  });
}

}  // namespace lockstep::ops
