// Borders around pictures (torch.nn.ZeroPad2d, ReflectionPad2d, ReplicationPad2d), channels last.
#ifndef LOCKSTEP_LAYERS_PICTURE_PAD_H_
#define LOCKSTEP_LAYERS_PICTURE_PAD_H_

#include <cstdint>
#include <string>

#include "engine/kernels/picture/axis_taps.h"
#include "engine/layer.h"

namespace lockstep::inline v0_1 {

// Pixels on each side, in PyTorch's order; less than 0: so many are cut off. One number stands for
// all.
struct Borders {
  int64_t left = 0, right = 0, top = 0, bottom = 0;
  constexpr Borders(int64_t all = 0) : left(all), right(all), top(all), bottom(all) {}  // NOLINT
  constexpr Borders(int64_t l, int64_t r, int64_t t, int64_t b)
      : left(l), right(r), top(t), bottom(b) {}
};

// x (B, H, W, C) -> y (B, top + H + bottom, left + W + right, C)
class Pad2d : public Layer {
 public:
  Result<Value> Build(Graph& graph, Value x) const override;

 protected:
  Pad2d(Borders borders, kernels::Border border) : borders_(borders), border_(border) {}

 private:
  Borders borders_;
  kernels::Border border_;
};

class ZeroPad2d final : public Pad2d {
 public:
  explicit ZeroPad2d(Borders borders) : Pad2d(borders, kernels::Border::kZero) {}
  std::string kind() const override { return "ZeroPad2d"; }
};

// As in a mirror, the edge itself not repeated: a b c d becomes c b [a b c d] c b. Less than the
// extent of x.
class ReflectionPad2d final : public Pad2d {
 public:
  explicit ReflectionPad2d(Borders borders) : Pad2d(borders, kernels::Border::kReflect) {}
  std::string kind() const override { return "ReflectionPad2d"; }
};

// The edge itself, again and again.
class ReplicationPad2d final : public Pad2d {
 public:
  explicit ReplicationPad2d(Borders borders) : Pad2d(borders, kernels::Border::kReplicate) {}
  std::string kind() const override { return "ReplicationPad2d"; }
};

}  // namespace lockstep

#endif  // LOCKSTEP_LAYERS_PICTURE_PAD_H_
