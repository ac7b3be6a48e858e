#include "engine/plan/workspace.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstring>
#include <new>

#include "engine/base/check.h"
#include "engine/base/random.h"

namespace lockstep {
namespace {

constexpr int64_t kHugePage = int64_t{1} << 21;
// Normal draws reject a varying number of words, so they come in runs with a stream each, and runs
// go to any thread.
constexpr int64_t kInitRun = 4096;

void Initialize(Context& ctx, const ParameterInfo& info, uint64_t seed, float* values) {
  const int64_t size = info.shape.size();
  const uint64_t stream = StreamOf(info.name);
  const float scale = info.init.scale;
  ctx.For((size + kInitRun - 1) / kInitRun, size * 8, [&](int64_t run) {
    Random random(seed, stream + static_cast<uint64_t>(run));
    const int64_t end = std::min(size, (run + 1) * kInitRun);
    for (int64_t i = run * kInitRun; i < end; ++i) {
      switch (info.init.kind) {
        case Init::Kind::kConstant:
          values[i] = scale;
          break;
        case Init::Kind::kUniform:
          values[i] = static_cast<float>((2.0 * random.Uniform() - 1.0) * scale);
          break;
        case Init::Kind::kNormal:
          values[i] = static_cast<float>(random.Normal() * scale);
          break;
      }
    }
  });
}

}  // namespace

void UnmapPages::operator()(std::byte* data) const { munmap(data, static_cast<size_t>(bytes)); }

PageMemory::PageMemory(Context& ctx, int64_t bytes) {
  if (bytes <= 0) return;
  const bool huge = bytes >= kHugePage;
  const int64_t page = huge ? kHugePage : int64_t{4096};
  const int64_t rounded = (bytes + page - 1) / page * page;
  // A mapping begins at any 4 KB page; huge pages need a start at their own multiple, so map more
  // and return the ends.
  const int64_t mapped = huge ? rounded + kHugePage : rounded;
  void* start = mmap(nullptr, static_cast<size_t>(mapped), PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (start == MAP_FAILED) throw std::bad_alloc();
  auto* data = static_cast<std::byte*>(start);
  if (huge) {
    const auto address = reinterpret_cast<uintptr_t>(data);
    const auto skip =
        static_cast<int64_t>((kHugePage - static_cast<int64_t>(address % kHugePage)) % kHugePage);
    if (skip > 0) munmap(data, static_cast<size_t>(skip));
    if (skip < kHugePage) munmap(data + skip + rounded, static_cast<size_t>(kHugePage - skip));
    data += skip;
    madvise(data, static_cast<size_t>(rounded),
            MADV_HUGEPAGE);  // a wish: refusal changes nothing but speed
  }
  data_ = std::unique_ptr<std::byte, UnmapPages>(data, UnmapPages{rounded});
  const int64_t parts = std::min<int64_t>(rounded / page, ctx.threads() * int64_t{8});
  ctx.For(parts, rounded / 64, [&](int64_t part) {
    const int64_t begin = rounded / page * part / parts * page;
    const int64_t end = rounded / page * (part + 1) / parts * page;
    std::memset(data + begin, 0, static_cast<size_t>(end - begin));
  });
}

Workspace::Workspace(Context& ctx, const Planner& plan, uint64_t seed)
    : parameters_(plan.parameters()),
      states_(plan.states()),
      parameter_floats_(plan.parameter_floats()) {
  const Planner::Layout layout = plan.LayOut();
  offsets_ = layout.offsets;
  arena_ = PageMemory(ctx, layout.bytes);
  parameter_memory_ = PageMemory(ctx, parameter_floats_ * 4);
  state_memory_ = PageMemory(ctx, plan.state_floats() * 4);
  values_ = reinterpret_cast<float*>(parameter_memory_.data());
  states_data_ = reinterpret_cast<float*>(state_memory_.data());
  if (plan.training()) {
    gradient_memory_ = PageMemory(ctx, parameter_floats_ * 4);
    gradients_ = reinterpret_cast<float*>(gradient_memory_.data());
  }
  for (const ParameterInfo& info : parameters_) Initialize(ctx, info, seed, values_ + info.offset);
  for (const StateInfo& info : states_) {
    std::fill_n(states_data_ + info.offset, info.shape.size(), info.initial);
  }
}

ParameterSet Workspace::parameters() const {
  const auto size = static_cast<size_t>(parameter_floats_);
  return {.infos = parameters_,
          .values = {values_, size},
          .gradients = {gradients_, gradients_ == nullptr ? 0 : size}};
}

}  // namespace lockstep
