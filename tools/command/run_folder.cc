#include "tools/command/run_folder.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <ctime>
#include <filesystem>
#include <span>
#include <string_view>
#include <utility>

#include "engine/io/file.h"

namespace lockstep::inline v0_1::tools {
namespace {

constexpr const char* kLockName = "/lock";

}  // namespace

Result<FolderLock> FolderLock::Take(const std::string& folder) {
  const std::string path = folder + kLockName;
  const int fd = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666);
  if (fd < 0) return FileError(path, "write", errno);
  FolderLock lock(fd);
  if (flock(fd, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) {
    char who[24] = "";
    const ssize_t got = pread(fd, who, sizeof who - 1, 0);
    const std::string_view number(who, got > 0 ? static_cast<size_t>(got) : 0);
    const bool plain =
        !number.empty() && number.find_first_not_of("0123456789") == std::string_view::npos;
    return Status::Io(folder + " is in use by " +
                      (plain ? "process " + std::string(number) : std::string("another process")) +
                      ": a run folder belongs to one process; wait for it, or stop it (it saves) "
                      "and go on then");
  }
  // The number is for the message above alone: who cannot write it holds the lock all the same.
  const std::string mine = std::to_string(getpid());
  if (ftruncate(fd, 0) == 0) (void)WriteAll(fd, std::as_bytes(std::span(mine)));
  return lock;
}

FolderLock::FolderLock(FolderLock&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}

FolderLock& FolderLock::operator=(FolderLock&& other) noexcept {
  std::swap(fd_, other.fd_);
  return *this;
}

FolderLock::~FolderLock() {
  if (fd_ >= 0) close(fd_);
}

std::string RunFolder::checkpoint(int64_t step) const {
  char name[48];
  std::snprintf(name, sizeof name, "/step-%09lld.safetensors", static_cast<long long>(step));
  return path + name;
}

Result<std::vector<int64_t>> RunFolder::OlderCheckpoints() const {
  constexpr std::string_view kBefore = "step-", kAfter = ".safetensors";
  std::error_code error;
  std::vector<int64_t> steps;
  for (std::filesystem::directory_iterator entry(path, error), end; !error && entry != end;
       entry.increment(error)) {
    const std::string name = entry->path().filename().string();
    if (!name.starts_with(kBefore) || !name.ends_with(kAfter)) continue;
    const char* const digits_end = name.data() + name.size() - kAfter.size();
    int64_t step = 0;
    const auto read = std::from_chars(name.data() + kBefore.size(), digits_end, step);
    if (read.ec == std::errc() && read.ptr == digits_end) steps.push_back(step);
  }
  if (error) return FileError(path, "read", error.value());
  std::sort(steps.begin(), steps.end());
  return steps;
}

Status RunFolder::Log(const std::string& line) const {
  const std::time_t now = std::time(nullptr);
  std::tm utc{};
  char text[32] = "";
  if (gmtime_r(&now, &utc) != nullptr) std::strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S ", &utc);
  const std::string row = text + line + "\n";
  const int fd = open(log().c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0666);
  if (fd < 0) return FileError(log(), "write", errno);
  const int error = WriteAll(fd, std::as_bytes(std::span(row)));
  close(fd);
  return error == 0 ? Status::Ok() : FileError(log(), "write", error);
}

namespace {

Status HoldsARun(const std::string& path) {
  return Status::Invalid(
      path + " holds a run already; go on with it by --resume, or choose another output.folder");
}

// Whether the folder was not there before: mkdir itself is the test, for between a look and a
// mkdir another process may have made it.
Result<bool> MakeFolder(const std::string& path) {
  if (mkdir(path.c_str(), 0777) == 0) return true;
  if (errno == EEXIST) return false;
  return FileError(path, "create the folder", errno);
}

}  // namespace

Result<RunFolder::Made> RunFolder::Create(const std::string& wanted, const std::string& recipe_path,
                                          const std::string& recipe) {
  namespace fs = std::filesystem;
  std::error_code ignored;
  RunFolder folder{wanted};
  bool made = false;
  if (wanted.empty()) {
    const std::string base = "runs/" + fs::path(recipe_path).stem().string();
    LOCKSTEP_TRY(CreateFolders("runs"));
    for (int64_t n = 1; !made; ++n) {
      folder.path = n == 1 ? base : base + "-" + std::to_string(n);
      LOCKSTEP_TRY_ASSIGN(made, MakeFolder(folder.path));
    }
  } else {
    if (fs::exists(folder.recipe(), ignored)) return HoldsARun(wanted);
    // A slash at the end would make the folder its own parent.
    const fs::path parent =
        fs::path(wanted.substr(0, wanted.find_last_not_of('/') + 1)).parent_path();
    LOCKSTEP_TRY(CreateFolders(parent.string()).At(wanted));
    LOCKSTEP_TRY_ASSIGN(made, MakeFolder(wanted));
    if (!made && !fs::is_directory(wanted, ignored))
      return FileError(wanted, "create the folder", ENOTDIR);
  }
  LOCKSTEP_TRY_ASSIGN(FolderLock lock, FolderLock::Take(folder.path));
  if (fs::exists(folder.recipe(), ignored)) return HoldsARun(folder.path);  // begun meanwhile
  const Status written = WriteFileAtomically(folder.recipe(), recipe);
  if (!written.ok()) {
    fs::remove(folder.path + kLockName, ignored);
    if (made) fs::remove(folder.path, ignored);
    return written;
  }
  return Made{std::move(folder), std::move(lock)};
}

}  // namespace lockstep::tools
