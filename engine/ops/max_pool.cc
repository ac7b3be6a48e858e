#include "engine/ops/max_pool.h"

#include <algorithm>

#include "engine/kernels/picture/max_pool.h"
#include "engine/ops/row_tasks.h"

namespace lockstep::inline v0_1::ops {
namespace {

// body(picture, row) for every row of every picture. `reads`: what a row reads and writes, about.
template <class Body>
void ForLines(Context& ctx, int64_t batch, int64_t rows, int64_t work_per_picture, Body&& body) {
  const int64_t lines = batch * rows;
  const int64_t work = batch * work_per_picture;
  const int64_t tasks = std::min(lines, std::max<int64_t>(1, work / kTaskElements));
  ctx.For(tasks, work, [&](int64_t task) {
    const IndexRange mine = Part(lines, tasks, task, /*unit=*/1);
    for (int64_t line = mine.begin; line < mine.end; ++line) body(line / rows, line % rows);
  });
}

template <class Place>
void Forward(Context& ctx, const MaxPoolShape& shape, int64_t batch, const float* x, float* y,
             Place* places) {
  const int64_t picture_in = shape.rows.inputs * shape.columns.inputs * shape.channels;
  const int64_t line_out = shape.columns.outputs() * shape.channels;
  const int64_t work = shape.rows.taps() * shape.columns.taps() * shape.channels;
  ForLines(ctx, batch, shape.rows.outputs(), work, [&](int64_t picture, int64_t row) {
    const int64_t to = (picture * shape.rows.outputs() + row) * line_out;
    kernels::MaxPoolLine(shape.rows, shape.columns, row, shape.kernel_w, shape.channels,
                         x + picture * picture_in, y + to,
                         places == nullptr ? nullptr : places + to);
  });
}

template <class Place>
void Backward(Context& ctx, const MaxPoolShape& shape, int64_t batch, const float* dy,
              const Place* places, bool accumulate, float* dx) {
  const int64_t picture_out = shape.rows.outputs() * shape.columns.outputs() * shape.channels;
  const int64_t line_in = shape.columns.inputs * shape.channels;
  const int64_t work =
      shape.rows.taps() * shape.columns.taps() * shape.channels + shape.rows.inputs * line_in;
  ForLines(ctx, batch, shape.rows.inputs, work, [&](int64_t picture, int64_t row) {
    kernels::MaxPoolGradientLine(shape.turned_rows, shape.turned_columns, row, shape.kernel_w,
                                 shape.channels, dy + picture * picture_out,
                                 places + picture * picture_out, accumulate,
                                 dx + (picture * shape.rows.inputs + row) * line_in);
  });
}

}  // namespace

MaxPoolShape MakeMaxPoolShape(int64_t in_h, int64_t in_w, int64_t channels,
                              const kernels::SlidingWindow& rows,
                              const kernels::SlidingWindow& columns) {
  MaxPoolShape shape{.rows = kernels::MaxTaps(in_h, rows),
                     .columns = kernels::MaxTaps(in_w, columns),
                     .kernel_h = rows.kernel,
                     .kernel_w = columns.kernel,
                     .channels = channels};
  shape.turned_rows = kernels::Turned(shape.rows);
  shape.turned_columns = kernels::Turned(shape.columns);
  return shape;
}

void MaxPoolForward(Context& ctx, const MaxPoolShape& shape, int64_t batch, const float* x,
                    float* y, void* places) {
  if (shape.place_bytes() == 1) {
    Forward(ctx, shape, batch, x, y, static_cast<uint8_t*>(places));
  } else {
    Forward(ctx, shape, batch, x, y, static_cast<int32_t*>(places));
  }
}

void MaxPoolBackward(Context& ctx, const MaxPoolShape& shape, int64_t batch, const float* dy,
                     const void* places, bool accumulate, float* dx) {
  if (shape.place_bytes() == 1) {
    Backward(ctx, shape, batch, dy, static_cast<const uint8_t*>(places), accumulate, dx);
  } else {
    Backward(ctx, shape, batch, dy, static_cast<const int32_t*>(places), accumulate, dx);
  }
}

}  // namespace lockstep::ops
