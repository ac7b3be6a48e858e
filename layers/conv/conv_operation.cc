// layers/conv/conv_operation.cc — with the sums of engine/ops/conv.h, where `conv` reads its
// input by the window and `spread` is the transposed of that,
//   forward   y  = act(scale conv(x, w) + shift + add)   shift the bias; the rest where fused
//   backward  dz = dy where act let through,  d_add = dz
//             dx = spread(dz, w)
//             dw = sum over the batch in shards of dz times what conv reads of x there
//             db = sum dz over the batch in shards
// and in the transposed direction, where x and y have changed places,
//   forward   y  = act(scale spread(x, w) + shift + add)
//   backward  dx = conv(dz, w),  dw = sum of x times what conv reads of dz there,
//             d_add and db as above
#include "layers/conv/conv_operation.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <span>
#include <utility>
#include <vector>

#include "engine/ops/product.h"
#include "layers/epilogue.h"
#include "layers/onnx_ops.h"

namespace lockstep::inline v0_1 {
namespace {

using ops::ConvShape;

// One of the two ways through a ConvShape: what computes it, and the weights it reads.
struct Pass {
  int64_t (*packed_floats)(const ConvShape&);
  void (*pack)(Context&, const ConvShape&, const float* w, float* packed);
  int64_t (*scratch)(int threads, const ConvShape&, int64_t batch);
  void (*run)(Context&, const ConvShape&, const ops::ConvArgs&, std::span<float> scratch);
};
constexpr Pass kConv = {ops::PackedForwardFloats, ops::PackForward, ops::ConvForwardScratch,
                        ops::ConvForward};
constexpr Pass kSpread = {ops::PackedDataGradientFloats, ops::PackDataGradient,
                          ops::ConvDataGradientScratch, ops::ConvDataGradient};

const Pass& ForwardPass(ConvDirection direction) {
  return direction == ConvDirection::kForward ? kConv : kSpread;
}
const Pass& BackwardPass(ConvDirection direction) {
  return direction == ConvDirection::kForward ? kSpread : kConv;
}

// The weights as the forward pass reads them, kept between steps where a network only predicts.
class PackedWeight final : public Operation {
 public:
  PackedWeight(const ConvShape& shape, ConvDirection direction)
      : shape_(shape), direction_(direction) {}

  Result<Declaration> Declare(std::span<const TensorSpec>, const Fused&,
                              const PlanOptions&) const override {
    const int64_t floats = ForwardPass(direction_).packed_floats(shape_);
    return Declaration{.outputs = {{Shape{floats}}}, .from_parameters = true};
  }
  void Forward(const Step& step, const Operands& o) override {
    ForwardPass(direction_).pack(step.ctx, shape_, o.x_f32(0), o.y_f32());
  }

 private:
  ConvShape shape_;
  ConvDirection direction_;
};

// Inputs: x, weight (packed or not), bias or nothing.
class ConvOperation final : public Operation {
 public:
  ConvOperation(const ConvShape& shape, ConvDirection direction, bool packed)
      : shape_(shape), direction_(direction), packed_(packed) {}

  Result<Declaration> Declare(std::span<const TensorSpec> x, const Fused& fused,
                              const PlanOptions& options) const override {
    const TensorSpec y{OutShape(x[0].shape), DType::kF32, x[0].batched};
    const auto sums = static_cast<double>(y.shape.batch() * shape_.out_h * shape_.out_w);
    Declaration declared{
        .outputs = {y},
        .reads_x = {true, true},
        .accumulates_dx = {true, true, true},
        .reports_dx = {false, true, true},
        .flops = 2.0 * sums * static_cast<double>(shape_.weights()),
        // Signals are not cut into whole lines, as finished cells of a convolution must be.
        .applies = {.affine = true, .add = true, .activation = true, .moments = IsPicture(y)},
        .can_finish_dx = IsPicture(y)};
    LayerEpilogue::Declare(fused, options, declared);
    return declared;
  }

