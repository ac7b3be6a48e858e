// A skip connection: y = body(x) + shortcut(x), where no shortcut means x itself. He et al., "Deep
// residual learning", 2015. The body's parameters are named "body...", the shortcut's
// "shortcut...".
#ifndef LOCKSTEP_LAYERS_RESIDUAL_H_
#define LOCKSTEP_LAYERS_RESIDUAL_H_

#include <concepts>
#include <memory>
#include <string>
#include <utility>

#include "engine/layer.h"

namespace lockstep {

// x (B, ...) -> y; body and shortcut must agree on the shape of y. Where the body ends in a batch
// norm the addition (and a ReLU behind it) is part of the normalising pass.
class Residual final : public Layer {
 public:
  template <std::derived_from<Layer> Body>
  requires(!std::same_as<Body, Residual>) explicit Residual(Body body)
      : body_(std::make_unique<Body>(std::move(body))) {}
  template <std::derived_from<Layer> Body, std::derived_from<Layer> Shortcut>
  Residual(Body body, Shortcut shortcut)
      : body_(std::make_unique<Body>(std::move(body))),
        shortcut_(std::make_unique<Shortcut>(std::move(shortcut))) {}

  std::string kind() const override { return "Residual"; }
  Result<Bound> Bind(const Shape& in, Planner& plan) override;
  void Forward(const Step& step, ConstTensor x, Tensor y) override;
  void Backward(const Step& step, ConstTensor x, ConstTensor y, ConstTensor dy, Tensor dx) override;
  Result<Graph::Value> Export(const Step& step, Graph& graph, const Graph::Value& x) const override;
  Result<Admission> Admit(int64_t samples, Mode mode) const override;
  bool FuseActivation(kernels::Activation activation) override;

 private:
  std::unique_ptr<Layer> body_, shortcut_;
  bool asked_ = false, fused_ = false;  // whether the body adds by itself
  Shape out_;
  Bound body_bound_{}, shortcut_bound_{};
  Buffer<float> body_y_, shortcut_y_;  // kept until backward where it is needed there
  Buffer<float> d_add_, d_shortcut_;
};

}  // namespace lockstep

#endif  // LOCKSTEP_LAYERS_RESIDUAL_H_
