// A run of neighbouring pixels of a convolution, serial: an implicit matrix product whose rows are
// the pixels and whose columns are channels of the result.
//
// The sum of every pixel of a run follows one program: a list of pieces, stretches of multiply-adds
// whose operands lie side by side. Which taps a program holds, in which order, and how its chains
// merge is the caller's; an element's bits depend on the program alone, never on the tile it is in.
#ifndef LOCKSTEP_ENGINE_KERNELS_CONV_CONV_H_
#define LOCKSTEP_ENGINE_KERNELS_CONV_CONV_H_

#include <cstdint>

namespace lockstep::inline v0_1::kernels {

// Channels of a panel of packed weights: weight k of channel c of a panel at [k * 16 + c].
inline constexpr int64_t kConvPanel = 16;
// A run takes at most so many channels: two panels.
inline constexpr int64_t kConvColumns = 2 * kConvPanel;
// Floats of room for each sum that waits for a partner.
inline constexpr int64_t kConvSlot = 512;

struct ConvPiece {
  int64_t from = 0;    // where it reads, in floats from the pixel's origin; may be negative
  int32_t weight = 0;  // where its weights begin, in k
  int32_t length = 0;  // multiply-adds, >= 0
  // The first, the last pixel of the run leave it out: it lies in the padding for them.
  bool skips_first = false, skips_last = false;
  bool ends_chain = false;  // the next piece, if any, begins a sum from +0
  // Where it ends a chain: older sums that wait for a partner, and how many of those the sum is
  // added to, the youngest first. The last piece leaves none.
  int16_t waiting = 0, merges = 0;
};

struct ConvRunArgs {
  int64_t pixels = 0;           // > 0
  const float* from = nullptr;  // the first pixel's origin
  int64_t from_step = 0;        // floats from one pixel's origin to the next
  const ConvPiece* pieces = nullptr;
  int64_t count = 0;  // of pieces, >= 1; the last one ends a chain
  // The pixels are in no cache yet, and are read once.
  bool fetch_ahead = false;
  const float* packed = nullptr;  // the first of the panels
  int64_t panel_stride = 0;       // floats from one panel to the next
  float* to = nullptr;            // (pixels, columns)
  int64_t to_step = 0;            // floats from one pixel to the next
  int64_t columns = 0;            // in [1, kConvColumns]
  bool accumulate = false;        // old values are added first
  const float* scale = nullptr;   // (columns), or null, as in kernels/epilogue.h
  const float* bias = nullptr;    // (columns), or null
  const float* add = nullptr;     // (pixels, columns) with to_step, may be `to`, or null
  bool relu = false;
  float* partial = nullptr;  // kConvSlot floats for each sum that may wait
};
void ConvRun(const ConvRunArgs& args);

// A panel of weights: panel[p * 16 + c] = from[c * channel_step + p * k_step] for p < k, c <
// channels; channels of the panel that do not exist hold anything finite or repeat others.
void ConvPackPanel(const float* from, int64_t channel_step, int64_t k_step, int64_t channels,
                   int64_t k, float* panel);

}  // namespace lockstep::kernels

#endif  // LOCKSTEP_ENGINE_KERNELS_CONV_CONV_H_
