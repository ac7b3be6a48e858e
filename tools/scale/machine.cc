#include "tools/scale/machine.h"

#include <fmt/format.h>
#include <sched.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <fstream>

#include "engine/kernels/product/peak.h"
#include "engine/parallel/context.h"
#include "engine/parallel/cpu_quota.h"

namespace lockstep::inline v0_1::scale {
namespace {

namespace fs = std::filesystem;

// The first line, or "".
std::string Line(const fs::path& path) {
  std::ifstream in(path);
  std::string line;
  std::getline(in, line);
  while (!line.empty() && line.back() == ' ') line.pop_back();
  return line;
}

std::string OrUnavailable(const std::string& text) { return text.empty() ? kUnavailable : text; }

// What follows the colon of the first line of /proc/cpuinfo that begins with `key`.
std::string OfProcessor(const fs::path& root, const std::string& key) {
  std::ifstream in(root / "proc/cpuinfo");
  for (std::string line; std::getline(in, line);) {
    const size_t colon = line.find(": ");
    if (line.starts_with(key) && colon != std::string::npos) return line.substr(colon + 2);
  }
  return "";
}

std::string Frequency(const fs::path& root) {
  const fs::path folder = root / "sys/devices/system/cpu/cpu0/cpufreq";
  const auto mhz = [&](const char* file) {
    return std::strtod(Line(folder / file).c_str(), nullptr) / 1e3;
  };
  if (const double now = mhz("scaling_cur_freq"); now > 0.0) {
    return fmt::format("{:.0f} MHz now, {:.0f} to {:.0f} MHz", now, mhz("scaling_min_freq"),
                       mhz("scaling_max_freq"));
  }
  const std::string said = OfProcessor(root, "cpu MHz");
  return said.empty() ? kUnavailable
                      : fmt::format("{:.0f} MHz now", std::strtod(said.c_str(), nullptr));
}

std::string Smt(const fs::path& root) {
  const std::string active = Line(root / "sys/devices/system/cpu/smt/active");
  return active == "1" ? "on" : active == "0" ? "off" : kUnavailable;
}

std::string CgroupLimit(const fs::path& root) {
  const double cpus = CpuQuota(root.string());
  return std::isfinite(cpus) ? fmt::format("{:.2f} cores", cpus) : "none";
}

std::string Caches(const fs::path& root) {
  std::string text;
  for (int i = 0; i < 8; ++i) {
    const fs::path cache =
        root / "sys/devices/system/cpu/cpu0/cache" / ("index" + std::to_string(i));
    const std::string size = Line(cache / "size"), kind = Line(cache / "type");
    if (size.empty() || kind == "Instruction") continue;
    text += fmt::format("{}L{} {}", text.empty() ? "" : ", ", Line(cache / "level"), size);
  }
  return OrUnavailable(text);
}

}  // namespace

std::string ListOf(const std::vector<int>& numbers) {
  std::string text;
  for (size_t i = 0; i < numbers.size();) {
    size_t last = i;
    while (last + 1 < numbers.size() && numbers[last + 1] == numbers[last] + 1) ++last;
    text += fmt::format("{}{}", text.empty() ? "" : ",", numbers[i]);
    if (last > i) text += fmt::format("-{}", numbers[last]);
    i = last + 1;
  }
  return text;
}

std::vector<int> AllowedProcessors() {
  std::vector<int> allowed;
#ifdef __linux__
  // Machines have more processors than cpu_set_t has bits.
  for (int most = CPU_SETSIZE; most <= (1 << 20); most *= 4) {
    cpu_set_t* const set = CPU_ALLOC(static_cast<size_t>(most));
    const size_t bytes = CPU_ALLOC_SIZE(static_cast<size_t>(most));
    const bool known = sched_getaffinity(0, bytes, set) == 0;
    for (int cpu = 0; known && cpu < most; ++cpu) {
      if (CPU_ISSET_S(static_cast<size_t>(cpu), bytes, set)) allowed.push_back(cpu);
    }
    CPU_FREE(set);
    if (known) break;
  }
#endif
  return allowed;
}

std::string AffinityMask() { return OrUnavailable(ListOf(AllowedProcessors())); }

std::string HostName() {
  char name[256] = "";
  return gethostname(name, sizeof name - 1) == 0 ? name : "?";
}

std::string ProcessorName(const fs::path& root) {
  const std::string name = OfProcessor(root, "model name");
  if (!name.empty()) return name;
  utsname system{};
  uname(&system);
  return system.machine;
}

std::vector<Fact> MachineFacts(const fs::path& root) {
  utsname system{};
  uname(&system);
  const double bytes =
      static_cast<double>(sysconf(_SC_PHYS_PAGES)) * static_cast<double>(sysconf(_SC_PAGESIZE));
  return {
      {"processor", ProcessorName(root)},
      {"cores",
       fmt::format("{} online, {} may be used", sysconf(_SC_NPROCESSORS_ONLN), AvailableThreads())},
      {"affinity mask", AffinityMask()},
      {"cgroup limit", CgroupLimit(root)},
      {"SMT", Smt(root)},
      {"NUMA nodes", OrUnavailable(Line(root / "sys/devices/system/node/online"))},
      {"frequency", Frequency(root)},
      {"governor",
       OrUnavailable(Line(root / "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"))},
      {"caches", Caches(root)},
      {"memory", fmt::format("{:.1f} GB", bytes / 1e9)},
      {"instruction set", kernels::SimdTarget()},
      {"load before", OrUnavailable(Line(root / "proc/loadavg"))},
      {"system", fmt::format("{} {}", system.sysname, system.release)},
  };
}

std::string ValueOf(const std::vector<Fact>& facts, std::string_view name) {
  const auto found =
      std::find_if(facts.begin(), facts.end(), [&](const Fact& fact) { return fact.name == name; });
  return found == facts.end() ? kUnavailable : found->value;
}

}  // namespace lockstep::scale
