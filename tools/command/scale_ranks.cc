#include "tools/command/scale_ranks.h"

#include <fmt/format.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <sstream>
#include <system_error>

#include "engine/base/text.h"
#include "engine/io/file.h"

extern char** environ;

namespace lockstep::inline v0_1::tools {
namespace {

namespace fs = std::filesystem;

// A launcher that binds each rank to one core leaves its threads one core together. Ranks here may
// use what the launcher may, unless its command line says otherwise: Open MPI 4, Open MPI 5.
std::vector<std::string> Environment() {
  std::vector<std::string> all;
  for (char** one = environ; *one != nullptr; ++one) all.emplace_back(*one);
  for (const char* name :
       {"OMPI_MCA_hwloc_base_binding_policy", "PRTE_MCA_hwloc_default_binding_policy"}) {
    if (std::getenv(name) == nullptr) all.push_back(std::string(name) + "=none");
  }
  return all;
}

std::vector<char*> Pointers(std::vector<std::string>& texts) {
  std::vector<char*> pointers;
  for (std::string& text : texts) pointers.push_back(text.data());
  pointers.push_back(nullptr);
  return pointers;
}

Status NoLauncher(const std::string& program) {
  return Status::NotFound(
      "--ranks needs an MPI: there is no " + program +
      " here (Debian: apt-get install openmpi-bin libopenmpi-dev, then build again)");
}

Status Spawn(std::vector<std::string> words) {
  std::vector<std::string> environment = Environment();
  const std::vector<char*> arguments = Pointers(words), variables = Pointers(environment);
  pid_t child = 0;
  const int error =
      posix_spawnp(&child, words[0].c_str(), nullptr, nullptr, arguments.data(), variables.data());
  if (error == ENOENT) return NoLauncher(words[0]);
  if (error != 0) return Status::Io("cannot start " + words[0] + ": " + std::strerror(error));
  int status = 0;
  while (waitpid(child, &status, 0) < 0) {
    if (errno != EINTR)
      return Status::Io(std::string("waiting for ") + words[0] + ": " + std::strerror(errno));
  }
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return Status::Ok();
  return Status::Io(fmt::format(
      "{} ended with {} {}; --launcher sets how ranks are started, as in --launcher \"mpirun "
      "--oversubscribe -n {{}}\"",
      words[0], WIFEXITED(status) ? "exit code" : "signal",
      WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status)));
}

}  // namespace

Result<std::vector<std::string>> LauncherWords(const std::string& launcher, int ranks) {
  std::vector<std::string> words;
  bool placed = false;
  std::istringstream in(launcher);
  for (std::string word; in >> word;) {
    for (size_t at; (at = word.find("{}")) != std::string::npos; placed = true)
      word.replace(at, 2, std::to_string(ranks));
    words.push_back(word);
  }
  if (words.empty() || !placed) {
    return Status::Invalid("--launcher " + Quoted(launcher) +
                           " has no {} where the number of ranks goes, as in \"mpirun -n {}\"");
  }
  return words;
}

Status CheckLauncher(const std::string& launcher) {
  LOCKSTEP_TRY_ASSIGN(const std::vector<std::string> words, LauncherWords(launcher, 1));
  const std::string& program = words[0];
  if (program.find('/') != std::string::npos)
    return access(program.c_str(), X_OK) == 0 ? Status::Ok() : NoLauncher(program);
  const char* const path = std::getenv("PATH");
  std::istringstream folders(path == nullptr ? "" : path);
  for (std::string folder; std::getline(folders, folder, ':');) {
    if (access((folder + "/" + program).c_str(), X_OK) == 0) return Status::Ok();
  }
  return NoLauncher(program);
}

Result<scale::RankReport> LaunchRanks(const ScaleArgs& args, int ranks) {
  LOCKSTEP_TRY_ASSIGN(std::vector<std::string> words, LauncherWords(args.launcher, ranks));
  std::error_code error;
  const fs::path program = fs::read_symlink("/proc/self/exe", error);
  if (error) return Status::Io("cannot find this program's own file: " + error.message());
  const fs::path folder = fs::temp_directory_path(error);
  if (error) return Status::Io("there is no folder for temporary files: " + error.message());
  const fs::path file = folder / fmt::format("lockstep-scale-{}-{}.json", getpid(), ranks);
  for (const std::string& word : {program.string(), std::string("scale"), args.recipe})
    words.push_back(word);
  words.insert(words.end(), args.overrides.begin(), args.overrides.end());
  for (const std::string& word :
       {std::string("--worker"), file.string(), std::string("--threads"), args.threads,
        std::string("--ranks"), args.ranks, std::string("--repetitions"),
        std::to_string(args.repetitions), std::string("--seconds"), TextOf(args.seconds)})
    words.push_back(word);
  if (args.strong) words.emplace_back("--strong");
  if (args.weak) words.emplace_back("--weak");
  if (args.loading) words.emplace_back("--loading");
  const Status ran = Spawn(std::move(words));
  Result<std::string> text = ran.ok() ? ReadFile(file.string()) : Result<std::string>(ran);
  fs::remove(file, error);
  LOCKSTEP_TRY(text.status());
  return scale::ParseRankReport(*text, file.string());
}

}  // namespace lockstep::tools
