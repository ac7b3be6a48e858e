// One direction of one layer of an LSTM or GRU: what Lstm and Gru add to a graph.
#ifndef LOCKSTEP_LAYERS_RECURRENT_RECURRENT_OPERATION_H_
#define LOCKSTEP_LAYERS_RECURRENT_RECURRENT_OPERATION_H_

#include <cstdint>
#include <span>
#include <vector>

#include "engine/ops/product.h"
#include "engine/ops/recurrent.h"
#include "engine/plan/operation.h"

namespace lockstep::inline v0_1 {

// W_hh as the loop over time reads it, kept between steps of a network that only evaluates.
class PackedRecurrentWeight final : public Operation {
 public:
  explicit PackedRecurrentWeight(const ops::RecurrentShape& shape) : shape_(shape) {}

  Result<Declaration> Declare(std::span<const TensorSpec> w_hh, const Fused& fused,
                              const PlanOptions& options) const override;
  void Forward(const Step& step, const Operands& o) override;

 private:
  ops::RecurrentShape shape_;
};

// x (B, T, C) -> y (B, T, H). In a graph that goes on with one text x is (n, 1, C), n steps of one
// sample, and the state is kept from step to step.
class RecurrentOperation final : public Operation {
 public:
  // Places of the inputs.
  enum Input {
    kX,
    kInputWeight,   // W_ih (G H, C)
    kHiddenWeight,  // W_hh (G H, H)
    kInputBias,     // b_ih (G H), or nothing
    kHiddenBias,    // b_hh (G H), or nothing
    kSegments,      // i32 (B, T), or nothing
    kInputNorm,     // gamma, beta (G H); these three pairs where layer_norm, else nothing
    kHiddenNorm = kInputNorm + 2,  // gamma, beta (G H)
    kCellNorm = kHiddenNorm + 2,   // gamma, beta (H), of an LSTM
    kTransposed = kCellNorm + 2,   // of a graph for evaluation: W_ih^T,
    kPacked,                       // and PackedRecurrentWeight; else nothing
    kInputs
  };

  // shape.steps is not read.
  explicit RecurrentOperation(const ops::RecurrentShape& shape) : shape_(shape) {}

  Result<Declaration> Declare(std::span<const TensorSpec> x, const Fused& fused,
                              const PlanOptions& options) const override;
  void Book(std::span<const TensorSpec> x, Booking& booking) override;
  void Forward(const Step& step, const Operands& o) override;
  void Backward(const Step& step, const Operands& o) override;
  Result<OnnxGraph::Value> Export(const Step& step, const Operands& o, OnnxGraph& graph,
                                  std::span<const OnnxGraph::Value> x) const override;

 private:
  // Of a norm what it keeps for backward.
  struct NormBuffers {
    Buffer<float> x, mean, mean_low, inv_std;
  };

  void BookBackward(int64_t samples, Booking& booking);
  ops::RecurrentShape ShapeOf(int64_t samples) const;
  ops::RecurrentNorm NormOf(const Step& step, const Operands& o, int gamma,
                            const NormBuffers& kept) const;
  ops::RecurrentArgs ArgsOf(const Step& step, const Operands& o) const;
  void InputProduct(const Step& step, const Operands& o, const ops::RecurrentArgs& args) const;
  // Gradients of gamma and beta from `dy`, and dx (null: not wanted).
  void NormGradient(const Step& step, const Operands& o, int gamma, int64_t columns,
                    const ops::RecurrentNorm& norm, const float* dy, float* dx) const;
  void BiasGradients(const Step& step, const Operands& o, const float* d_input,
                     const float* d_hidden) const;
  std::span<float> Scratch(const Step& step) const {
    return {step[scratch_], static_cast<size_t>(scratch_floats_)};
  }

  ops::RecurrentShape shape_;
  bool one_text_ = false;  // goes on with one text
  int64_t in_ = 0;         // C
  Rows rows_;
  std::vector<int64_t> shard_rows_;     // boundaries of the shards, of the step at hand
  Buffer<float> packed_, packed_back_;  // W_hh, where it changes from step to step
  Buffer<float> gates_, h_old_, c_;
  NormBuffers input_norm_, hidden_norm_, cell_norm_;
  Buffer<float> normed_;  // the normalised input product of a GRU
  Buffer<float> d_input_, d_hidden_, d_product_, d_m_, d_bias_;
  Buffer<double> partials_;
  Buffer<float> state_h_, state_c_;  // of the text that goes on
  Buffer<int32_t> state_segment_;
  Buffer<int64_t> state_tokens_;  // how many have been seen
  Buffer<float> scratch_;
  int64_t scratch_floats_ = 0;
};

}  // namespace lockstep

#endif  // LOCKSTEP_LAYERS_RECURRENT_RECURRENT_OPERATION_H_
