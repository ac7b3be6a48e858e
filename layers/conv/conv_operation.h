// What Conv2d, Conv1d and ConvTranspose2d are made of: the operation that convolves, and what they
// say of their windows.
#ifndef LOCKSTEP_LAYERS_CONV_CONV_OPERATION_H_
#define LOCKSTEP_LAYERS_CONV_CONV_OPERATION_H_

#include <cstdint>
#include <string>

#include "engine/ops/conv.h"
#include "engine/plan/graph.h"
#include "layers/conv/conv.h"

namespace lockstep::inline v0_1 {

// Which way a ConvShape is gone forward. Transposed, y takes the place of its input and x that of
// its output: forward is what is otherwise the gradient of the data, and the other way round.
enum class ConvDirection { kForward, kTransposed };

// The parameters and the operation of a layer whose options have been checked. y has the rank of x,
// (B, H, W, C) or (B, T, C).
Result<Value> AddConvolution(Graph& graph, Value x, const ops::ConvShape& shape,
                             ConvDirection direction, bool bias, ConvInit init);

// Each is named in the error: "kernel", a window no extent of which may be less than `least`.
Status CheckWindow(const std::string& name, const Window& window, int64_t least);
// In and out channels must be multiples of groups.
Status CheckGroups(int64_t in, int64_t out, int64_t groups);

// The lines that a window with holes covers.
constexpr int64_t WindowExtent(int64_t kernel, int64_t dilation) {
  return dilation * (kernel - 1) + 1;
}

}  // namespace lockstep

#endif  // LOCKSTEP_LAYERS_CONV_CONV_OPERATION_H_