  void Book(std::span<const TensorSpec> x, Booking& booking) override {
    const PlanOptions& options = booking.options();
    const Pass& forward = ForwardPass(direction_);
    const Shape y = OutShape(x[0].shape);
    const int64_t batch = y.batch();
    epilogue_.Book(x[0].shape, y, booking);
    int64_t packed = packed_ ? 0 : forward.packed_floats(shape_);
    scratch_floats_ = forward.scratch(options.threads, shape_, batch);
    if (booking.wants_dx(0)) {
      packed = std::max(packed, BackwardPass(direction_).packed_floats(shape_));
      scratch_floats_ = std::max(scratch_floats_,
                                 BackwardPass(direction_).scratch(options.threads, shape_, batch));
    }
    if (options.training) {
      scratch_floats_ = std::max(
          {scratch_floats_,
           ops::ConvWeightGradientScratch(options.threads, shape_, batch, options.shards),
           ops::ProductScratch(options.threads, 1, y.channels(), y.rows(), options.shards)});
    }
    scratch_ = booking.Book(scratch_floats_, Life::kCall);
    packed_weight_ = booking.Book(packed, Life::kCall);
  }

  void Forward(const Step& step, const Operands& o) override {
    const float* weight = packed_ ? o.x_f32(1) : Packed(step, ForwardPass(direction_), o.x_f32(1));
    const ops::ConvArgs args{.batch = o.y().shape().batch(),
                             .from = o.x_f32(0),
                             .packed = weight,
                             .to = o.y_f32(),
                             .epilogue = epilogue_.Of(o)};
    epilogue_.Finishing(step, o, args, [&](const ops::ConvArgs& all) {
      ForwardPass(direction_).run(step.ctx, shape_, all, Scratch(step));
    });
  }

  void Backward(const Step& step, const Operands& o) override {
    const int64_t batch = o.dy().shape().batch();
    const float* dz = epilogue_.MaskedGradient(step, o);
    epilogue_.PassToAdd(step, o, dz);
    if (float* dw = o.dx_f32(1); dw != nullptr) {
      const bool forward = direction_ == ConvDirection::kForward;
      const float* x = o.x_f32(0);
      ops::ConvWeightGradient(step.ctx, shape_,
                              {.batch = batch,
                               .x = forward ? x : dz,
                               .dy = forward ? dz : x,
                               .dw = dw,
                               .accumulate = o.accumulate(1),
                               .segments = epilogue_.Shards(step, o.dy().shape().rows_per_sample()),
                               .not_finite = step.gradient_not_finite},
                              Scratch(step));
    }
    if (!o.dx(2).empty()) {
      const auto db = epilogue_.BiasGradient(step, o, dz, epilogue_.Shards(step, 1));
      ops::Product(step.ctx, db, Scratch(step));
    }
    if (float* dx = o.dx_f32(0); dx != nullptr) {
      ops::ConvArgs args{.batch = batch,
                         .from = dz,
                         .packed = Packed(step, BackwardPass(direction_), o.x_f32(1)),
                         .to = dx,
                         .accumulate = o.accumulate(0)};
      const auto finished_dx = epilogue_.TellerOfDx(step, o);
      epilogue_.TellOfDx(step, finished_dx, args);
      BackwardPass(direction_).run(step.ctx, shape_, args, Scratch(step));
    }
  }

