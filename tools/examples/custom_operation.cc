// An operation of one's own, forward and backward, in a layer that gives it a parameter: PReLU with
// a slope for each channel (torch.nn.PReLU; He et al., "Delving deep into rectifiers", 2015).
//
//   forward   y  = x where x > 0, else a x           a by channel, learned
//   backward  dx = dy where x > 0, else a dy
//             da = sum over rows of dy x where x <= 0
//
// Its gradients are then held against central differences in double.
#include <lockstep/lockstep.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <vector>
using namespace lockstep;

// Inputs: x (rows, C), a (C).
class PReluOperation final : public Operation {
 public:
  // What comes out, and what the plan may rely on: without reads_x, x may be gone in Backward.
  Result<Declaration> Declare(std::span<const TensorSpec> x, const Fused&,
                              const PlanOptions&) const override {
    return Declaration{.outputs = {x[0]}, .reads_x = {true, true}};
  }
  // The batch's rows are summed in blocks that shapes alone decide: the same bits on any number of
  // threads and ranks.
  void Book(std::span<const TensorSpec> x, Booking& booking) override {
    channels_ = x[0].shape.channels();
    const int64_t rows = x[0].shape.rows_per_sample();
    rows_ = booking.CutRows(rows);
    sums_ = booking.Book(
        channels_ * RowGrid::MaxBlocks(x[0].shape.batch(), rows, booking.options().shards),
        Life::kCall);
  }
  void Forward(const Step& step, const Operands& o) override {
    const float *x = o.x_f32(0), *a = o.x_f32(1);
    float* y = o.y_f32();
    step.ctx.For(o.y().shape().rows(), o.y().size(), [&](int64_t row) {
      for (int64_t c = 0, i = row * channels_; c < channels_; ++c, ++i)
        y[i] = x[i] > 0.0f ? x[i] : a[c] * x[i];
    });
  }
  // Either gradient may be unwanted, and is then null. For da a block is given even where it is
  // not, so that the loop stays one.
  void Backward(const Step& step, const Operands& o) override {
    const RowGrid& grid = step.rows(rows_);
    const float *x = o.x_f32(0), *a = o.x_f32(1), *dy = o.dy_f32();
    float *dx = o.dx_f32(0), *da = o.dx_f32(1), *sums = step[sums_];
    step.ctx.For(grid.blocks(), 2 * o.dy().size(), [&](int64_t block) {
      float* sum = sums + block * channels_;
      std::fill_n(sum, channels_, 0.0f);
      for (int64_t row = grid.BlockRows(block).begin; row < grid.BlockRows(block).end; ++row) {
        for (int64_t c = 0, i = row * channels_; c < channels_; ++c, ++i) {
          if (dx != nullptr) dx[i] = x[i] > 0.0f ? dy[i] : a[c] * dy[i];
          if (!(x[i] > 0.0f)) sum[c] += dy[i] * x[i];
        }
      }
    });
    if (da == nullptr) return;
    const auto add = [&](int64_t into, int64_t, int64_t from, int64_t) {
      for (int64_t c = 0; c < channels_; ++c)
        sums[into * channels_ + c] += sums[from * channels_ + c];
    };
    for (int64_t shard = 0; shard < grid.shards(); ++shard) MergeBlocks(grid, shard, add);
    MergeShards(grid, add);
    std::copy_n(sums, channels_, da);
  }

 private:
  int64_t channels_ = 0;
  Rows rows_;
  Buffer<float> sums_;  // (blocks, C)
};

class PRelu final : public Layer {
 public:
  std::string kind() const override { return "PReLU"; }
  Result<Value> Build(Graph& graph, Value x) const override {
    LOCKSTEP_TRY_ASSIGN(const Value a, graph.AddParameter("weight", {graph.shape(x).channels()},
                                                          Init::Constant(0.25f), Decay::kNo));
    return graph.Add(PReluOperation(), {x, a});
  }
};

constexpr int64_t kRows = 300, kChannels = 3, kSize = kRows * kChannels;

// The mean squared error of the layer alone, as a function in double.
double LossOf(const std::vector<double>& x, const std::vector<double>& a,
              const std::vector<float>& t) {
  double sum = 0.0;
  for (size_t i = 0; i < kSize; ++i) {
    const double e = (x[i] > 0.0 ? x[i] : a[i % kChannels] * x[i]) - static_cast<double>(t[i]);
    sum += e * e;
  }
  return sum / kSize;
}

Status Run() {
  Context ctx;
  LOCKSTEP_TRY_ASSIGN(Network net,
                      Network::Bind(ctx, PRelu(), MseLoss(),
                                    {.input = {kRows, kChannels}, .input_gradient = true}));
  Random random(/*seed=*/2, /*stream=*/0);
  std::vector<float> x(kSize), t(kSize);
  for (float& v : x) v = static_cast<float>(random.Normal());
  for (float& v : t) v = static_cast<float>(random.Normal());
  LOCKSTEP_TRY(
      net.Gradients({x.data(), {kRows, kChannels}}, {t.data(), {kRows, kChannels}}).status());

  // Float rounds each of the up to 300 terms of a sum, of size 2 |e x| / 900 < 0.05, by 2^-24 of
  // the sum so far, which is below 1: 300 * 2^-24 = 2e-5 at worst. The differences are exact to
  // 1e-9, since the loss is quadratic on either side of the kink, which no x is near.
  double worst = 0.0;
  const auto compare = [&](std::vector<double> at_x, std::vector<double> at_a, bool of_x, size_t i,
                           float gradient) {
    double& v = of_x ? at_x[i] : at_a[i];
    const double begin = v, h = 1e-6;
    v = begin + h;
    const double above = LossOf(at_x, at_a, t);
    v = begin - h;
    const double error =
        std::abs((above - LossOf(at_x, at_a, t)) / (2.0 * h) - static_cast<double>(gradient));
    if (!(error <= worst)) worst = error;  // NaN stays
  };
  const std::vector<double> all_x(x.begin(), x.end()), all_a(kChannels, 0.25);
  for (size_t i = 0; i < kSize; ++i) compare(all_x, all_a, true, i, net.input_gradient().f32()[i]);
  for (size_t c = 0; c < kChannels; ++c)
    compare(all_x, all_a, false, c, net.parameters().gradient(0).f32()[c]);
  std::printf("largest error of %d gradients: %.1e\n", static_cast<int>(kSize + kChannels), worst);
  return worst <= 2e-5 ? Status::Ok() : Status::Invalid("a gradient is not that of the loss");
}

int main() {
  const Status status = Run();
  if (!status.ok()) std::fprintf(stderr, "%s\n", status.message().c_str());
  return status.ok() ? 0 : 1;
}
