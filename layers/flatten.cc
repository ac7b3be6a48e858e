#include "layers/flatten.h"

#include <cstring>

namespace lockstep::inline v0_1 {
namespace {

class FlattenOperation final : public Operation {
 public:
  Result<Declaration> Declare(std::span<const TensorSpec> x, const Fused&,
                              const PlanOptions&) const override {
    TensorSpec y = x[0];
    y.shape = {x[0].shape.batch(), x[0].shape.sample_size()};
    if (x[0].shape.rank() == 4) y.picture = Shape(x[0].shape.dims().subspan(1));
    return Declaration{.outputs = {y}, .is_view = true};
  }
  // Copies only where memory is not shared.
  void Forward(const Step&, const Operands& o) override {
    std::memcpy(o.y().data(), o.x(0).data(), o.x(0).bytes());
  }
  void Backward(const Step&, const Operands& o) override {
    std::memcpy(o.dx(0).data(), o.dy().data(), o.dy().bytes());
  }
  Result<OnnxGraph::Value> Export(const Step&, const Operands&, OnnxGraph& graph,
                                  std::span<const OnnxGraph::Value> x) const override {
    return graph.Add("Flatten", {x[0]}, {x[0].shape.batch(), x[0].shape.sample_size()},
                     {{"axis", int64_t{1}}});
  }
};

}  // namespace

Result<Value> Flatten::Build(Graph& graph, Value x) const {
  return graph.Add(FlattenOperation(), {x});
}

}  // namespace lockstep
