// What is read from /proc and /sys, in trees of our own.
#include "tools/scale/machine.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <set>

#include "tools/scale/energy.h"

namespace lockstep::inline v0_1::scale {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

class Machine : public ::testing::Test {
 protected:
  void SetUp() override {
    root_ = fs::temp_directory_path() / ("lockstep_machine_" + std::to_string(getpid()));
    fs::remove_all(root_);
    fs::create_directories(root_);
  }
  void TearDown() override { fs::remove_all(root_); }
  void Write(const std::string& name, const std::string& text) {
    fs::create_directories((root_ / name).parent_path());
    std::ofstream(root_ / name) << text;
  }

  fs::path root_;
};

TEST_F(Machine, ReadsWhatTheSystemSays) {
  Write("proc/cpuinfo", "processor\t: 0\nmodel name\t: A Processor 9000\ncpu MHz\t\t: 2299.998\n");
  Write("proc/loadavg", "0.25 0.50 0.75 1/234 5678\n");
  Write("sys/devices/system/cpu/smt/active", "1\n");
  Write("sys/devices/system/node/online", "0-3\n");
  Write("proc/self/cgroup", "0::/jobs/7\n");
  Write("proc/self/mountinfo", "30 23 0:26 / /sys/fs/cgroup rw shared:4 - cgroup2 cgroup2 rw\n");
  Write("sys/fs/cgroup/jobs/cpu.max", "150000 100000\n");
  const std::string cpu = "sys/devices/system/cpu/cpu0/";
  Write(cpu + "cpufreq/scaling_governor", "performance\n");
  Write(cpu + "cpufreq/scaling_cur_freq", "3100000\n");
  Write(cpu + "cpufreq/scaling_min_freq", "800000\n");
  Write(cpu + "cpufreq/scaling_max_freq", "4200000\n");
  Write(cpu + "cache/index0/level", "1\n");
  Write(cpu + "cache/index0/size", "48K\n");
  Write(cpu + "cache/index0/type", "Data\n");
  Write(cpu + "cache/index1/level", "1\n");
  Write(cpu + "cache/index1/size", "32K\n");
  Write(cpu + "cache/index1/type", "Instruction\n");
  Write(cpu + "cache/index2/level", "2\n");
  Write(cpu + "cache/index2/size", "2048K\n");
  Write(cpu + "cache/index2/type", "Unified\n");
  const std::vector<Fact> facts = MachineFacts(root_);
  EXPECT_EQ(ValueOf(facts, "processor"), "A Processor 9000");
  EXPECT_EQ(ValueOf(facts, "SMT"), "on");
  EXPECT_EQ(ValueOf(facts, "NUMA nodes"), "0-3");
  EXPECT_EQ(ValueOf(facts, "cgroup limit"), "1.50 cores");
  EXPECT_EQ(ValueOf(facts, "governor"), "performance");
  EXPECT_EQ(ValueOf(facts, "frequency"), "3100 MHz now, 800 to 4200 MHz");
  EXPECT_EQ(ValueOf(facts, "caches"), "L1 48K, L2 2048K");
  EXPECT_THAT(ValueOf(facts, "load before"), HasSubstr("0.25"));
}

TEST_F(Machine, WhatIsNotSaidIsUnavailable) {
  const std::vector<Fact> facts = MachineFacts(root_);
  for (const char* name : {"SMT", "NUMA nodes", "governor", "frequency", "caches", "load before"})
    EXPECT_EQ(ValueOf(facts, name), kUnavailable) << name;
  EXPECT_EQ(ValueOf(facts, "cgroup limit"), "none");
  EXPECT_EQ(ValueOf(facts, "no such fact"), kUnavailable);
  EXPECT_NE(ValueOf(facts, "processor"), "");
  std::set<std::string> names;
  for (const Fact& fact : facts) EXPECT_TRUE(names.insert(fact.name).second) << fact.name;
}

TEST_F(Machine, FrequencyHasAnOlderForm) {
  Write("proc/cpuinfo", "cpu MHz\t\t: 2299.998\n");
  EXPECT_EQ(ValueOf(MachineFacts(root_), "frequency"), "2300 MHz now");
}

TEST(ListOf, ShortensRuns) {
  EXPECT_EQ(ListOf({}), "");
  EXPECT_EQ(ListOf({3}), "3");
  EXPECT_EQ(ListOf({0, 1, 2, 3, 8}), "0-3,8");
  EXPECT_EQ(ListOf({0, 2, 4, 5}), "0,2,4-5");
  EXPECT_NE(AffinityMask(), "");
}

class Energy : public Machine {
 protected:
  void Package(const std::string& name, const std::string& kind, double microjoules) {
    Write(name + "/name", kind + "\n");
    Write(name + "/energy_uj", std::to_string(static_cast<int64_t>(microjoules)) + "\n");
    Write(name + "/max_energy_range_uj", "1000000000\n");
  }
};

TEST_F(Energy, AddsPackagesAndNotTheirParts) {
  Package("intel-rapl:0", "package-0", 1e6);
  Package("intel-rapl:0:0", "core", 5e5);
  Package("intel-rapl:1", "package-1", 2e6);
  Package("intel-rapl:2", "psys", 9e6);
  EnergyMeter meter(root_);
  ASSERT_TRUE(meter.available());
  meter.Start();
  Package("intel-rapl:0", "package-0", 3e6);
  Package("intel-rapl:0:0", "core", 9e6);
  Package("intel-rapl:1", "package-1", 2.5e6);
  EXPECT_DOUBLE_EQ(meter.Joules().value(), 2.5);
}

TEST_F(Energy, ACounterMayBeginAgain) {
  Package("intel-rapl:0", "package-0", 999e6);
  EnergyMeter meter(root_);
  meter.Start();
  Package("intel-rapl:0", "package-0", 1e6);
  EXPECT_DOUBLE_EQ(meter.Joules().value(), 2.0);
}

TEST_F(Energy, IsUnavailableWhereNobodyMayRead) {
  EXPECT_FALSE(EnergyMeter(root_ / "gone").available());
  Write("intel-rapl:0/name", "package-0\n");
  EnergyMeter meter(root_);
  EXPECT_FALSE(meter.available());
  EXPECT_FALSE(meter.Joules().has_value());
}

}  // namespace
}  // namespace lockstep::scale
