// What tests of the program share: a folder of their own, in which it runs.
#ifndef LOCKSTEP_TESTS_TOOLS_PROGRAM_H_
#define LOCKSTEP_TESTS_TOOLS_PROGRAM_H_

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>

namespace lockstep::inline v0_1::tools {

namespace fs = std::filesystem;

struct Ran {
  int code = -1;
  std::string out;  // standard output and standard error
};

class Program : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::temp_directory_path() / ("lockstep_program_" + std::to_string(getpid()));
    fs::remove_all(folder_);
    fs::create_directories(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }

  // Runs `lockstep ARGUMENTS` in a folder of its own.
  Ran Run(const std::string& arguments) {
    const std::string command =
        "cd " + folder_.string() + " && " LOCKSTEP_PROGRAM " " + arguments + " 2>&1 </dev/null";
    FILE* pipe = popen(command.c_str(), "r");
    Ran ran;
    std::array<char, 4096> buffer;
    for (size_t n; (n = fread(buffer.data(), 1, buffer.size(), pipe)) > 0;)
      ran.out.append(buffer.data(), n);
    const int status = pclose(pipe);
    ran.code = WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
    return ran;
  }
  void Write(const std::string& name, const std::string& text) {
    std::ofstream(folder_ / name) << text;
  }
  std::string Read(const std::string& name) {
    std::ifstream in(folder_ / name);
    std::ostringstream text;
    text << in.rdbuf();
    return text.str();
  }
  nlohmann::json Summary(const std::string& run) {
    return nlohmann::json::parse(Read(run + "/summary.json"));
  }

  // Fails with one line that holds `part`.
  void ExpectFails(const std::string& arguments, const std::string& part, int code = 1) {
    const Ran ran = Run(arguments);
    EXPECT_EQ(ran.code, code) << arguments << "\n" << ran.out;
    EXPECT_NE(ran.out.find(part), std::string::npos) << arguments << "\n" << ran.out;
    EXPECT_EQ(std::count(ran.out.begin(), ran.out.end(), '\n'), 1) << ran.out;
  }

  fs::path folder_;
};

inline const std::string kClinical = LOCKSTEP_SOURCE_DIR "/models/recipes/clinical.toml";

}  // namespace lockstep::tools

#endif  // LOCKSTEP_TESTS_TOOLS_PROGRAM_H_
