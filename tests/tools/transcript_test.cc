// Every command of tools/README.md, in order, in one folder; what it prints is what the page shows.
#include <gmock/gmock.h>

#include <regex>

#include "tests/tools/program.h"

namespace lockstep::inline v0_1::tools {
namespace {

// Numbers differ between machines (seconds, threads, commits), the words around them do not.
std::string Masked(std::string line) {
  line = std::regex_replace(line, std::regex("\\(commit [^)]*\\)|hash [0-9a-f]{16}"), "#");
  line = std::regex_replace(line, std::regex("built with .*|runs on [^,]*"), "#");
  line = std::regex_replace(line, std::regex("[0-9][0-9.]*"), "#");
  line = std::regex_replace(line, std::regex("threads"), "thread");
  line = std::regex_replace(line, std::regex(" +[*]$"), "");  // the best so far
  return std::regex_replace(line, std::regex(" +"), " ");
}

std::vector<std::string> MaskedLines(const std::string& text) {
  std::istringstream in(text);
  std::vector<std::string> lines;
  for (std::string line; std::getline(in, line);) lines.push_back(Masked(line));
  return lines;
}

TEST_F(Program, DoesWhatThePageShows) {
  fs::create_directory_symlink(LOCKSTEP_SOURCE_DIR "/models", folder_ / "models");
  fs::create_directory(folder_ / "bin");
  fs::create_symlink(LOCKSTEP_PROGRAM, folder_ / "bin/lockstep");

  std::ifstream page(LOCKSTEP_SOURCE_DIR "/tools/README.md");
  ASSERT_TRUE(page);
  bool inside = false;
  int commands = 0;
  std::string command;
  std::vector<std::string> printed;
  for (std::string line; std::getline(page, line);) {
    if (line.starts_with("```")) {
      inside = line == "```console";
    } else if (inside && line.starts_with("$ ")) {
      command = line.substr(2);
      Write("command.sh", "PATH=$PWD/bin:$PATH\n" + command + "\n");
      const std::string run = "cd " + folder_.string() + " && bash command.sh >out 2>&1 </dev/null";
      ASSERT_EQ(WEXITSTATUS(std::system(run.c_str())), 0) << command << "\n" << Read("out");
      printed = MaskedLines(Read("out"));
      ++commands;
    } else if (inside && line != "...") {
      EXPECT_THAT(printed, ::testing::Contains(Masked(line))) << command;
    }
  }
  EXPECT_GE(commands, 11);
}

}  // namespace
}  // namespace lockstep::tools
