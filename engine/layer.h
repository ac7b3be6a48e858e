// The interface every layer implements: it describes what it computes.
//
// Build names the layer's parameters, adds operations to the graph and returns the value they give.
// A layer holds nothing of a network: it can be built any number of times, and a network builds it
// once for training and once for evaluation (graph.training() says for which), so that dropout, for
// one, is simply not there in evaluation. Layers of several inputs or outputs are plain C++ with a
// Graph::Scope of their own.
#ifndef LOCKSTEP_ENGINE_LAYER_H_
#define LOCKSTEP_ENGINE_LAYER_H_

#include <string>

#include "engine/base/status.h"
#include "engine/plan/graph.h"

namespace lockstep::inline v0_1 {

// Thread-compatible. Whoever holds a layer owns it; it outlives every call of Build.
class Layer {
 public:
  virtual ~Layer() = default;

  virtual std::string kind() const = 0;  // "Linear", as PyTorch names it

  // y of x. Tensors are dense and row-major, the batch first and the channels last. An error says
  // which shapes do not fit, and why. Called by Apply.
  virtual Result<Value> Build(Graph& graph, Value x) const = 0;
};

// Builds `layer` on x under `name`, by which its parameters are named as well ("0" + "weight" =
// "0.weight"): how a layer or model uses another. One and the same layer applied again under the
// same name shares its parameters. It may be a temporary if nothing else is applied under this
// name. An error names the layer.
Result<Value> Apply(Graph& graph, const std::string& name, const Layer& layer, Value x);

}  // namespace lockstep

#endif  // LOCKSTEP_ENGINE_LAYER_H_
