#include "tools/command/machine.h"

#include <fmt/format.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <fstream>

#include "engine/kernels/product/peak.h"
#include "engine/parallel/context.h"
#include "tools/command/version.h"

namespace lockstep::tools {
namespace {

// The kernel's name for the processor; not every architecture has one.
std::string Processor(const utsname& system) {
  std::ifstream in("/proc/cpuinfo");
  for (std::string line; std::getline(in, line);) {
    const size_t colon = line.find(": ");
    if (line.starts_with("model name") && colon != std::string::npos) return line.substr(colon + 2);
  }
  return system.machine;
}

}  // namespace

std::vector<std::vector<std::string>> MachineFacts(int threads) {
  utsname system{};
  uname(&system);
  const double bytes =
      static_cast<double>(sysconf(_SC_PHYS_PAGES)) * static_cast<double>(sysconf(_SC_PAGESIZE));
  return {
      {"processor", Processor(system)},
      {"cores",
       fmt::format("{} online, {} may be used", sysconf(_SC_NPROCESSORS_ONLN), AvailableThreads())},
      {"threads of the run", fmt::format("{}", threads)},
      {"instruction set", kernels::SimdTarget()},
      {"memory", fmt::format("{:.1f} GB", bytes / 1e9)},
      {"system", fmt::format("{} {}", system.sysname, system.release)},
      {"program", fmt::format("commit {}, {}", Commit(), Compiler())},
  };
}

}  // namespace lockstep::tools
