// Operations between values, for layers and models that are made of others:
//
//   LOCKSTEP_TRY_ASSIGN(const Value y, graph.Add(Sum(), {a, b}));
#ifndef LOCKSTEP_LAYERS_ARITHMETIC_H_
#define LOCKSTEP_LAYERS_ARITHMETIC_H_

#include <cstdint>
#include <span>
#include <vector>

#include "engine/plan/operation.h"

namespace lockstep::inline v0_1 {

// y = a + b, both f32 of one shape. Becomes part of the operation that computes a or b where that
// can add.
class Sum final : public Operation {
 public:
  Result<Declaration> Declare(std::span<const TensorSpec> x, const Fused& fused,
                              const PlanOptions& options) const override;
  void Forward(const Step& step, const Operands& o) override;
  void Backward(const Step& step, const Operands& o) override;
  Result<OnnxGraph::Value> Export(const Step& step, const Operands& o, OnnxGraph& graph,
                                  std::span<const OnnxGraph::Value> x) const override;
};

// y = a - b, both f32 of one shape.
class Subtract final : public Operation {
 public:
  Result<Declaration> Declare(std::span<const TensorSpec> x, const Fused& fused,
                              const PlanOptions& options) const override;
  void Forward(const Step& step, const Operands& o) override;
  void Backward(const Step& step, const Operands& o) override;
  Result<OnnxGraph::Value> Export(const Step& step, const Operands& o, OnnxGraph& graph,
                                  std::span<const OnnxGraph::Value> x) const override;
};

// y = a b element by element, both f32 of one shape.
class Multiply final : public Operation {
 public:
  Result<Declaration> Declare(std::span<const TensorSpec> x, const Fused& fused,
                              const PlanOptions& options) const override;
  void Forward(const Step& step, const Operands& o) override;
  void Backward(const Step& step, const Operands& o) override;
  Result<OnnxGraph::Value> Export(const Step& step, const Operands& o, OnnxGraph& graph,
                                  std::span<const OnnxGraph::Value> x) const override;
};

// The inputs side by side in the last dimension (torch.cat with dim=-1): any number of f32 tensors
// that agree in all other dimensions.
class Concatenate final : public Operation {
 public:
  Result<Declaration> Declare(std::span<const TensorSpec> x, const Fused& fused,
                              const PlanOptions& options) const override;
  void Book(std::span<const TensorSpec> x, Booking& booking) override;
  void Forward(const Step& step, const Operands& o) override;
  void Backward(const Step& step, const Operands& o) override;
  Result<OnnxGraph::Value> Export(const Step& step, const Operands& o, OnnxGraph& graph,
                                  std::span<const OnnxGraph::Value> x) const override;

 private:
  std::vector<int64_t> columns_;  // of each input
};

}  // namespace lockstep

#endif  // LOCKSTEP_LAYERS_ARITHMETIC_H_
