// How much CPU time the kernel lets this process have: cgroup quotas.
#ifndef LOCKSTEP_ENGINE_PARALLEL_CPU_QUOTA_H_
#define LOCKSTEP_ENGINE_PARALLEL_CPU_QUOTA_H_

#include <string>

namespace lockstep::inline v0_1 {

// CPUs (1.5: one and a half), or infinity: the least quota / period of the groups this process is
// in, from its own up to the outermost that can be seen, of cgroup v2 (cpu.max) and v1
// (cpu.cfs_quota_us). What cannot be read or makes no sense is no limit. Every path begins with
// `root`, for tests that make a /proc and a /sys of their own.
double CpuQuota(const std::string& root = "");

}  // namespace lockstep

#endif  // LOCKSTEP_ENGINE_PARALLEL_CPU_QUOTA_H_
