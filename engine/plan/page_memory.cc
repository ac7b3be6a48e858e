#include "engine/plan/page_memory.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstring>
#include <new>

namespace lockstep::inline v0_1 {
namespace {

constexpr int64_t kHugePage = int64_t{1} << 21;
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

}  // namespace lockstep
