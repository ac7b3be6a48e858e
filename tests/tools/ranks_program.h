// What tests share that run the program on several ranks: they are skipped where there is no MPI.
#ifndef LOCKSTEP_TESTS_TOOLS_RANKS_PROGRAM_H_
#define LOCKSTEP_TESTS_TOOLS_RANKS_PROGRAM_H_

#include <fcntl.h>
#include <signal.h>

#include <chrono>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "tests/tools/program.h"

namespace lockstep::inline v0_1::tools {

class RanksProgram : public Program {
 protected:
  void SetUp() override {
#ifndef LOCKSTEP_MPIRUN
    GTEST_SKIP() << "built without MPI";
#else
    Program::SetUp();
#endif
  }

  // "mpirun.sh MPIRUN RANKS"
  static std::string Launch(int ranks) {
#ifdef LOCKSTEP_MPIRUN
    return std::string(LOCKSTEP_MPIRUN) + " " + std::to_string(ranks) + " ";
#else
    return std::to_string(ranks);
#endif
  }
  static std::string Lockstep(const std::string& arguments) {
    return LOCKSTEP_PROGRAM " " + arguments;
  }

  // Runs a shell command in the folder, and returns when all it has started has ended.
  Ran Shell(const std::string& command) {
    Wait(Start(command), /*seconds=*/240.0);
    return {code_, Read("output.txt")};
  }
  Ran RunOn(int ranks, const std::string& arguments) {
    return Shell(Launch(ranks) + Lockstep(arguments));
  }

  // Starts a shell command without waiting for it; output goes to output.txt.
  pid_t Start(const std::string& command) {
    fs::remove(folder_ / "output.txt");  // or what was said before could be taken for it
    const pid_t child = fork();
    if (child != 0) return child;
    if (chdir(folder_.c_str()) != 0) _exit(127);
    const int in = open("/dev/null", O_RDONLY),
              out = open("output.txt", O_WRONLY | O_CREAT | O_TRUNC, 0666);
    dup2(in, 0);
    dup2(out, 1);
    dup2(out, 2);
    execl("/bin/sh", "sh", "-c", ("exec " + command).c_str(), nullptr);
    _exit(127);
  }
  static bool Lives(pid_t child) {
    siginfo_t info{};
    return waitid(P_PID, static_cast<id_t>(child), &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
           info.si_pid == 0;
  }
  // Whether it ended by itself; its exit code is then in code_.
  bool Wait(pid_t child, double seconds) {
    const auto end = std::chrono::steady_clock::now() + std::chrono::duration<double>(seconds);
    while (Lives(child) && std::chrono::steady_clock::now() < end)
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    const bool ended = !Lives(child);
    if (!ended) {
      for (const pid_t rank : RanksOf(child)) kill(rank, SIGKILL);
      kill(child, SIGKILL);
    }
    int status = 0;
    waitpid(child, &status, 0);
    code_ = WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
    return ended;
  }

  // The processes of the program that `launcher` has started, by itself or through others.
  static std::vector<pid_t> RanksOf(pid_t launcher) {
    std::vector<pid_t> ranks;
    std::set<pid_t> family = {launcher};
    for (bool grows = true; grows;) {
      grows = false;
      std::error_code ignored;
      for (fs::directory_iterator entry("/proc", ignored), end; entry != end;
           entry.increment(ignored)) {
        std::ifstream file(entry->path() / "stat");
        std::string text;
        std::getline(file, text);
        const size_t open = text.find('('), close = text.rfind(')');
        if (open == std::string::npos || close == std::string::npos) continue;
        const pid_t pid = std::atoi(text.c_str());
        std::istringstream rest(text.substr(close + 1));
        std::string state;
        pid_t parent = 0;
        rest >> state >> parent;
        if (!family.contains(parent) || family.contains(pid) || state == "Z") continue;
        family.insert(pid);
        grows = true;
        if (text.substr(open + 1, close - open - 1) == "lockstep") ranks.push_back(pid);
      }
    }
    std::sort(ranks.begin(), ranks.end());
    return ranks;
  }

  // What the program itself said: launchers add to it.
  static std::vector<std::string> Said(const std::string& out) {
    std::vector<std::string> lines;
    std::istringstream text(out);
    for (std::string line; std::getline(text, line);) {
      // Behind the line that keeps changing on what may be a terminal.
      if (const size_t at = line.find("lockstep: "); at != std::string::npos)
        lines.push_back(line.substr(at));
    }
    return lines;
  }

  int code_ = 0;
};

}  // namespace lockstep::tools

#endif  // LOCKSTEP_TESTS_TOOLS_RANKS_PROGRAM_H_
