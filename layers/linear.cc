// layers/linear.cc — x is seen as (R, K), y as (R, N).
//   forward   y  = act(scale (x W^T + b) + add)    scale, add and act only where they were fused
//   backward  dz = dy act',  d_add = dz            dy where ReLU let through
//             dW = dz^T x,  db = sum dz            both summed over the batch in shards
//             dx = dz W
#include "layers/linear.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>
#include <vector>

#include "engine/ops/product.h"
#include "layers/epilogue.h"
#include "layers/rows.h"
#include "layers/transposed_weight.h"

namespace lockstep::inline v0_1 {
namespace {

using kernels::RowMajor;

Init WeightInit(const LinearOptions& options, int64_t in, int64_t out) {
  const auto fan_in = static_cast<double>(in);
  const auto fan_out = static_cast<double>(out);
  switch (options.init) {
    case LinearOptions::WeightInit::kTorch:
      break;
    case LinearOptions::WeightInit::kKaimingNormal:  // He et al., 2015
      return Init::Normal(static_cast<float>(std::sqrt(2.0 / fan_in)) * options.init_scale);
    case LinearOptions::WeightInit::kXavierUniform:  // Glorot and Bengio, 2010
      return Init::Uniform(static_cast<float>(std::sqrt(6.0 / (fan_in + fan_out))) *
                           options.init_scale);
    case LinearOptions::WeightInit::kNormal:
      return Init::Normal(options.init_scale);
  }
  return Init::Uniform(static_cast<float>(1.0 / std::sqrt(fan_in)) * options.init_scale);
}

// Files have the channels of a flattened picture in front, and with them the columns of W. Where
// there is one pixel or one channel that is the same order.
FileLayout WeightLayout(const TensorSpec& x, int64_t out) {
  const Shape& picture = x.picture;
  const int64_t in = x.shape.channels();
  if (picture.rank() == 1) return {.unknown = true};
  if (picture.rank() != 3 || picture.size() != in) return {};
  if (picture[2] == in || picture[2] == 1) return {};
  return {
      .view = {out, picture[0], picture[1], picture[2]}, .order = {0, 3, 1, 2}, .file = {out, in}};
}

// Inputs: x, weight (transposed or not), bias or nothing.
class LinearOperation final : public Operation {
 public:
  LinearOperation(int64_t out, bool transposed) : out_(out), transposed_(transposed) {}

  Result<Declaration> Declare(std::span<const TensorSpec> x, const Fused& fused,
                              const PlanOptions& options) const override {
    TensorSpec y = x[0];
    y.shape = x[0].shape.WithChannels(out_);
    y.picture = {};
    Declaration declared{.outputs = {y},
                         .reads_x = {true, true},
                         .accumulates_dx = {true, true, true},
                         .reports_dx = {false, true, true},
                         .flops = 2.0 * static_cast<double>(y.shape.size()) *
                                  static_cast<double>(x[0].shape.channels()),
                         .applies = {.affine = true,
                                     .add = true,
                                     .activation = true,
                                     .moments = true,
                                     .curve = true},
                         .can_finish_dx = true};
    LayerEpilogue::Declare(fused, options, declared);
    declared.is_product = !transposed_ && fused.scale < 0 && fused.add < 0 &&
                          fused.activation == kernels::Activation::kNone && !fused.curve &&
                          fused.moments_of_y < 0;
    return declared;
  }

  void Book(std::span<const TensorSpec> x, Booking& booking) override {
    const PlanOptions& options = booking.options();
    in_ = x[0].shape.channels();
    epilogue_.Book(x[0].shape, x[0].shape.WithChannels(out_), booking);
    const int64_t rows = x[0].shape.rows();
    scratch_floats_ = ops::ProductScratch(options.threads, rows, out_, in_);
    if (options.training) {
      scratch_floats_ = std::max(
          {scratch_floats_, ops::ProductScratch(options.threads, out_, in_, rows, options.shards),
           ops::ProductScratch(options.threads, 1, out_, rows, options.shards),
           ops::ProductScratch(options.threads, rows, in_, out_)});
    }
    scratch_ = booking.Book(scratch_floats_, Life::kCall);
  }

  void Forward(const Step& step, const Operands& o) override {
    const ops::ProductArgs args{
        .m = o.y().shape().rows(),
        .n = out_,
        .k = in_,
        .a = RowMajor(o.x_f32(0), in_),
        .b = transposed_ ? RowMajor(o.x_f32(1), out_) : RowMajor(o.x_f32(1), in_).Transposed(),
        .c = epilogue_.Product(o),
        .c_stride = out_,
        .epilogue = epilogue_.Of(o)};
    epilogue_.Finishing(step, o, args, [&](const ops::ProductArgs& all) {
      ops::Product(step.ctx, all, {step[scratch_], static_cast<size_t>(scratch_floats_)});
    });
  }

  void FinishedDy(const Step& step, const Operands& o, int64_t block,
                  IndexRange columns) const override {
    epilogue_.BendFinished(step, o, block, columns);
  }

