// A layer that trains in less memory and more time: what it computes for its own backward pass is
// not held until then but computed again (torch.utils.checkpoint). Chen et al., "Training deep nets
// with sublinear memory cost", 2016.
//
// Worth it around parts that are alike and come many times, such as the blocks of a transformer:
// then memory is that of the blocks' inputs and of the inside of one. Results are the same bits.
// Its parameters are named as the body's are without it, so files fit either way. A batch norm
// inside holds what it gives, because its running statistics must not change twice; one around
// another is one (Graph::Recomputed).
#ifndef LOCKSTEP_LAYERS_CONTAINER_CHECKPOINTED_H_
#define LOCKSTEP_LAYERS_CONTAINER_CHECKPOINTED_H_

#include <concepts>
#include <memory>
#include <string>
#include <utility>

#include "engine/layer.h"

namespace lockstep::inline v0_1 {

// x -> y as the body says.
class Checkpointed final : public Layer {
 public:
  template <std::derived_from<Layer> Body>
  requires(!std::same_as<Body, Checkpointed>) explicit Checkpointed(Body body)
      : Checkpointed(std::make_unique<Body>(std::move(body))) {}
  // Not null.
  explicit Checkpointed(std::unique_ptr<Layer> body);

  std::string kind() const override { return "Checkpointed " + body_->kind(); }
  Result<Value> Build(Graph& graph, Value x) const override;

 private:
  std::unique_ptr<Layer> body_;
};

}  // namespace lockstep

#endif  // LOCKSTEP_LAYERS_CONTAINER_CHECKPOINTED_H_
