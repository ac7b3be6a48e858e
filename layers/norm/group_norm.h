// Group and instance normalisation (torch.nn.GroupNorm, InstanceNorm1d/2d/3d), channels last.
// Statistics belong to one sample: the result does not depend on the batch. Wu, He, "Group
// normalization", 2018; Ulyanov, Vedaldi, Lempitsky, "Instance normalization", 2016, which is a
// group for every channel.
#ifndef LOCKSTEP_LAYERS_NORM_GROUP_NORM_H_
#define LOCKSTEP_LAYERS_NORM_GROUP_NORM_H_

#include <cstdint>
#include <string>

#include "engine/layer.h"

namespace lockstep::inline v0_1 {

struct GroupNormOptions {
  double eps = 1e-5;
  bool affine = true;  // learn gamma and beta
  float gamma = 1.0f;  // how gamma begins
};

// x (B, ..., C) -> y of the same shape; `groups` divides C. Parameters: weight (gamma), bias
// (beta), each (C).
class GroupNorm : public Layer {
 public:
  explicit GroupNorm(int64_t groups, GroupNormOptions options = {})
      : groups_(groups), options_(options) {}

  std::string kind() const override { return "GroupNorm"; }
  Result<Value> Build(Graph& graph, Value x) const override;

 private:
  int64_t groups_;  // 0: one for every channel
  GroupNormOptions options_;
};

// Each channel of each sample on its own, over (...) of (B, ..., C). As in PyTorch it learns
// nothing unless asked to, and keeps no running statistics.
class InstanceNorm final : public GroupNorm {
 public:
  explicit InstanceNorm(GroupNormOptions options = {.affine = false}) : GroupNorm(0, options) {}

  std::string kind() const override { return "InstanceNorm"; }
  Result<Value> Build(Graph& graph, Value x) const override;
};

}  // namespace lockstep

#endif  // LOCKSTEP_LAYERS_NORM_GROUP_NORM_H_
