// A host that has nothing of TBB's, and loads plugins that bring it:
//
//   bare_host PLUGIN...
//
// A plugin is `int plugin_run(int join_host_arena)`, see unload_host.cc. Each is loaded, trains and
// predicts, and is unloaded, time after time. What TBB's threads run must stay while they are there:
// the plugin goes, TBB's library may not.
#include <dlfcn.h>

#include <cstdio>

#include "tests/hosts/mapped.h"

namespace {

constexpr int kLoads = 25;

}  // namespace

int main(int argc, char** argv) {
  for (int load = 0; load < kLoads; ++load) {
    for (int i = 1; i < argc; ++i) {
      void* plugin = dlopen(argv[i], RTLD_NOW | RTLD_LOCAL);
      if (plugin == nullptr) {
        std::printf("%s\n", dlerror());
        return 1;
      }
      const auto run = reinterpret_cast<int (*)(int)>(dlsym(plugin, "plugin_run"));
      const bool ran = run != nullptr && run(0) == 0;
      const bool closed = dlclose(plugin) == 0;
      if (!ran || !closed || IsMapped(argv[i]) || IsMapped("/liblockstep")) {
        std::printf("load %d of %s: %s\n", load, argv[i],
                    ran ? "it is still there after dlclose" : "it did not train");
        return 1;
      }
    }
  }
  return 0;
}
