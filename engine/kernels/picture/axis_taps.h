// Which inputs an output reads, along one axis of a picture: what pooling, resizing and padding are
// made of. All of them work on rows and on columns alone, so two such lists say everything, and
// what is said of the inputs of each output becomes, turned around, what is said of the outputs of
// each input: a gradient is gathered by the turned lists, each element by one thread and in one
// order.
#ifndef LOCKSTEP_ENGINE_KERNELS_PICTURE_AXIS_TAPS_H_
#define LOCKSTEP_ENGINE_KERNELS_PICTURE_AXIS_TAPS_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

namespace lockstep::inline v0_1::kernels {

// Output i reads the inputs from[t] with t in [first[i], first[i + 1]), which may be none:
//   y[i] = (sum over t of weight[t] * x[from[t]]) / divisor[i]
struct AxisTaps {
  int64_t inputs = 0;
  std::vector<int64_t> first{0};
  std::vector<int64_t> from{};
  std::vector<float> weight{};    // one for each tap; empty: all 1
  std::vector<float> divisor{};   // one for each output; empty: all 1
  std::vector<int32_t> number{};  // of windows: which of its taps this is; otherwise empty

  int64_t outputs() const { return static_cast<int64_t>(first.size()) - 1; }
  int64_t taps() const { return first.back(); }
  float DivisorOf(int64_t i) const {
    return divisor.empty() ? 1.0f : divisor[static_cast<size_t>(i)];
  }
  // Whether y is x.
  bool IsIdentity() const;
};

// Windows that slide: output i reads i * stride - padding + k * dilation for k < kernel, as far as
// that lies in [0, inputs). Windows that begin outside on the right are none of the outputs.
struct SlidingWindow {
  int64_t kernel = 1, stride = 1, padding = 0, dilation = 1;
  bool ceil_mode = false;  // the last window need not end within the padding
};
// As PyTorch counts them, 0 or less where there is no room for one.
int64_t WindowOutputs(int64_t inputs, const SlidingWindow& window);
// Maxima: each tap with its number k.
AxisTaps MaxTaps(int64_t inputs, const SlidingWindow& window);
// Averages. Divisors: the taps inside the input and, where `count_padding`, in the padding (but not
// beyond it), or `divisor` where there is one.
AxisTaps AverageTaps(int64_t inputs, const SlidingWindow& window, bool count_padding,
                     std::optional<float> divisor);
// Averages over the windows [floor(i inputs / outputs), ceil((i + 1) inputs / outputs)).
AxisTaps AdaptiveAverageTaps(int64_t inputs, int64_t outputs);

// Resizing. `scale`: outputs for each input where the user gave it, which then says where outputs
// lie instead of outputs / inputs.
// The input at floor(i / scale), computed in single precision as PyTorch does: which one it is must
// agree.
AxisTaps NearestTaps(int64_t inputs, int64_t outputs, std::optional<double> scale);
// Between the two nearest inputs of s = (i + 1/2) / scale - 1/2, not below 0; where `align_corners`
// of s = i (inputs - 1) / (outputs - 1).
AxisTaps LinearTaps(int64_t inputs, int64_t outputs, std::optional<double> scale,
                    bool align_corners);

// Borders of `before` and `after` further outputs, which may be negative: fewer.
enum class Border { kZero, kReflect, kReplicate };
AxisTaps BorderTaps(int64_t inputs, int64_t before, int64_t after, Border border);

// The same map from outputs to inputs: of dy it gives dx. Divisors become weights; the taps of each
// input are in the order of the outputs.
AxisTaps Turned(const AxisTaps& taps);

}  // namespace lockstep::kernels

#endif  // LOCKSTEP_ENGINE_KERNELS_PICTURE_AXIS_TAPS_H_
