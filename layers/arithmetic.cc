// layers/arithmetic.cc
//   sum          y = a + b,        da = dy,      db = dy
//   subtract     y = a - b,        da = dy,      db = -dy
//   multiply     y = a b,          da = dy b,    db = dy a
//   concatenate  y = (a, b, ...),  da, db, ... are the parts of dy
#include "layers/arithmetic.h"

#include <cstring>

#include "engine/kernels/elementwise/elementwise.h"
#include "engine/ops/elementwise.h"

namespace lockstep::inline v0_1 {
namespace {

Status CheckAlike(std::span<const TensorSpec> x) {
  if (x.size() != 2) return Status::Invalid("takes two values");
  if (x[0].dtype != DType::kF32 || x[1].dtype != DType::kF32 || !(x[0].shape == x[1].shape)) {
    return Status::Invalid(x[0].shape.ToString() + " " + NameOf(x[0].dtype) + " and " +
                           x[1].shape.ToString() + " " + NameOf(x[1].dtype) +
                           " are not f32 of one shape");
  }
  return Status::Ok();
}

// body(begin, end) over all elements of `tensor`.
template <class Body>
void ForElements(const Step& step, int64_t size, Body&& body) {
  ops::ForStretches(step.ctx, size, 1, body);
}

}  // namespace

Result<Declaration> Sum::Declare(std::span<const TensorSpec> x, const Fused&,
                                 const PlanOptions&) const {
  LOCKSTEP_TRY(CheckAlike(x));
  return Declaration{.outputs = {x[0]},
                     .y_may_overwrite_x = true,
                     .passes_dy = {true, true},
                     .accumulates_dx = {true, true},
                     .flops = static_cast<double>(x[0].shape.size()),
                     .is_sum = true};
}

void Sum::Forward(const Step& step, const Operands& o) {
  const float *a = o.x_f32(0), *b = o.x_f32(1);
  float* y = o.y_f32();
  ForElements(step, o.y().size(), [&](int64_t begin, int64_t end) {
    kernels::Add(a + begin, b + begin, y + begin, end - begin);
  });
}

void Sum::Backward(const Step& step, const Operands& o) {
  const float* dy = o.dy_f32();
  for (const int i : {0, 1}) {
    float* dx = o.dx_f32(i);
    if (dx == nullptr || (dx == dy && !o.accumulate(i))) continue;
    ops::CopyOrAdd(step.ctx, dy, o.dy().size(), o.accumulate(i), dx);
  }
}

Result<OnnxGraph::Value> Sum::Export(const Step&, const Operands&, OnnxGraph& graph,
                                     std::span<const OnnxGraph::Value> x) const {
  return graph.Add("Add", {x[0], x[1]});
}

Result<Declaration> Subtract::Declare(std::span<const TensorSpec> x, const Fused&,
                                      const PlanOptions&) const {
  LOCKSTEP_TRY(CheckAlike(x));
  return Declaration{.outputs = {x[0]},
                     .passes_dy = {true, false},
                     .accumulates_dx = {true, true},
                     .flops = static_cast<double>(x[0].shape.size())};
}

void Subtract::Forward(const Step& step, const Operands& o) {
  const float *a = o.x_f32(0), *b = o.x_f32(1);
  float* y = o.y_f32();
  ForElements(step, o.y().size(), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) y[i] = a[i] - b[i];
  });
}

void Subtract::Backward(const Step& step, const Operands& o) {
  const float* dy = o.dy_f32();
  for (const int i : {0, 1}) {
    float* dx = o.dx_f32(i);
    if (dx == nullptr || (dx == dy && !o.accumulate(i))) continue;
    const float sign = i == 0 ? 1.0f : -1.0f;
    ForElements(step, o.dy().size(), [&](int64_t begin, int64_t end) {
      for (int64_t k = begin; k < end; ++k) dx[k] = (o.accumulate(i) ? dx[k] : 0.0f) + sign * dy[k];
    });
  }
}

Result<OnnxGraph::Value> Subtract::Export(const Step&, const Operands&, OnnxGraph& graph,
                                          std::span<const OnnxGraph::Value> x) const {
  return graph.Add("Sub", {x[0], x[1]});
}

