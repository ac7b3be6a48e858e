// What a machine is, for people who compare measurements: read from /proc and /sys, and
// "unavailable" where the system does not say.
#ifndef LOCKSTEP_TOOLS_SCALE_MACHINE_H_
#define LOCKSTEP_TOOLS_SCALE_MACHINE_H_

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace lockstep::inline v0_1::scale {

struct Fact {
  std::string name{};
  std::string value{};
};

inline constexpr char kUnavailable[] = "unavailable";

// Processor, cores online and usable, affinity mask, cgroup limit, SMT, NUMA nodes, frequency,
// governor, caches, memory, instruction set, load and system. `root` stands for "/", in tests.
std::vector<Fact> MachineFacts(const std::filesystem::path& root = "/");

// Of these facts; kUnavailable where there is none of that name.
std::string ValueOf(const std::vector<Fact>& facts, std::string_view name);

// The processor's name, as the kernel gives it; not every architecture has one.
std::string ProcessorName(const std::filesystem::path& root = "/");

// The processors that this process may run on, as "0-3,8".
std::string AffinityMask();
// The same by number, rising; none where they are not known.
std::vector<int> AllowedProcessors();

std::string HostName();  // "?" where there is none

// Numbers, rising, in the form of the kernel's lists: "0-3,8".
std::string ListOf(const std::vector<int>& numbers);

}  // namespace lockstep::scale

#endif  // LOCKSTEP_TOOLS_SCALE_MACHINE_H_
