// op/lstm_b32t128h256_{fwd,fwdbwd}/threads:N, op/lstm_b32t64h512, op/gru_... likewise: one layer of
// torch.nn.LSTM or GRU (batch_first, one direction, as many inputs as units) as a network trains
// with it, and the gradients of x and of all parameters. Items are multiply-adds, two
// operations each, of the products alone: forward one with the input and one with the state,
// backward twice as many.
#include <benchmark/benchmark.h>

#include <cmath>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "bench/floats.h"
#include "engine/plan/program.h"
#include "layers/recurrent/gru.h"
#include "layers/recurrent/lstm.h"
#include "tests/reference/recurrent.h"

namespace lockstep::inline v0_1 {
namespace {

using bench::Floats;

// A loss whose gradient is given.
class Given final : public LossOperation {
 public:
  Result<Declaration> Declare(std::span<const TensorSpec>, const Fused&,
                              const PlanOptions&) const override {
    return Declaration{.outputs = {{Shape{1}, DType::kF64}}, .reads_x = {false, true}};
  }
  void Forward(const Step&, const Operands& o) override { *o.y().as<double>() = 0.0; }
  void Backward(const Step&, const Operands& o) override {
    std::memcpy(o.dx(0).data(), o.x(1).data(), o.x(1).bytes());
  }
  double Weight(const Step&, const Operands&) const override { return 1.0; }
};

struct Sizes {
  int64_t batch, steps, hidden;
};

class Recurrence {
 public:
  Recurrence(bool lstm, const Sizes& sizes, int threads)
      : lstm_(lstm),
        shape_{sizes.batch, sizes.steps, sizes.hidden},
        context_({.threads = threads}),
        x_(shape_.size()),
        y_(shape_.size()),
        dy_(shape_.size()) {
    x_.FillRandom(1), dy_.FillRandom(2);
    Graph graph(store_, {.threads = threads, .samples = sizes.batch});
    const Value x = graph.AddInput("x", shape_, DType::kF32, /*wants_gradient=*/true).value();
    const Value y =
        (lstm ? Apply(graph, "", Lstm(sizes.hidden), x) : Apply(graph, "", Gru(sizes.hidden), x))
            .value();
    const Value dy = graph.AddInput("dy", shape_).value();
    LOCKSTEP_CHECK(graph.AddOutput("y", y).ok() && graph.AddLoss("given", Given(), {y, dy}).ok(),
                   "the network cannot be built");
    program_ = Program::Make(std::move(graph), {}).value();
    store_.Allocate(context_, /*seed=*/1, /*training=*/true);
    memory_ = std::make_unique<PageMemory>(context_,
                                           program_->step_bytes() + program_->kept_bytes() + 64);
    program_->Place(memory_->data(), memory_->data() + program_->step_bytes());
    program_->SetCut(cut());
    program_->SetInput(0, ConstTensor(x_.get(), shape_));
    program_->SetInput(1, ConstTensor(dy_.get(), shape_));
    program_->SetOutput(0, Tensor(y_.get(), shape_));
  }

  void Forward() { program_->Forward(step(), /*losses=*/false); }
  void Backward() {
    const double factor = 1.0;
    program_->Backward(step(), {&factor, 1});
  }
  double multiply_adds(bool backward) const {
    const auto h = static_cast<double>(shape_[2]);
    return (backward ? 3.0 : 1.0) * static_cast<double>(shape_.rows()) * 2.0 * h * h *
           (lstm_ ? 4.0 : 3.0);
  }

  // The last sample's states against the same in double.
  std::string Check() {
    Forward();
    Backward();
    const auto parameter = [&](size_t i) {
      const std::span<const float> values = store_.parameters().value(i).span<float>();
      return std::vector<double>(values.begin(), values.end());
    };
    const reference::RecurrentWeights<double> weights{
        .ih = parameter(0), .hh = parameter(1), .bias_ih = parameter(2), .bias_hh = parameter(3)};
    const int64_t first = shape_.size() - shape_[1] * shape_[2];
    const std::vector<double> x(x_.get() + first, x_.get() + shape_.size());
    const std::vector<double> y =
        reference::Recurrent(lstm_, false, static_cast<size_t>(shape_[2]), x, weights, {});
    for (size_t i = 0; i < y.size(); ++i) {
      const double got = static_cast<double>(y_[first + static_cast<int64_t>(i)]);
      if (!(std::abs(got - y[i]) <= 1e-5)) return "y is wrong";
    }
    return "";
  }

 private:
  BatchCut cut() const { return BatchCut::Whole(shape_[0], 1); }
  Step step() {
    return {
        .ctx = context_, .program = *program_, .cut = cut(), .states = store_.state_memory(false)};
  }

  bool lstm_;
  Shape shape_;
  Context context_;
  Floats x_, y_, dy_;
  ParameterStore store_;
  std::unique_ptr<Program> program_;
  std::unique_ptr<PageMemory> memory_;
};

const bool kRegistered = [] {
  for (const bool lstm : {true, false}) {
    for (const Sizes& sizes : {Sizes{32, 128, 256}, Sizes{32, 64, 512}}) {
      for (const bool backward : {false, true}) {
        for (const int threads : {1, 2}) {
          const std::string name =
              std::string(lstm ? "op/lstm" : "op/gru") + "_b" + std::to_string(sizes.batch) + "t" +
              std::to_string(sizes.steps) + "h" + std::to_string(sizes.hidden) +
              (backward ? "_fwdbwd" : "_fwd") + "/threads:" + std::to_string(threads);
          benchmark::RegisterBenchmark(name.c_str(), [=](benchmark::State& state) {
            Recurrence net(lstm, sizes, threads);
            if (const std::string wrong = net.Check(); !wrong.empty()) {
              state.SkipWithError(wrong.c_str());
              return;
            }
            for (auto _ : state) {
              net.Forward();
              if (backward) net.Backward();
            }
            state.counters["flops"] = benchmark::Counter(
                2.0 * net.multiply_adds(backward) * static_cast<double>(state.iterations()),
                benchmark::Counter::kIsRate);
          })->UseRealTime();
        }
      }
    }
  }
  return true;
}();

}  // namespace
}  // namespace lockstep
