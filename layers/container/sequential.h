// Layers one after another (torch.nn.Sequential). Children are named "0", "1", ... in the order
// they were given.
#ifndef LOCKSTEP_LAYERS_CONTAINER_SEQUENTIAL_H_
#define LOCKSTEP_LAYERS_CONTAINER_SEQUENTIAL_H_

#include <concepts>
#include <cstddef>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "engine/layer.h"

namespace lockstep::inline v0_1 {

class Sequential final : public Layer {
 public:
  Sequential() = default;
  // Sequential(Linear(64), BatchNorm(), Relu(), Linear(1)): takes each layer over.
  template <std::derived_from<Layer> First, std::derived_from<Layer>... Rest>
  requires(sizeof...(Rest) > 0 ||
           !std::same_as<First, Sequential>) explicit Sequential(First first, Rest... rest) {
    Add(std::move(first));
    (Add(std::move(rest)), ...);
  }

  // Appends a layer. Returns *this.
  template <std::derived_from<Layer> L>
  Sequential& Add(L layer) {
    return Add(std::unique_ptr<Layer>(std::make_unique<L>(std::move(layer))));
  }
  Sequential& Add(std::unique_ptr<Layer> layer);

  size_t size() const { return layers_.size(); }
  const Layer& operator[](size_t i) const { return *layers_[i]; }

  std::string kind() const override { return "Sequential"; }
  Result<Value> Build(Graph& graph, Value x) const override;

 private:
  std::vector<std::unique_ptr<Layer>> layers_;
};

}  // namespace lockstep

#endif  // LOCKSTEP_LAYERS_CONTAINER_SEQUENTIAL_H_
