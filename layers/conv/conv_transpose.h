// The transposed of a convolution (torch.nn.ConvTranspose2d): each pixel of x is spread by the
// window over y, which is how pictures are made larger.
#ifndef LOCKSTEP_LAYERS_CONV_CONV_TRANSPOSE_H_
#define LOCKSTEP_LAYERS_CONV_CONV_TRANSPOSE_H_

#include <cstdint>
#include <string>

#include "layers/conv/conv.h"

namespace lockstep::inline v0_1 {

struct ConvTranspose2dOptions {
  Window kernel = 3;
  Window stride = 1;
  Window padding = 0;         // lines taken away on either side of y
  Window output_padding = 0;  // lines added below and to the right of y; less than the stride or
                              // the dilation
  Window dilation = 1;
  int64_t groups = 1;
  bool bias = true;
  ConvInit init = ConvInit::kTorch;
};

// x (B, H, W, C) -> y (B, H', W', out),
// H' = (H - 1) stride - 2 padding + dilation (kernel - 1) + output_padding + 1.
// Parameters: weight (C, kernel.h, kernel.w, out / groups), which files hold as PyTorch does,
// (C, out / groups, kernel.h, kernel.w); bias (out).
class ConvTranspose2d final : public Layer {
 public:
  explicit ConvTranspose2d(int64_t out, ConvTranspose2dOptions options = {})
      : out_(out), options_(options) {}

  std::string kind() const override { return "ConvTranspose2d"; }
  Result<Value> Build(Graph& graph, Value x) const override;

 private:
  int64_t out_;
  ConvTranspose2dOptions options_;
};

}  // namespace lockstep

#endif  // LOCKSTEP_LAYERS_CONV_CONV_TRANSPOSE_H_
