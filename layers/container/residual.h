// A skip connection: y = body(x) + shortcut(x), where no shortcut means x itself. He et al., "Deep
// residual learning", 2015. The body's parameters are named "body...", the shortcut's
// "shortcut...".
#ifndef LOCKSTEP_LAYERS_CONTAINER_RESIDUAL_H_
#define LOCKSTEP_LAYERS_CONTAINER_RESIDUAL_H_

#include <concepts>
#include <memory>
#include <string>
#include <utility>

#include "engine/layer.h"

namespace lockstep::inline v0_1 {

// x (B, ...) -> y; body and shortcut must agree on the shape of y.
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
  Result<Value> Build(Graph& graph, Value x) const override;

 private:
  std::unique_ptr<Layer> body_, shortcut_;
};

}  // namespace lockstep

#endif  // LOCKSTEP_LAYERS_CONTAINER_RESIDUAL_H_
