// Layers one after another (torch.nn.Sequential). Children are named "0", "1", ... in the order
// they were given.
//
// At Bind neighbours are fused, invisibly to whoever wrote the model:
//   product + batch norm      moments are taken from the product's finished blocks; evaluation
//   folds the norm into the weights anything + activation     where the layer in front agrees to
//   apply it
// A fused activation keeps its number, so names of parameters do not depend on what was fused.
#ifndef LOCKSTEP_LAYERS_SEQUENTIAL_H_
#define LOCKSTEP_LAYERS_SEQUENTIAL_H_

#include <concepts>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "engine/layer.h"

namespace lockstep {

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

  // Appends a layer; only before Bind. Returns *this.
  template <std::derived_from<Layer> L>
  Sequential& Add(L layer) {
    return Add(std::unique_ptr<Layer>(std::make_unique<L>(std::move(layer))));
  }
  Sequential& Add(std::unique_ptr<Layer> layer);

  size_t size() const { return children_.size(); }
  Layer& operator[](size_t i) { return *children_[i]; }

  std::string kind() const override { return "Sequential"; }
  Result<Bound> Bind(const Shape& in, Planner& plan) override;
  void Forward(const Step& step, ConstTensor x, Tensor y) override;
  void Backward(const Step& step, ConstTensor x, ConstTensor y, ConstTensor dy, Tensor dx) override;
  Result<Graph::Value> Export(const Step& step, Graph& graph, const Graph::Value& x) const override;
  Result<Admission> Admit(int64_t samples, Mode mode) const override;

  bool FuseActivation(kernels::Activation activation) override;
  bool FuseAdd() override;
  void ForwardAdd(const Step& step, ConstTensor x, ConstTensor add, Tensor y) override;
  void BackwardAdd(const Step& step, ConstTensor x, ConstTensor y, ConstTensor dy, Tensor dx,
                   Tensor d_add) override;

 private:
  // One child that does work of its own, with the activation it has taken over.
  struct Stage {
    Layer* layer = nullptr;
    std::string path{};
    Bound bound{};
    int begin = 0, end = 0;  // ticks of the plan
    bool has_parameters = false;
    bool serves_norm = false;  // the next stage is the batch norm this one has been fused with
    kernels::Activation activation = kernels::Activation::kNone;
  };
  // Where the values between two stages, or their gradients, lie: in the caller's x or y, or in a
  // buffer of the arena.
  struct Place {
    enum class In { kX, kY, kBuffer };
    In in = In::kBuffer;
    size_t group = 0;  // places of one group are the same memory
    Buffer<float> buffer{};
  };

  void FuseNeighbours(Planner& plan);
  void PlaceValues(Planner& plan);
  void PlaceGradients(Planner& plan);
  ConstTensor Value(const Step& step, size_t boundary, int64_t samples, ConstTensor x,
                    ConstTensor y) const;
  Tensor Gradient(const Step& step, size_t boundary, int64_t samples, ConstTensor dy,
                  Tensor dx) const;
  void Run(const Step& step, ConstTensor x, const ConstTensor* add, Tensor y);
  void RunBackward(const Step& step, ConstTensor x, ConstTensor y, ConstTensor dy, Tensor dx,
                   Tensor* d_add);

  std::vector<std::unique_ptr<Layer>> children_;
  kernels::Activation last_activation_ = kernels::Activation::kNone;  // taken over by the last one
  std::vector<Stage> stages_;
  // Boundary b lies in front of stage b; boundary 0 is x and boundary stages_.size() is y.
  std::vector<Shape> shapes_;
  std::vector<Place> values_;
  std::vector<Place> gradients_;
  size_t first_trained_ = 0;  // the first stage that has parameters
};

}  // namespace lockstep

#endif  // LOCKSTEP_LAYERS_SEQUENTIAL_H_
