// The memory of one bound network, granted as planned: parameters, gradients, states and the arena
// of a step.
#ifndef LOCKSTEP_ENGINE_PLAN_WORKSPACE_H_
#define LOCKSTEP_ENGINE_PLAN_WORKSPACE_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "engine/parallel/context.h"
#include "engine/plan/parameters.h"
#include "engine/plan/planner.h"

namespace lockstep {

struct UnmapPages {
  int64_t bytes = 0;
  void operator()(std::byte* data) const;
};

// Zeroed memory from the operating system, in huge pages where it is large enough and the system
// has them, first touched by the threads of `ctx` block by block (so that on a NUMA machine it lies
// beside the threads that will use it).
class PageMemory {
 public:
  PageMemory() = default;
  PageMemory(Context& ctx, int64_t bytes);

  std::byte* data() const { return data_.get(); }
  int64_t bytes() const { return data_.get_deleter().bytes; }

 private:
  std::unique_ptr<std::byte, UnmapPages> data_;
};

// Thread-compatible. Handles of the Planner it was made from are turned into pointers; those live
// as long as it does.
class Workspace {
 public:
  // Parameters start as their Init says, for `seed`; states start at their initial values.
  Workspace(Context& ctx, const Planner& plan, uint64_t seed);

  template <class T>
  T* at(Buffer<T> buffer) const {
    return reinterpret_cast<T*>(arena_.data() + offsets_[static_cast<size_t>(buffer.id)]);
  }
  float* value(Parameter p) const {
    return values_ + parameters_[static_cast<size_t>(p.id)].offset;
  }
  float* gradient(Parameter p) const {
    return gradients_ + parameters_[static_cast<size_t>(p.id)].offset;
  }
  float* at(State s) const { return states_data_ + states_[static_cast<size_t>(s.id)].offset; }

  ParameterSet parameters() const;
  std::span<const StateInfo> states() const { return states_; }
  Tensor state(size_t i) const { return {states_data_ + states_[i].offset, states_[i].shape}; }

  // Bytes held: all of them are known from the plan before the first step.
  int64_t parameter_bytes() const { return parameter_floats_ * 4; }
  int64_t gradient_bytes() const { return gradients_ == nullptr ? 0 : parameter_floats_ * 4; }
  int64_t arena_bytes() const { return arena_.bytes(); }

 private:
  std::vector<ParameterInfo> parameters_;
  std::vector<StateInfo> states_;
  std::vector<int64_t> offsets_;
  int64_t parameter_floats_ = 0;
  PageMemory parameter_memory_, gradient_memory_, state_memory_, arena_;
  float* values_ = nullptr;
  float* gradients_ = nullptr;
  float* states_data_ = nullptr;
};

}  // namespace lockstep

#endif  // LOCKSTEP_ENGINE_PLAN_WORKSPACE_H_
