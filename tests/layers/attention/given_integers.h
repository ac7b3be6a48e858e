// Integers that a test gives as a value of a graph: segments, positions.
#ifndef LOCKSTEP_TESTS_LAYERS_ATTENTION_GIVEN_INTEGERS_H_
#define LOCKSTEP_TESTS_LAYERS_ATTENTION_GIVEN_INTEGERS_H_

#include <algorithm>
#include <cstdint>
#include <utility>
#include <vector>

#include "engine/plan/graph.h"

namespace lockstep::inline v0_1::testing {

// i32 (B, T) for x (B, T, C), one after another.
class GivenIntegers final : public Operation {
 public:
  explicit GivenIntegers(std::vector<int32_t> integers) : integers_(std::move(integers)) {}
  Result<Declaration> Declare(std::span<const TensorSpec> x, const Fused&,
                              const PlanOptions&) const override {
    return Declaration{
        .outputs = {
            {.shape = {x[0].shape[0], x[0].shape[1]}, .dtype = DType::kI32, .batched = true}}};
  }
  void Forward(const Step&, const Operands& o) override {
    std::copy_n(integers_.begin(), o.y().size(), o.y().as<int32_t>());
  }

 private:
  std::vector<int32_t> integers_;
};

inline Result<Value> Given(Graph& graph, Value x, const std::vector<int32_t>& integers) {
  return graph.Add(GivenIntegers(integers), {x});
}

}  // namespace lockstep::testing

#endif  // LOCKSTEP_TESTS_LAYERS_ATTENTION_GIVEN_INTEGERS_H_
