// Attention as an operation of a network: engine/ops/attention.h on the values of a graph. Layers
// that project queries, keys and values add it (multi_head_attention.h).
#ifndef LOCKSTEP_LAYERS_ATTENTION_ATTENTION_OPERATION_H_
#define LOCKSTEP_LAYERS_ATTENTION_ATTENTION_OPERATION_H_

#include <cstdint>

#include "engine/ops/attention.h"
#include "engine/plan/operation.h"

namespace lockstep::inline v0_1 {

struct AttentionSpec {
  int64_t heads = 1;
  int64_t key_heads = 1;  // divides heads
  int64_t head_size = 0;
  bool causal = false;
  double dropout = 0.0;  // in training
  uint64_t stream = 0;   // of dropout's random numbers
};

// Inputs: x, memory, segments of the queries, segments of the keys; of the last three any may be
// left out. y (B, T, heads head_size).
//   without memory  x (B, T, (heads + 2 key_heads) head_size) holds queries, keys and values
//   with memory     x (B, T, heads head_size) holds queries, memory (B, S, 2 key_heads head_size)
//                   keys and values
// Segments i32 (B, T) and (B, S) as PlacesOf gives them. Where a text goes on
// (PlanOptions::cache_tokens), keys and values of its earlier tokens are kept between steps; that
// takes causal attention without memory.
class AttentionOperation final : public Operation {
 public:
  explicit AttentionOperation(const AttentionSpec& spec) : spec_(spec) {}
  const AttentionSpec& spec() const { return spec_; }

  Result<Declaration> Declare(std::span<const TensorSpec> x, const Fused& fused,
                              const PlanOptions& options) const override;
  void Book(std::span<const TensorSpec> x, Booking& booking) override;
  void Forward(const Step& step, const Operands& o) override;
  void Backward(const Step& step, const Operands& o) override;
  Result<OnnxGraph::Value> Export(const Step& step, const Operands& o, OnnxGraph& graph,
                                  std::span<const OnnxGraph::Value> x) const override;

 private:
  ops::AttentionArgs Args(const Step& step, const Operands& o) const;
  void GoOn(const Step& step, const Operands& o);
  int64_t QueryWidth() const { return spec_.heads * spec_.head_size; }
  int64_t KeyWidth() const { return spec_.key_heads * spec_.head_size; }

  AttentionSpec spec_;
  ops::AttentionShape shape_;
  bool has_memory_ = false;
  int64_t cache_tokens_ = 0;
  Buffer<float> log_sum_, scratch_, cache_;
  Buffer<float> unwanted_;  // for a gradient that nobody wants, but for the other's sake is made
  int64_t scratch_floats_ = 0;
};

}  // namespace lockstep

#endif  // LOCKSTEP_LAYERS_ATTENTION_ATTENTION_OPERATION_H_
