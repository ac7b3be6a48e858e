// A host on this release whose plugins are on the next one, in C++ and in C. All of this release is
// visible to the plugins (the program exports it, the shared C library is in the global scope): what
// they have in common by name they would share, and the next release is not laid out as this one.
//
//   versions_host PLUGIN...
//
// A plugin is `int plugin_run(int)`, 0 if all it met is of release 9.9.0.
#include <dlfcn.h>
#include <lockstep.h>

#include <cstdio>
#include <string_view>

#include "tests/hosts/train.h"

namespace {

using namespace lockstep;  // NOLINT: a program of one file

bool IsAsBefore(double loss) {
  Context ctx({.threads = 2});
  const auto again = Train(ctx);
  return again.ok() && *again == loss &&
         lockstep_version() == std::string_view(LOCKSTEP_VERSION_TEXT);
}

}  // namespace

int main(int argc, char** argv) {
  Context ctx({.threads = 2});
  const auto loss = Train(ctx);
  if (!loss.ok() || !IsAsBefore(*loss)) {
    std::printf("the host itself: %s, %s\n", loss.status().message().c_str(), lockstep_version());
    return 1;
  }
  for (int i = 1; i < argc; ++i) {
    void* plugin = dlopen(argv[i], RTLD_NOW | RTLD_GLOBAL);
    if (plugin == nullptr) {
      std::printf("%s\n", dlerror());
      return 1;
    }
    const auto run = reinterpret_cast<int (*)(int)>(dlsym(plugin, "plugin_run"));
    if (const int failed = run == nullptr ? -1 : run(0); failed != 0) {
      std::printf("%s met another release than its own: %d\n", argv[i], failed);
      return 1;
    }
    if (!IsAsBefore(*loss)) {
      std::printf("%s changed what the host meets\n", argv[i]);
      return 1;
    }
  }
  return 0;
}
