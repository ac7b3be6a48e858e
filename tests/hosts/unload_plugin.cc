// A plugin in C++, see unload_host.cc.
#include "tests/hosts/train.h"

extern "C" int plugin_run(int join_host_arena) {
  lockstep::Context ctx({.threads = 2, .join_current_arena = join_host_arena != 0});
  return Train(ctx).ok() ? 0 : 1;
}