  // ONNX has the channels in front, in pictures and in weights.
  Result<OnnxGraph::Value> Export(const Step&, const Operands& o, OnnxGraph& graph,
                                  std::span<const OnnxGraph::Value> x) const override {
    const Fused& fused = epilogue_.fused();
    const bool forward = direction_ == ConvDirection::kForward;
    const std::vector<float> values =
        FileWeight(o.x_f32(1), fused.scale < 0 ? nullptr : o.x_f32(fused.scale));
    const bool picture = x[0].shape.rank() == 4;
    const Shape shape =
        picture ? Shape{shape_.out_c, shape_.group_in(), shape_.kernel_h, shape_.kernel_w}
                : Shape{shape_.out_c, shape_.group_in(), shape_.kernel_w};
    OnnxGraph::Value weight = x[1], bias = x[2];
    if (weight.name.empty()) {
      weight = graph.AddConstant("weight", shape, values);
    } else {
      weight = graph.SetConstant(weight, shape, values);
    }
    if (fused.shift >= 0) bias = graph.AddConstant("bias", {ChannelsOut()}, o.x_f32(fused.shift));

    // What the window reaches over the end; where it ends before, ONNX rounds down as well.
    const auto after = [](int64_t in, int64_t out, int64_t kernel, int64_t stride, int64_t pad,
                          int64_t dilation) {
      return (out - 1) * stride + WindowExtent(kernel, dilation) - in - pad;
    };
    const int64_t below = after(shape_.in_h, shape_.out_h, shape_.kernel_h, shape_.stride_h,
                                shape_.pad_top, shape_.dilation_h);
    const int64_t right = after(shape_.in_w, shape_.out_w, shape_.kernel_w, shape_.stride_w,
                                shape_.pad_left, shape_.dilation_w);
    const auto extents = [&](int64_t h, int64_t w) {
      return picture ? std::vector<int64_t>{h, w} : std::vector<int64_t>{w};
    };
    const auto beyond = [](int64_t pad) { return std::max<int64_t>(0, pad); };
    OnnxGraph::Attributes attributes{
        {"kernel_shape", extents(shape_.kernel_h, shape_.kernel_w)},
        {"strides", extents(shape_.stride_h, shape_.stride_w)},
        {"dilations", extents(shape_.dilation_h, shape_.dilation_w)},
        {"group", shape_.groups},
        {"pads", picture ? std::vector<int64_t>{shape_.pad_top, shape_.pad_left, beyond(below),
                                                beyond(right)}
                         : std::vector<int64_t>{shape_.pad_left, beyond(right)}}};
    // Transposed, lines that no window covers are there, and hold the bias.
    if (!forward) attributes.push_back({"output_padding", extents(beyond(-below), beyond(-right))});
    std::vector<OnnxGraph::Value> operands = {ToChannelsFirst(graph, x[0]), weight};
    if (!bias.name.empty()) operands.push_back(bias);
    const Shape y = OutShape(x[0].shape);
    const Shape y_first = picture ? Shape{y[0], y[3], y[1], y[2]} : Shape{y[0], y[2], y[1]};
    return ToChannelsLast(graph, graph.Add(forward ? "Conv" : "ConvTranspose", operands, y_first,
                                           std::move(attributes)));
  }

 private:
  static bool IsPicture(const TensorSpec& x) { return x.shape.rank() == 4; }
  int64_t ChannelsOut() const {
    return direction_ == ConvDirection::kForward ? shape_.out_c : shape_.in_c;
  }
  Shape OutShape(const Shape& x) const {
    const bool forward = direction_ == ConvDirection::kForward;
    const int64_t h = forward ? shape_.out_h : shape_.in_h,
                  w = forward ? shape_.out_w : shape_.in_w;
    return x.rank() == 4 ? Shape{x.batch(), h, w, ChannelsOut()}
                         : Shape{x.batch(), w, ChannelsOut()};
  }
  // (O, KH, KW, I / G) to (O, I / G, KH, KW), each channel of y scaled.
  std::vector<float> FileWeight(const float* w, const float* scale) const {
    const int64_t taps = shape_.kernel_h * shape_.kernel_w, in = shape_.group_in();
    std::vector<float> values;
    values.reserve(static_cast<size_t>(shape_.weights()));
    for (int64_t c = 0; c < shape_.out_c; ++c) {
      for (int64_t i = 0; i < in; ++i) {
        const int64_t to = direction_ == ConvDirection::kForward
                               ? c
                               : c / shape_.group_out() * in + i;  // channel of y
        for (int64_t tap = 0; tap < taps; ++tap) {
          const float v = w[(c * taps + tap) * in + i];
          values.push_back(scale == nullptr ? v : v * scale[to]);
        }
      }
    }
    return values;
  }