  void Backward(const Step& step, const Operands& o) override {
    const int64_t rows = o.dy().shape().rows();
    const float* dz = epilogue_.MaskedGradient(step, o);
    epilogue_.PassToAdd(step, o, dz);

    const std::span<const int64_t> segments = epilogue_.Shards(step, 1);
    std::array<ops::ProductArgs, 3> products;
    size_t count = 0;
    if (float* dw = o.dx_f32(1); dw != nullptr) {
      products[count++] = {.m = out_,
                           .n = in_,
                           .k = rows,
                           .a = RowMajor(dz, out_).Transposed(),
                           .b = RowMajor(o.x_f32(0), in_),
                           .c = dw,
                           .c_stride = in_,
                           .accumulate = o.accumulate(1),
                           .segments = segments,
                           .not_finite = step.gradient_not_finite};
    }
    const auto finished_dx = epilogue_.TellerOfDx(step, o);
    if (float* dx = o.dx_f32(0); dx != nullptr) {
      products[count++] = {.m = rows,
                           .n = in_,
                           .k = out_,
                           .a = RowMajor(dz, out_),
                           .b = RowMajor(o.x_f32(1), in_),
                           .c = dx,
                           .c_stride = in_,
                           .accumulate = o.accumulate(0)};
      epilogue_.TellOfDx(step, finished_dx, products[count - 1]);
    }
    if (!o.dx(2).empty()) products[count++] = epilogue_.BiasGradient(step, o, dz, segments);
    ops::Products(step.ctx, {products.data(), count},
                  {step[scratch_], static_cast<size_t>(scratch_floats_)});
  }

  // A fold makes scale and shift part of the weights of the exported model.
  Result<OnnxGraph::Value> Export(const Step&, const Operands& o, OnnxGraph& graph,
                                  std::span<const OnnxGraph::Value> x) const override {
    OnnxGraph::Value weight = x[1], bias = x[2];
    // Those that were made of parameters beforehand have no names.
    const bool folds = epilogue_.fused().scale >= 0;
    if (weight.name.empty() && !folds)
      weight = graph.AddConstant("weight", {out_, in_}, o.x_f32(1));
    if (bias.name.empty() && !o.x(2).empty() && !folds)
      bias = graph.AddConstant("bias", {out_}, o.x_f32(2));
    if (folds) {
      std::vector<float> scaled(o.x_f32(1), o.x_f32(1) + out_ * in_);
      const float* scale = o.x_f32(epilogue_.fused().scale);
      for (size_t i = 0; i < scaled.size(); ++i) scaled[i] *= scale[i / static_cast<size_t>(in_)];
      weight = graph.AddConstant("weight", {out_, in_}, std::move(scaled));
      bias = graph.AddConstant("bias", {out_}, o.x_f32(epilogue_.fused().shift));
    }
    // Gemm takes matrices only.
    const OnnxGraph::Value rows = graph.Reshape(x[0], {x[0].shape.rows(), in_});
    std::vector<OnnxGraph::Value> operands = {rows, weight};
    if (!bias.name.empty()) operands.push_back(bias);
    const OnnxGraph::Value y =
        graph.Add("Gemm", operands, {x[0].shape.rows(), out_}, {{"transB", int64_t{1}}});
    return graph.Reshape(y, x[0].shape.WithChannels(out_));
  }

 private:
  int64_t out_;
  bool transposed_;
  int64_t in_ = 0;
  LayerEpilogue epilogue_;
  Buffer<float> scratch_;  // of the products
  int64_t scratch_floats_ = 0;
};

}  // namespace

Result<Value> AddProduct(Graph& graph, Value x, Value weight, Value bias) {
  LOCKSTEP_TRY(CheckRows(graph.spec(x), "features"));
  const Shape of_weight = graph.shape(weight);
  if (of_weight.channels() != graph.shape(x).channels()) {
    return Status::Invalid("the weight takes " + std::to_string(of_weight.channels()) +
                           " features, x has " + std::to_string(graph.shape(x).channels()));
  }
  const bool transposed =
      !graph.options().keeps_training && of_weight.size() <= kLargestTransposedWeight;
  if (transposed) {
    LOCKSTEP_TRY_ASSIGN(weight, graph.Add(TransposedWeight(), {weight}));
  }
  return graph.Add(LinearOperation(of_weight[0], transposed), {x, weight, bias});
}

Result<Value> Linear::Build(Graph& graph, Value x) const {
  LOCKSTEP_TRY(CheckRows(graph.spec(x), "features"));
  if (out_ <= 0) return Status::Invalid("needs at least one output, not " + std::to_string(out_));
  const int64_t in = graph.shape(x).channels();
  const Init init = WeightInit(options_, in, out_);
  LOCKSTEP_TRY_ASSIGN(Value weight, graph.AddParameter("weight", {out_, in}, init, Decay::kYes,
                                                       WeightLayout(graph.spec(x), out_)));
  Value bias;
  if (options_.bias) {
    const bool torch = options_.init == LinearOptions::WeightInit::kTorch;
    LOCKSTEP_TRY_ASSIGN(
        bias, graph.AddParameter("bias", {out_}, torch ? init : Init::Constant(0.0f), Decay::kNo));
  }
  return AddProduct(graph, x, weight, bias);
}

}  // namespace lockstep
