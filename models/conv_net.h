// Small convolutional networks of ConvBlocks: convolution 3x3, normalisation, ReLU.
//
//   ConvNet({.channels = {16, 32}, .classes = 10})
//
// is, as PyTorch would write and name it,
//
//   Sequential(Sequential(ConvBlock(16), ConvBlock(16), MaxPool2d(2)),      "0.0.0.weight", ...
//              Sequential(ConvBlock(32), ConvBlock(32), MaxPool2d(2)),      "1.0.0.weight", ...
//              AdaptiveAvgPool2d(1), Flatten(), Linear(10))                 "4.weight"
#ifndef LOCKSTEP_MODELS_CONV_NET_H_
#define LOCKSTEP_MODELS_CONV_NET_H_

#include <cstdint>
#include <vector>

#include "layers/container/sequential.h"
#include "models/conv_norm.h"

namespace lockstep::inline v0_1 {

// Conv2d(channels, 3x3, padding 1, no bias), BatchNorm, ReLU: "0.weight", "1.weight",
// "1.running_mean", ... The convolution begins Kaiming normal. Without a norm it has a bias. A bias
// in front of a batch norm can be asked for: it is taken away again by the norm, which `lockstep
// plan` and the layer reports then say.
struct ConvBlockOptions {
  int64_t kernel = 3;  // odd: the picture stays as large as it is
  int64_t stride = 1;
  ConvNorm norm{};
  bool bias = false;
};
Sequential ConvBlock(int64_t channels, const ConvBlockOptions& options = {});

struct ConvNetOptions {
  std::vector<int64_t> channels = {16, 32, 64};  // of each stage; a 2x2 max pool ends a stage
  int64_t blocks = 2;                            // in each stage
  int64_t kernel = 3;
  ConvNorm norm{};
  bool average = true;   // the mean over the picture goes into the head; else every pixel of it
  int64_t hidden = 0;    // width of a hidden layer in the head; 0: none
  double dropout = 0.0;  // in front of the last layer
  int64_t classes = 10;
};

// x (B, H, W, C) -> y (B, classes). Nothing is checked here: Bind says what does not fit, as
// pictures that are smaller than the pools need.
Sequential ConvNet(const ConvNetOptions& options);

}  // namespace lockstep

#endif  // LOCKSTEP_MODELS_CONV_NET_H_