  std::span<float> Scratch(const Step& step) const {
    return {step[scratch_], static_cast<size_t>(scratch_floats_)};
  }
  const float* Packed(const Step& step, const Pass& pass, const float* w) const {
    pass.pack(step.ctx, shape_, w, step[packed_weight_]);
    return step[packed_weight_];
  }

  ConvShape shape_;
  ConvDirection direction_;
  bool packed_;
  LayerEpilogue epilogue_;
  Buffer<float> scratch_;
  Buffer<float> packed_weight_;
  int64_t scratch_floats_ = 0;
};

Init WeightInit(ConvInit init, double fan_in, double fan_out) {
  if (init == ConvInit::kKaimingNormal)  // He et al., 2015
    return Init::Normal(static_cast<float>(std::sqrt(2.0 / fan_out)));
  return Init::Uniform(static_cast<float>(1.0 / std::sqrt(fan_in)));
}

}  // namespace

Result<Value> AddConvolution(Graph& graph, Value x, const ops::ConvShape& shape,
                             ConvDirection direction, bool bias, ConvInit init) {
  const int64_t o = shape.out_c, i = shape.group_in(), h = shape.kernel_h, w = shape.kernel_w;
  // PyTorch counts a weight's second extent as what comes in, of either direction.
  const Init begin = WeightInit(init, static_cast<double>(i) * static_cast<double>(h * w),
                                static_cast<double>(o) * static_cast<double>(h * w));
  // Pictures: the channels behind the window; files have them in front of it.
  const bool picture = graph.shape(x).rank() == 4;
  const Shape ours = picture ? Shape{o, h, w, i} : Shape{o, w, i};
  FileLayout layout = picture
                          ? FileLayout{.view = ours, .order = {0, 3, 1, 2}, .file = {o, i, h, w}}
                          : FileLayout{.view = ours, .order = {0, 2, 1}, .file = {o, i, w}};
  LOCKSTEP_TRY_ASSIGN(Value weight,
                      graph.AddParameter("weight", ours, begin, Decay::kYes, std::move(layout)));
  Value bias_value;
  if (bias) {
    const int64_t channels = direction == ConvDirection::kForward ? o : shape.in_c;
    const Init zero = Init::Constant(0.0f);
    LOCKSTEP_TRY_ASSIGN(
        bias_value, graph.AddParameter("bias", {channels}, init == ConvInit::kTorch ? begin : zero,
                                       Decay::kNo));
  }
  const bool packed = !graph.options().keeps_training;
  if (packed) {
    LOCKSTEP_TRY_ASSIGN(weight, graph.Add(PackedWeight(shape, direction), {weight}));
  }
  return graph.Add(ConvOperation(shape, direction, packed), {x, weight, bias_value});
}

Status CheckWindow(const std::string& name, const Window& window, int64_t least) {
  // So that no extent that follows from these overflows.
  constexpr int64_t kMost = int64_t{1} << 24;
  for (const int64_t extent : {window.h, window.w}) {
    if (extent < least || extent > kMost)
      return Status::Invalid(name + " must be at least " + std::to_string(least) + " and at most " +
                             std::to_string(kMost) + ", not " + std::to_string(extent));
  }
  return Status::Ok();
}

Status CheckGroups(int64_t in, int64_t out, int64_t groups) {
  if (out <= 0)
    return Status::Invalid("needs at least one output channel, not " + std::to_string(out));
  if (groups <= 0)
    return Status::Invalid("needs at least one group, not " + std::to_string(groups));
  if (in % groups != 0 || out % groups != 0)
    return Status::Invalid("groups = " + std::to_string(groups) + " must divide both the " +
                           std::to_string(in) + " channels it takes and the " +
                           std::to_string(out) + " it gives");
  return Status::Ok();
}

}  // namespace lockstep