Result<Declaration> Multiply::Declare(std::span<const TensorSpec> x, const Fused&,
                                      const PlanOptions&) const {
  LOCKSTEP_TRY(CheckAlike(x));
  return Declaration{
      .outputs = {x[0]}, .reads_x = {true, true}, .flops = static_cast<double>(x[0].shape.size())};
}

void Multiply::Forward(const Step& step, const Operands& o) {
  const float *a = o.x_f32(0), *b = o.x_f32(1);
  float* y = o.y_f32();
  ForElements(step, o.y().size(), [&](int64_t begin, int64_t end) {
    kernels::Multiply(a + begin, b + begin, y + begin, end - begin);
  });
}

void Multiply::Backward(const Step& step, const Operands& o) {
  const float* dy = o.dy_f32();
  for (const int i : {0, 1}) {
    const float* other = o.x_f32(1 - i);
    float* dx = o.dx_f32(i);
    if (dx == nullptr) continue;
    ForElements(step, o.dy().size(), [&](int64_t begin, int64_t end) {
      kernels::Multiply(dy + begin, other + begin, dx + begin, end - begin);
    });
  }
}

Result<OnnxGraph::Value> Multiply::Export(const Step&, const Operands&, OnnxGraph& graph,
                                          std::span<const OnnxGraph::Value> x) const {
  return graph.Add("Mul", {x[0], x[1]});
}

Result<Declaration> Concatenate::Declare(std::span<const TensorSpec> x, const Fused&,
                                         const PlanOptions&) const {
  if (x.empty()) return Status::Invalid("takes at least one value");
  TensorSpec y = x[0];
  int64_t channels = 0;
  bool pictures = false;  // whose features have another order in files
  for (const TensorSpec& part : x) {
    const Shape& picture = part.picture;
    pictures = pictures || picture.rank() == 1 ||
               (picture.rank() == 3 && picture[2] != 1 && picture[2] != picture.size());
    if (part.dtype != DType::kF32 || part.shape.rank() < 2 ||
        !(part.shape.WithChannels(1) == x[0].shape.WithChannels(1))) {
      return Status::Invalid(part.shape.ToString() + " " + NameOf(part.dtype) +
                             " does not stand beside " + x[0].shape.ToString() +
                             ": all but the last extent must agree, in f32");
    }
    channels += part.shape.channels();
  }
  y.shape = x[0].shape.WithChannels(channels);
  y.picture = x.size() == 1 ? x[0].picture : pictures ? Shape{channels} : Shape{};
  return Declaration{.outputs = {y}};
}

void Concatenate::Book(std::span<const TensorSpec> x, Booking&) {
  columns_.clear();
  for (const TensorSpec& part : x) columns_.push_back(part.shape.channels());
}

void Concatenate::Forward(const Step&, const Operands& o) {
  const int64_t width = o.y().shape().channels();
  int64_t column = 0;
  for (int i = 0; i < o.inputs(); ++i) {
    const int64_t columns = columns_[static_cast<size_t>(i)];
    for (int64_t r = 0; r < o.y().shape().rows(); ++r) {
      std::memcpy(o.y_f32() + r * width + column, o.x_f32(i) + r * columns,
                  static_cast<size_t>(columns) * sizeof(float));
    }
    column += columns;
  }
}

void Concatenate::Backward(const Step&, const Operands& o) {
  const int64_t width = o.dy().shape().channels();
  int64_t column = 0;
  for (int i = 0; i < o.inputs(); ++i) {
    const int64_t columns = columns_[static_cast<size_t>(i)];  // also where dx(i) is not wanted
    for (int64_t r = 0; o.dx_f32(i) != nullptr && r < o.dy().shape().rows(); ++r) {
      std::memcpy(o.dx_f32(i) + r * columns, o.dy_f32() + r * width + column,
                  static_cast<size_t>(columns) * sizeof(float));
    }
    column += columns;
  }
}

Result<OnnxGraph::Value> Concatenate::Export(const Step&, const Operands& o, OnnxGraph& graph,
                                             std::span<const OnnxGraph::Value> x) const {
  return graph.Add("Concat", std::vector<OnnxGraph::Value>(x.begin(), x.end()),
                   x[0].shape.WithChannels(o.y().shape().channels()), {{"axis", int64_t{-1}}});
}

}  // namespace lockstep
