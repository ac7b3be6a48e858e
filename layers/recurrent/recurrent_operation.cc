// layers/recurrent/recurrent_operation.cc — x is seen as (R, C), R = B T places.
//   forward   input = x W_ih^T + b_ih            for all places at once; with layer norm
//             input = LN(x W_ih^T; norm_ih)      and no biases
//             y by time steps of the cell:       engine/ops/recurrent.h
//   backward  d_input, d_hidden by time steps, the last first
//             dW_ih = d_input^T x,  dW_hh = d_hidden^T h_old,  dx = d_input W_ih
//             db_ih = sum d_input,  db_hh = sum d_hidden      sums over the batch in shards
//             with layer norm d_input and d_hidden go through the norms' gradients before
#include "layers/recurrent/recurrent_operation.h"

#include <algorithm>
#include <array>
#include <string>

#include "engine/ops/elementwise.h"
#include "engine/ops/row_norm.h"
#include "layers/rows.h"

namespace lockstep::inline v0_1 {

using kernels::RowMajor;

Result<Declaration> PackedRecurrentWeight::Declare(std::span<const TensorSpec>, const Fused&,
                                                   const PlanOptions&) const {
  return Declaration{.outputs = {{Shape{ops::PackedRecurrentSize(shape_, /*backward=*/false)}}},
                     .from_parameters = true};
}

void PackedRecurrentWeight::Forward(const Step& step, const Operands& o) {
  ops::PackRecurrent(step.ctx, shape_, o.x_f32(0), /*backward=*/false, o.y_f32());
}

Result<Declaration> RecurrentOperation::Declare(std::span<const TensorSpec> x, const Fused&,
                                                const PlanOptions& options) const {
  const Shape& shape = x[kX].shape;
  LOCKSTEP_TRY(CheckRows(x[kX], "channels"));
  if (shape.rank() != 3)
    return Status::Invalid("takes (batch, steps, channels), not " + shape.ToString());
  if (options.cache_tokens > 0 && shape[1] != 1)
    return Status::Invalid(
        "goes on with a text one token after the other, (tokens, 1, channels), not " +
        shape.ToString());
  const TensorSpec& segments = x[kSegments];
  if (segments.shape.rank() != 0 &&
      (segments.dtype != DType::kI32 || segments.shape != Shape{shape[0], shape[1]})) {
    return Status::Invalid("segments must be i32 " + Shape{shape[0], shape[1]}.ToString() +
                           " for x " + shape.ToString() + ", not " + NameOf(segments.dtype) + " " +
                           segments.shape.ToString());
  }
  TensorSpec y = x[kX];
  y.shape = shape.WithChannels(shape_.hidden);
  y.picture = {};
  std::vector<bool> reads(kInputs, true), accumulates(kInputs, true), reports(kInputs, false);
  reports[kInputWeight] = reports[kHiddenWeight] = true;
  return Declaration{.outputs = {y},
                     .reads_x = std::move(reads),
                     .accumulates_dx = std::move(accumulates),
                     .reports_dx = std::move(reports),
                     .flops = 2.0 * static_cast<double>(shape.rows() * shape_.columns()) *
                              static_cast<double>(shape.channels() + shape_.hidden)};
}

void RecurrentOperation::Book(std::span<const TensorSpec> x, Booking& booking) {
  const PlanOptions& options = booking.options();
  const Shape& shape = x[kX].shape;
  in_ = shape.channels();
  one_text_ = options.cache_tokens > 0;
  shape_.steps = shape[1];
  const int64_t rows = shape.rows(), columns = shape_.columns();
  rows_ = booking.CutRows(shape);
  const Life life = options.training ? Life::kStep : Life::kCall;
  gates_ = booking.Book(rows * shape_.kept(), life);
  if (shape_.layer_norm) {
    input_norm_.x = booking.Book(rows * columns, life);
    if (!shape_.lstm()) normed_ = booking.Book(rows * columns, Life::kCall);
  }
  if (one_text_) {
    state_h_ = booking.Book(shape_.hidden, Life::kBound);
    if (shape_.lstm()) state_c_ = booking.Book(shape_.hidden, Life::kBound);
    state_segment_ = booking.Book<int32_t>(1, Life::kBound);
    state_tokens_ = booking.Book<int64_t>(1, Life::kBound);
  }
  const int threads = options.threads;
  scratch_floats_ = std::max(ops::ProductScratch(threads, rows, columns, in_),
                             ops::RecurrentScratch(threads, shape_, shape.batch()));
  if (options.training) {
    const int shards = options.shards;
    scratch_floats_ =
        std::max({scratch_floats_, ops::ProductScratch(threads, columns, in_, rows, shards),
                  ops::ProductScratch(threads, columns, shape_.hidden, rows, shards),
                  ops::ProductScratch(threads, 1, columns, rows, shards),
                  ops::ProductScratch(threads, rows, in_, columns)});
    BookBackward(shape.batch(), booking);
  }
  scratch_ = booking.Book(scratch_floats_, Life::kCall);
}

void RecurrentOperation::BookBackward(int64_t samples, Booking& booking) {
  const int64_t rows = samples * shape_.steps, columns = shape_.columns();
  shard_rows_.resize(static_cast<size_t>(booking.options().shards) + 1);
  packed_ = booking.Book(ops::PackedRecurrentSize(shape_, /*backward=*/false), Life::kCall);
  packed_back_ = booking.Book(ops::PackedRecurrentSize(shape_, /*backward=*/true), Life::kCall);
  h_old_ = booking.Book(rows * shape_.hidden, Life::kStep);
  if (shape_.lstm()) c_ = booking.Book(rows * shape_.hidden, Life::kStep);
  if (!shape_.lstm()) {
    d_input_ = booking.Book(rows * columns, Life::kCall);
    d_hidden_ = booking.Book(rows * columns, Life::kCall);
  }
  d_bias_ = booking.Book(columns, Life::kCall);
  if (!shape_.layer_norm) return;
  const auto statistics = [&](NormBuffers& norm) {
    norm.mean = booking.Book(rows, Life::kStep);
    norm.mean_low = booking.Book(rows, Life::kStep);
    norm.inv_std = booking.Book(rows, Life::kStep);
  };
  statistics(input_norm_);
  statistics(hidden_norm_);
  hidden_norm_.x = booking.Book(rows * columns, Life::kStep);
  d_product_ = booking.Book(rows * columns, Life::kCall);
  if (shape_.lstm()) {
    statistics(cell_norm_);
    d_m_ = booking.Book(rows * shape_.hidden, Life::kCall);
  }
  const int64_t blocks = RowGrid::MaxBlocks(samples, shape_.steps, booking.options().shards);
  partials_ = booking.Book<double>(ops::RowNormPartialsSize(blocks, columns), Life::kCall);
}

ops::RecurrentShape RecurrentOperation::ShapeOf(int64_t samples) const {
  ops::RecurrentShape shape = shape_;
  if (one_text_) shape.steps = samples;
  return shape;
}

ops::RecurrentNorm RecurrentOperation::NormOf(const Step& step, const Operands& o, int gamma,
                                              const NormBuffers& kept) const {
  const auto buffer = [&](Buffer<float> b) { return b.valid() ? step[b] : nullptr; };
  return {.gamma = o.x_f32(gamma),
          .beta = o.x_f32(gamma + 1),
          .x = buffer(kept.x),
          .mean = buffer(kept.mean),
          .mean_low = buffer(kept.mean_low),
          .inv_std = buffer(kept.inv_std)};
}

ops::RecurrentArgs RecurrentOperation::ArgsOf(const Step& step, const Operands& o) const {
  const auto buffer = [&](Buffer<float> b) { return b.valid() ? step[b] : nullptr; };
  const ConstTensor segments = o.x(kSegments);
  ops::RecurrentArgs args{.segments = segments.empty() ? nullptr : segments.as<int32_t>(),
                          .input = step[gates_],
                          .input_stride = shape_.kept(),
                          .packed = packed_.valid() ? step[packed_] : o.x_f32(kPacked),
                          .bias = o.x_f32(kHiddenBias),
                          .gates = step[gates_],
                          .h_old = buffer(h_old_),
                          .c = buffer(c_)};
  if (normed_.valid()) {
    args.input = step[normed_];
    args.input_stride = shape_.columns();
  }
  if (shape_.layer_norm) {
    args.hidden_norm = NormOf(step, o, kHiddenNorm, hidden_norm_);
    if (shape_.lstm()) args.cell_norm = NormOf(step, o, kCellNorm, cell_norm_);
  }
  return args;
}

void RecurrentOperation::InputProduct(const Step& step, const Operands& o,
                                      const ops::RecurrentArgs& args) const {
  const int64_t columns = shape_.columns();
  const float* transposed = o.x_f32(kTransposed);
  float* product = shape_.layer_norm ? step[input_norm_.x] : args.gates;
  ops::Product(step.ctx,
               {.m = o.x(kX).shape().rows(),
                .n = columns,
                .k = in_,
                .a = RowMajor(o.x_f32(kX), in_),
                .b = transposed != nullptr ? RowMajor(transposed, columns)
                                           : RowMajor(o.x_f32(kInputWeight), in_).Transposed(),
                .c = product,
                .c_stride = shape_.layer_norm ? columns : shape_.kept(),
                .epilogue = {.bias = o.x_f32(kInputBias)}},
               Scratch(step));
  if (!shape_.layer_norm) return;
  const ops::RecurrentNorm norm = NormOf(step, o, kInputNorm, input_norm_);
  ops::LayerNormForward(step.ctx, step.rows(rows_), columns,
                        {.x = product,
                         .gamma = norm.gamma,
                         .beta = norm.beta,
                         .eps = shape_.eps,
                         .y = normed_.valid() ? step[normed_] : args.gates,
                         .mean = norm.mean,
                         .mean_low = norm.mean_low,
                         .inv_std = norm.inv_std});
}

void RecurrentOperation::Forward(const Step& step, const Operands& o) {
  const int64_t samples = o.y().shape().batch();
  const ops::RecurrentShape shape = ShapeOf(samples);
  if (packed_.valid()) {
    ops::PackRecurrent(step.ctx, shape, o.x_f32(kHiddenWeight), /*backward=*/false, step[packed_]);
  }
  ops::RecurrentArgs args = ArgsOf(step, o);
  InputProduct(step, o, args);
  args.batch = one_text_ ? 1 : samples;
  args.y = o.y_f32();
  ops::RecurrentState state;
  if (one_text_) {
    int64_t& seen = *step[state_tokens_];
    if (step.first_token > 0 && step.first_token != seen) {
      step.Expect(Status::Invalid("a recurrent layer has the state behind " + std::to_string(seen) +
                                  " tokens of the text, and cannot go on behind " +
                                  std::to_string(step.first_token)));
    }
    state = {.continues = step.first_token > 0,
             .h = step[state_h_],
             .c = state_c_.valid() ? step[state_c_] : nullptr,
             .segment = step[state_segment_]};
    seen = step.first_token + samples;
    args.carried = &state;
  }
  ops::RecurrentForward(step.ctx, shape, args, Scratch(step));
}

void RecurrentOperation::Backward(const Step& step, const Operands& o) {
  const int64_t samples = o.dy().shape().batch();
  const int64_t rows = samples * shape_.steps, columns = shape_.columns();
  ops::PackRecurrent(step.ctx, shape_, o.x_f32(kHiddenWeight), /*backward=*/true,
                     step[packed_back_]);
  ops::RecurrentArgs args = ArgsOf(step, o);
  args.batch = samples;
  float* d_input = shape_.lstm() ? step[gates_] : step[d_input_];
  const ops::RecurrentGradients gradients{
      .dy = o.dy_f32(),
      .packed = step[packed_back_],
      .d_input = d_input,
      .d_hidden = d_hidden_.valid() ? step[d_hidden_] : nullptr,
      .d_product = d_product_.valid() ? step[d_product_] : nullptr,
      .d_m = d_m_.valid() ? step[d_m_] : nullptr};
  ops::RecurrentBackward(step.ctx, shape_, args, gradients, Scratch(step));

  const float* d_hidden = d_hidden_.valid() ? step[d_hidden_] : d_input;
  if (shape_.layer_norm) {
    NormGradient(step, o, kHiddenNorm, columns, args.hidden_norm, d_hidden, nullptr);
    if (shape_.lstm()) {
      ops::RecurrentNorm cell = args.cell_norm;
      cell.x = args.c;
      NormGradient(step, o, kCellNorm, shape_.hidden, cell, gradients.d_m, nullptr);
    }
    NormGradient(step, o, kInputNorm, columns, NormOf(step, o, kInputNorm, input_norm_), d_input,
                 d_input);
    d_hidden = gradients.d_product;
  }

  const RowGrid& grid = step.rows(rows_);
  for (int64_t s = 0; s < grid.shards(); ++s)
    shard_rows_[static_cast<size_t>(s) + 1] = grid.ShardRows(s).end;
  const std::span<const int64_t> segments{shard_rows_.data(),
                                          static_cast<size_t>(grid.shards()) + 1};
  std::array<ops::ProductArgs, 3> products;
  size_t count = 0;
  const auto weight_gradient = [&](int w, const float* dz, const float* x, int64_t in) {
    float* dw = o.dx_f32(w);
    if (dw == nullptr) return;
    products[count++] = {.m = columns,
                         .n = in,
                         .k = rows,
                         .a = RowMajor(dz, columns).Transposed(),
                         .b = RowMajor(x, in),
                         .c = dw,
                         .c_stride = in,
                         .accumulate = o.accumulate(w),
                         .segments = segments,
                         .not_finite = step.gradient_not_finite};
  };
  weight_gradient(kInputWeight, d_input, o.x_f32(kX), in_);
  weight_gradient(kHiddenWeight, d_hidden, args.h_old, shape_.hidden);
  if (float* dx = o.dx_f32(kX); dx != nullptr) {
    products[count++] = {.m = rows,
                         .n = in_,
                         .k = columns,
                         .a = RowMajor(d_input, columns),
                         .b = RowMajor(o.x_f32(kInputWeight), in_),
                         .c = dx,
                         .c_stride = in_,
                         .accumulate = o.accumulate(kX)};
  }
  ops::Products(step.ctx, {products.data(), count}, Scratch(step));
  BiasGradients(step, o, d_input, d_hidden);
}

void RecurrentOperation::NormGradient(const Step& step, const Operands& o, int gamma,
                                      int64_t columns, const ops::RecurrentNorm& norm,
                                      const float* dy, float* dx) const {
  if (dx == nullptr && o.dx_f32(gamma) == nullptr && o.dx_f32(gamma + 1) == nullptr) return;
  ops::LayerNormBackward(step.ctx, step.rows(rows_), columns,
                         {.x = norm.x,
                          .dy = dy,
                          .mean = norm.mean,
                          .mean_low = norm.mean_low,
                          .inv_std = norm.inv_std,
                          .gamma = norm.gamma,
                          .dx = dx,
                          .dgamma = o.dx_f32(gamma),
                          .dbeta = o.dx_f32(gamma + 1),
                          .accumulate = o.accumulate(o.dx(gamma).empty() ? gamma + 1 : gamma),
                          .partials = step[partials_]});
}

void RecurrentOperation::BiasGradients(const Step& step, const Operands& o, const float* d_input,
                                       const float* d_hidden) const {
  static constexpr float kOne = 1.0f;
  const float* summed = nullptr;
  const auto pass = [&](int bias, const float* dz) {
    float* db = o.dx_f32(bias);
    if (db == nullptr) return;
    const int64_t columns = shape_.columns();
    if (summed != dz) {  // both biases of an LSTM have one gradient
      const size_t shards = static_cast<size_t>(step.rows(rows_).shards());
      ops::Product(step.ctx,
                   {.m = 1,
                    .n = columns,
                    .k = o.dy().shape().rows(),
                    .a = {.data = &kOne, .row_stride = 0, .col_stride = 0},
                    .b = RowMajor(dz, columns),
                    .c = step[d_bias_],
                    .c_stride = columns,
                    .segments = {shard_rows_.data(), shards + 1}},
                   Scratch(step));
      summed = dz;
    }
    ops::CopyOrAdd(step.ctx, step[d_bias_], columns, o.accumulate(bias), db);
  };
  pass(kInputBias, d_input);
  pass(kHiddenBias, d_hidden);
}

// ONNX has the gates of an LSTM in the order i, o, f, g and those of a GRU as z, r, n; steps first.
Result<OnnxGraph::Value> RecurrentOperation::Export(const Step&, const Operands& o,
                                                    OnnxGraph& graph,
                                                    std::span<const OnnxGraph::Value> x) const {
  if (shape_.layer_norm)
    return Status::Invalid("ONNX's operator has no layer norm in the recurrence");
  if (!x[kSegments].name.empty())
    return Status::Invalid(
        "ONNX's operator does not know padding on either side, nor packed texts");
  const int64_t n = shape_.hidden, columns = shape_.columns();
  constexpr std::array<int64_t, 4> kLstmOrder = {0, 3, 1, 2}, kGruOrder = {1, 0, 2, 2};
  const auto in_order = [&](const float* from, int64_t gate_size) {
    std::vector<float> to;
    for (int64_t gate = 0; gate < columns / n; ++gate) {
      const int64_t of = (shape_.lstm() ? kLstmOrder : kGruOrder)[static_cast<size_t>(gate)];
      to.insert(to.end(), from + of * gate_size, from + (of + 1) * gate_size);
    }
    return to;
  };
  const Shape& shape = x[kX].shape;
  const int64_t batch = shape[0], steps = shape[1];
  std::vector<OnnxGraph::Value> operands = {
      graph.Add("Transpose", {x[kX]}, {steps, batch, in_},
                {{"perm", std::vector<int64_t>{1, 0, 2}}}),
      graph.SetConstant(x[kInputWeight], {1, columns, in_},
                        in_order(o.x_f32(kInputWeight), n * in_)),
      graph.SetConstant(x[kHiddenWeight], {1, columns, n},
                        in_order(o.x_f32(kHiddenWeight), n * n))};
  if (o.x_f32(kInputBias) != nullptr) {
    const auto bias = [&](int i) {
      return graph.SetConstant(x[static_cast<size_t>(i)], {1, columns}, in_order(o.x_f32(i), n));
    };
    operands.push_back(graph.Add("Concat", {bias(kInputBias), bias(kHiddenBias)}, {1, 2 * columns},
                                 {{"axis", int64_t{1}}}));
  }
  OnnxGraph::Attributes attributes = {
      {"hidden_size", n}, {"direction", std::string(shape_.reverse ? "reverse" : "forward")}};
  if (!shape_.lstm()) attributes.push_back({"linear_before_reset", int64_t{1}});
  const OnnxGraph::Value y = graph.Add(shape_.lstm() ? "LSTM" : "GRU", operands,
                                       {steps, 1, batch, n}, std::move(attributes));
  const OnnxGraph::Value by_sample = graph.Add("Transpose", {y}, {batch, steps, 1, n},
                                               {{"perm", std::vector<int64_t>{2, 0, 1, 3}}});
  return graph.Reshape(by_sample, {batch, steps, n});
}

}  // namespace lockstep
