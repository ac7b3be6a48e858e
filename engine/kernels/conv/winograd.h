// The transforms of Winograd's convolution, F(m x m, 3 x 3) for m = 2 and 4, serial.
//
//   Y = A^T [ (G g G^T) . (B^T d B) ] A        Lavin and Gray, "Fast algorithms for convolutional
//                                              neural networks", 2015 (arXiv 1509.09308)
//
// A tile is m x m pixels of the result; its patch d is the n x n pixels that they read, n = m + 2,
// with zeros outside of the picture. The n^2 elements of a transformed patch are its positions:
// each is a product over channels of its own, n^2 multiplications where a direct convolution takes
// 9 m^2.
//
//   F(2x2, 3x3)   points 0, 1, -1, infinity           16 positions for 36 multiplications
//   F(4x4, 3x3)   points 0, 1, -1, 2, -2, infinity    36 positions for 144
//
// Channels are multiples of kWinogradChannels. Thread-safe on distinct outputs, allocate nothing.
#ifndef LOCKSTEP_ENGINE_KERNELS_CONV_WINOGRAD_H_
#define LOCKSTEP_ENGINE_KERNELS_CONV_WINOGRAD_H_

#include <cstdint>

namespace lockstep::inline v0_1::kernels {

inline constexpr int64_t kWinogradChannels = 16;

constexpr int64_t WinogradPositions(int m) { return (m + 2) * (m + 2); }

// B^T d B of the patches of `tiles` neighbouring tiles of one row of tiles.
struct WinogradPatches {
  const float* from = nullptr;  // the picture (height, width, channels), pixels pixel_stride apart
  int64_t height = 0, width = 0, channels = 0, pixel_stride = 0;
  int64_t line = 0, column = 0;  // of the first patch's first pixel; may be negative
  int64_t tiles = 0;
  float* to = nullptr;  // position p of tile t at to + p * position_stride + t * channels
  int64_t position_stride = 0;
};
void WinogradInput(int m, const WinogradPatches& args);

// Y = A^T M A of neighbouring tiles, through the epilogue of kernels/epilogue.h.
struct WinogradTiles {
  const float* from = nullptr;  // position p of tile t at from + p * position_stride + t * channels
  int64_t position_stride = 0;
  int64_t tiles = 0, channels = 0;
  float* to = nullptr;                            // the first tile's first pixel
  int64_t line_stride = 0, pixel_stride = 0;      // floats
  int64_t first_line = 0, last_line = 0;          // of each tile only lines [first_line, last_line)
  int64_t columns = 0;                            // there are no more than these many pixels
  bool accumulate = false;                        // old values are added first
  const float *scale = nullptr, *bias = nullptr;  // (channels), or null
  const float* add = nullptr;                     // where `to` is, with its strides; or null
  bool relu = false;
};
void WinogradOutput(int m, const WinogradTiles& args);

// G g G^T of the filters of 16 neighbouring channels of the result, as panels
// (kernels/conv/conv.h).
//   w        weight (kh, kw) of output channel c and input channel k at
//            w + (kh * 3 + kw) * tap_stride + c * c_stride + k * k_stride, where one of c_stride
//            and k_stride is 1; a negative tap_stride turns the filter around
//   panels   for each position (k, 16), position_stride floats apart
void WinogradFilter(int m, const float* w, int64_t tap_stride, int64_t c_stride, int64_t k_stride,
                    int64_t k, float* panels, int64_t position_stride);

// A dY A^T of the gradients of neighbouring tiles: what G g G^T is to be multiplied with, pixel by
// pixel, in the gradient of the filters
//   dg = G^T [ sum over tiles of (A dY A^T) . (B^T d B) ] G
// The picture is y's; pixels outside of it count as zero. `line` and `column` are the first tile's.
void WinogradInputGradient(int m, const WinogradPatches& args);

// G^T V G for `channels` neighbouring input channels of one output channel.
//   from     of each position (channels), position_stride floats apart
//   dw       (3, 3) of (channels), tap_stride floats apart: overwritten
void WinogradFilterGradient(int m, const float* from, int64_t position_stride, int64_t channels,
                            float* dw, int64_t tap_stride);

}  // namespace lockstep::kernels

#endif  // LOCKSTEP_ENGINE_KERNELS_CONV_WINOGRAD_H_
