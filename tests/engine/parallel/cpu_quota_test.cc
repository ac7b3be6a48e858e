#include "engine/parallel/cpu_quota.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <string>

namespace lockstep::inline v0_1 {
namespace {

namespace fs = std::filesystem;

constexpr char kV2[] = "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw\n";
constexpr char kV1[] =
    "33 32 0:29 / /sys/fs/cgroup/cpu,cpuacct rw shared:7 - cgroup cgroup rw,cpu,cpuacct\n"
    "34 32 0:30 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset\n";

class Quota : public ::testing::Test {
 protected:
  void SetUp() override {
    root_ = fs::temp_directory_path() / ("lockstep_quota_" + std::to_string(getpid()));
    fs::remove_all(root_);
  }
  void TearDown() override { fs::remove_all(root_); }
  void Write(const std::string& name, const std::string& text) {
    fs::create_directories((root_ / name).parent_path());
    std::ofstream(root_ / name) << text;
  }
  void Self(const std::string& cgroup, const std::string& mountinfo) {
    Write("proc/self/cgroup", cgroup);
    Write("proc/self/mountinfo", mountinfo);
  }
  void WriteV1(const std::string& group, const std::string& quota) {
    Write("sys/fs/cgroup/cpu,cpuacct" + group + "/cpu.cfs_quota_us", quota + "\n");
    Write("sys/fs/cgroup/cpu,cpuacct" + group + "/cpu.cfs_period_us", "100000\n");
  }
  double Cpus() const { return CpuQuota(root_.string()); }

  fs::path root_;
};

TEST_F(Quota, NothingToReadIsNoLimit) {
  EXPECT_EQ(Cpus(), HUGE_VAL);
  Self("0::/jobs/7\n", kV2);
  EXPECT_EQ(Cpus(), HUGE_VAL);
}

TEST_F(Quota, IsTheLeastFromTheOwnGroupToTheOutermost) {
  Self("0::/jobs/7/step\n", kV2);
  Write("sys/fs/cgroup/jobs/7/step/cpu.max", "max 100000\n");
  EXPECT_EQ(Cpus(), HUGE_VAL);
  Write("sys/fs/cgroup/jobs/7/cpu.max", "300000 100000\n");
  EXPECT_DOUBLE_EQ(Cpus(), 3.0);
  Write("sys/fs/cgroup/jobs/cpu.max", "75000 50000\n");
  EXPECT_DOUBLE_EQ(Cpus(), 1.5);
  Write("sys/fs/cgroup/cpu.max", "200000 100000\n");
  EXPECT_DOUBLE_EQ(Cpus(), 1.5);
  Write("sys/fs/cgroup/jobs/7/step/cpu.max", "50000 100000\n");
  EXPECT_DOUBLE_EQ(Cpus(), 0.5);
  Write("sys/fs/cgroup/jobs/8/cpu.max", "10000 100000\n");  // somebody else's
  EXPECT_DOUBLE_EQ(Cpus(), 0.5);
}

TEST_F(Quota, OfTheFirstVersionTakesTheHierarchyOfCpuAlone) {
  Self("9:name=systemd:/elsewhere\n4:cpu,cpuacct:/slurm/job\n3:cpuset:/slurm\n0::/\n", kV1);
  WriteV1("/slurm/job", "-1");
  EXPECT_EQ(Cpus(), HUGE_VAL);
  WriteV1("/slurm", "250000");
  EXPECT_DOUBLE_EQ(Cpus(), 2.5);
  WriteV1("/slurm/job", "120000");
  EXPECT_DOUBLE_EQ(Cpus(), 1.2);
  WriteV1("/elsewhere", "10000");
  Write("sys/fs/cgroup/cpuset/slurm/cpu.cfs_quota_us", "10000\n");
  Write("sys/fs/cgroup/cpuset/slurm/cpu.cfs_period_us", "100000\n");
  EXPECT_DOUBLE_EQ(Cpus(), 1.2);
}

// A container sees its own group as the top of what is mounted, whatever its name outside.
TEST_F(Quota, OfAContainerStandsAtTheTopOfItsMount) {
  Self("4:cpu,cpuacct:/docker/abc\n",
       "33 32 0:29 /docker/abc /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n");
  WriteV1("", "150000");
  EXPECT_DOUBLE_EQ(Cpus(), 1.5);
  Self("4:cpu,cpuacct:/docker/abc/inner\n",
       "33 32 0:29 /docker/abc /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n");
  WriteV1("/inner", "100000");
  EXPECT_DOUBLE_EQ(Cpus(), 1.0);
  Self("4:cpu,cpuacct:/docker/abcd\n",  // another container's mount
       "33 32 0:29 /docker/abc /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n");
  EXPECT_EQ(Cpus(), HUGE_VAL);
}

TEST_F(Quota, OfBothVersionsTheLeastCounts) {
  Self("4:cpu,cpuacct:/a\n0::/b\n",
       std::string(kV1) + "41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n");
  WriteV1("/a", "300000");
  EXPECT_DOUBLE_EQ(Cpus(), 3.0);
  Write("sys/fs/cgroup/unified/b/cpu.max", "200000 100000\n");
  EXPECT_DOUBLE_EQ(Cpus(), 2.0);
}

TEST_F(Quota, FoldersMayHaveBlanks) {
  Self("0::/my jobs/a:b\n", "30 23 0:26 / /sys/fs/c\\040group rw - cgroup2 cgroup2 rw\n");
  Write("sys/fs/c group/my jobs/a:b/cpu.max", "200000 100000\n");
  EXPECT_DOUBLE_EQ(Cpus(), 2.0);
}

TEST_F(Quota, WhatMakesNoSenseIsNoLimit) {
  for (const char* text : {"", "max", "0 100000\n", "-5 100000\n", "100000 0\n", "nan 100000\n"}) {
    Self("0::/\nnonsense\n:\n", std::string("nonsense\n\n36 35 -\n") + kV2);
    Write("sys/fs/cgroup/cpu.max", text);
    EXPECT_EQ(Cpus(), HUGE_VAL) << text;
  }
  Self("0::/../../elsewhere\n", kV2);
  Write("elsewhere/cpu.max", "100000 100000\n");
  EXPECT_EQ(Cpus(), HUGE_VAL);
}

}  // namespace
}  // namespace lockstep
