#include "tools/command/version.h"

#include <fmt/format.h>

#include "engine/base/version.h"
#include "engine/kernels/product/peak.h"
#include "engine/parallel/context.h"
#include "tools/commit.h"  // made by the build: LOCKSTEP_COMMIT

namespace lockstep::inline v0_1::tools {

std::string Commit() { return LOCKSTEP_COMMIT; }

std::string Compiler() {
#if defined(__clang__)
  return fmt::format("clang++ {}.{}.{}", __clang_major__, __clang_minor__, __clang_patchlevel__);
#elif defined(__GNUC__)
  return fmt::format("g++ {}.{}.{}", __GNUC__, __GNUC_MINOR__, __GNUC_PATCHLEVEL__);
#else
  return "an unknown compiler";
#endif
}

std::string VersionText() {
  const int threads = AvailableThreads();
  return fmt::format("lockstep {} (commit {})\nbuilt with {}\nruns on {}, {} thread{}",
                     LOCKSTEP_VERSION_TEXT, Commit(), Compiler(), kernels::SimdTarget(), threads,
                     threads == 1 ? "" : "s");
}

}  // namespace lockstep::tools
