// A plugin in C++ on the next release, see versions_host.cc. It has what the lowest rooms offer:
// of those a second build costs seconds.
#include <atomic>

#include "engine/base/status.h"
#include "engine/base/version.h"
#include "engine/parallel/context.h"

static_assert(LOCKSTEP_VERSION == 90900);

namespace {

using namespace lockstep;  // NOLINT: a program of one file

int Run() {
  Context ctx({.of_next_release = 1, .threads = 2});
  if (ctx.threads() != 2) return 2;
  std::atomic<int64_t> sum{0};
  ctx.For(1000, int64_t{1} << 20, [&](int64_t task) { sum.fetch_add(task); });
  if (sum.load() != 499500) return 3;
  try {
    LOCKSTEP_CHECK_EQ(ctx.threads(), 3);
  } catch (const CheckFailure&) {
    return Status::Invalid("next").At("plugin").message() == "plugin: next" ? 0 : 4;
  }
  return 5;
}

}  // namespace

extern "C" int plugin_run(int) { return Run(); }
