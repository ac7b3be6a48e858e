// Memory of the operating system for what lives as long as a network.
#ifndef LOCKSTEP_ENGINE_PLAN_PAGE_MEMORY_H_
#define LOCKSTEP_ENGINE_PLAN_PAGE_MEMORY_H_

#include <cstddef>
#include <cstdint>
#include <memory>

#include "engine/parallel/context.h"

namespace lockstep::inline v0_1 {

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

}  // namespace lockstep

#endif  // LOCKSTEP_ENGINE_PLAN_PAGE_MEMORY_H_
