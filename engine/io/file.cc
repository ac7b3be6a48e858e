#include "engine/io/file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <system_error>
#include <utility>

#include "engine/base/check.h"

namespace lockstep::inline v0_1 {
namespace {

// Linux transfers at most 2 GiB - 4 KiB per call, and other systems refuse more.
constexpr size_t kMaxTransfer = size_t{1} << 30;

std::string Advice(int error) {
  switch (error) {
    case ENOENT:
      return "check the path and whether its folder exists";
    case EACCES:
    case EPERM:
      return "check the permissions of the file and its folder";
    case EROFS:
      return "choose a folder that can be written";
    case ENOSPC:
    case EDQUOT:
      return "free some space or choose another folder";
    case EFBIG:
      return "check the limit of file sizes (ulimit -f) or choose another folder";
    case EISDIR:
      return "give the path of a file";
    case ENOTDIR:
      return "a part of the path is a file, not a folder";
    case EMFILE:
    case ENFILE:
      return "raise the limit of open files (ulimit -n)";
    case ENAMETOOLONG:
      return "choose a shorter name";
    case EIO:
      return "the disk or the network share may be failing";
    default:
      return "";
  }
}

int OpenRetrying(const std::string& path, int flags) {
  int fd;
  do {
    fd = open(path.c_str(), flags | O_CLOEXEC, 0666);
  } while (fd < 0 && errno == EINTR);
  return fd;
}

int FsyncRetrying(int fd) {
  int result;
  do {
    result = fsync(fd);
  } while (result != 0 && errno == EINTR);
  return result;
}

std::string FolderOf(const std::string& path) {
  const size_t slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

std::string TemporaryOf(const std::string& path) { return path + ".tmp"; }

Status ReadFrom(int fd, const std::string& path, int64_t offset, std::span<std::byte> into) {
  std::byte* next = into.data();
  size_t size = into.size();
  while (size > 0) {
    const ssize_t got = pread(fd, next, std::min(size, kMaxTransfer), offset);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return FileError(path, "read", errno);
    if (got == 0) {
      return Status::Corrupt(path + ": ends at byte " + std::to_string(offset) + ", " +
                             std::to_string(size) + " bytes early; was it cut short meanwhile?");
    }
    next += got;
    offset += got;
    size -= static_cast<size_t>(got);
  }
  return Status::Ok();
}

Status TooLarge(const std::string& path, const std::string& size, int64_t limit) {
  return Status::Invalid(path + ": has " + size + " bytes, the limit here is " +
                         std::to_string(limit) + "; is it the file you meant?");
}

}  // namespace

Status FileError(const std::string& path, std::string_view verb, int error) {
  std::string message =
      path + ": cannot " + std::string(verb) + ": " + std::generic_category().message(error);
  if (const std::string advice = Advice(error); !advice.empty()) message += "; " + advice;
  return {error == ENOENT ? Code::kNotFound : Code::kIo, std::move(message)};
}

int WriteAll(int fd, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t written = write(fd, bytes.data(), std::min(bytes.size(), kMaxTransfer));
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return errno;
    if (written == 0) return EIO;
    bytes = bytes.subspan(static_cast<size_t>(written));
  }
  return 0;
}

Result<std::string> ReadFile(const std::string& path, int64_t limit) {
  const int fd = OpenRetrying(path, O_RDONLY);
  if (fd < 0) return FileError(path, "open", errno);
  struct Closer {
    int fd;
    ~Closer() { close(fd); }
  } closer{fd};

  // The size is a hint: a pipe has none, and a log may grow while it is read.
  struct stat info {};
  if (fstat(fd, &info) != 0) return FileError(path, "read", errno);
  if (S_ISREG(info.st_mode) && info.st_size > limit) {
    return TooLarge(path, std::to_string(info.st_size), limit);
  }
  const size_t most = static_cast<size_t>(limit) + 1;
  std::string content;
  size_t used = 0;
  content.resize(std::min(most, static_cast<size_t>(std::max<off_t>(info.st_size, 0)) + 4096));
  while (true) {
    if (used == content.size()) {
      if (used == most) return TooLarge(path, "more than " + std::to_string(limit), limit);
      content.resize(std::min(most, used * 2));
    }
    const ssize_t got =
        read(fd, content.data() + used, std::min(content.size() - used, kMaxTransfer));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return FileError(path, "read", errno);
    if (got == 0) break;
    used += static_cast<size_t>(got);
  }
  if (used > static_cast<size_t>(limit)) {
    return TooLarge(path, "more than " + std::to_string(limit), limit);
  }
  content.resize(used);
  return content;
}

InputFile::InputFile(int fd, int64_t size, std::string path)
    : fd_(fd), size_(size), path_(std::move(path)) {}

InputFile::InputFile(InputFile&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)),
      size_(std::exchange(other.size_, 0)),
      path_(std::move(other.path_)) {}

InputFile& InputFile::operator=(InputFile&& other) noexcept {
  std::swap(fd_, other.fd_);
  std::swap(size_, other.size_);
  std::swap(path_, other.path_);
  return *this;
}

InputFile::~InputFile() {
  if (fd_ >= 0) close(fd_);
}

Result<InputFile> InputFile::Open(const std::string& path) {
  // A pipe without a writer must not block the caller before it can be refused.
  const int fd = OpenRetrying(path, O_RDONLY | O_NONBLOCK);
  if (fd < 0) return FileError(path, "open", errno);
  InputFile file(fd, 0, path);
  struct stat info {};
  if (fstat(fd, &info) != 0) return FileError(path, "read", errno);
  if (S_ISDIR(info.st_mode)) return FileError(path, "read", EISDIR);
  if (!S_ISREG(info.st_mode)) {
    return Status::Invalid(path + ": is not a regular file; give the path of one");
  }
  file.size_ = info.st_size;
  return file;
}

Status InputFile::ReadAt(int64_t offset, void* into, size_t size) const {
  return ReadFrom(fd_, path_, offset, {static_cast<std::byte*>(into), size});
}

AtomicFile::AtomicFile(int fd, std::string path, bool owns)
    : fd_(fd), path_(std::move(path)), owns_(owns) {}

AtomicFile::AtomicFile(AtomicFile&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)), path_(std::move(other.path_)), owns_(other.owns_) {}

AtomicFile::~AtomicFile() {
  if (fd_ < 0) return;
  if (owns_) unlink(TemporaryOf(path_).c_str());  // before the lock goes with the descriptor
  close(fd_);
}

Result<AtomicFile> AtomicFile::Create(const std::string& path) {
  // Renaming over a device such as /dev/null would replace it.
  struct stat target {};
  if (stat(path.c_str(), &target) == 0) {
    if (S_ISDIR(target.st_mode)) return FileError(path, "write", EISDIR);
    if (!S_ISREG(target.st_mode)) {
      return Status::Invalid(path + ": cannot write: is not a regular file; choose another path");
    }
  }
  const std::string temporary = TemporaryOf(path);
  constexpr int kAttempts = 100;
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    const int fd = OpenRetrying(temporary, O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0) return FileError(path, "write", errno);
    // The name of the temporary is fixed, so that killed processes leave one at most; the lock
    // (which dies with its process) keeps two living writers apart. File systems without locks go
    // without that check.
    if (flock(fd, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) {
      close(fd);
      return Status::Io(path + ": cannot write: another process or thread is writing " + temporary +
                        "; wait for it or choose another path");
    }
    // Meanwhile the former holder of the lock may have renamed the file just opened into place.
    struct stat opened {
    }, named{};
    if (fstat(fd, &opened) != 0 || stat(temporary.c_str(), &named) != 0 ||
        opened.st_ino != named.st_ino || opened.st_dev != named.st_dev) {
      close(fd);
      continue;
    }
    if (!S_ISREG(opened.st_mode)) {
      close(fd);
      return Status::Io(path + ": cannot write: " + temporary + " is in the way; remove it");
    }
    AtomicFile file(fd, path, /*owns=*/true);
    if (ftruncate(fd, 0) != 0) return FileError(path, "write", errno);
    return file;
  }
  return Status::Io(path +
                    ": cannot write: other processes keep replacing it; choose another path");
}

bool AtomicFile::IsBeingWritten(const std::string& path) {
  const int fd = OpenRetrying(TemporaryOf(path), O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
  if (fd < 0) return false;
  const bool locked = flock(fd, LOCK_SH | LOCK_NB) != 0 && errno == EWOULDBLOCK;
  close(fd);
  return locked;
}

Status AtomicFile::Write(std::span<const std::byte> bytes) {
  if (const int error = WriteAll(fd_, bytes); error != 0) return FileError(path_, "write", error);
  return Status::Ok();
}

Result<AtomicFile> AtomicFile::Join(const std::string& path) {
  const std::string temporary = TemporaryOf(path);
  const int fd = OpenRetrying(temporary, O_RDWR | O_NOFOLLOW | O_NONBLOCK);
  if (fd < 0) return FileError(temporary, "open", errno);
  return AtomicFile(fd, path, /*owns=*/false);
}

Status AtomicFile::WriteAt(int64_t offset, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t put = pwrite(fd_, bytes.data(), std::min(bytes.size(), kMaxTransfer), offset);
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) return FileError(path_, "write", errno);
    bytes = bytes.subspan(static_cast<size_t>(put));
    offset += put;
  }
  return Status::Ok();
}

Status AtomicFile::ReadAt(int64_t offset, std::span<std::byte> bytes) const {
  return ReadFrom(fd_, TemporaryOf(path_), offset, bytes);
}

Status AtomicFile::Sync() {
  return FsyncRetrying(fd_) == 0 ? Status::Ok() : FileError(path_, "write", errno);
}

std::string AtomicFile::temporary_path() const { return TemporaryOf(path_); }

Status AtomicFile::Commit() {
  LOCKSTEP_CHECK(owns_, "only who created a file commits it");
  if (FsyncRetrying(fd_) != 0) return FileError(path_, "write", errno);
  if (rename(TemporaryOf(path_).c_str(), path_.c_str()) != 0) {
    return FileError(path_, "write", errno);
  }
  close(std::exchange(fd_, -1));
  const std::string folder = FolderOf(path_);
  const int folder_fd = OpenRetrying(folder, O_RDONLY | O_DIRECTORY);
  // A folder that may be written but not read cannot be synced; nor can some file systems'
  // (EINVAL).
  if (folder_fd < 0) return errno == EACCES ? Status::Ok() : FileError(folder, "sync", errno);
  const int error = FsyncRetrying(folder_fd) == 0 ? 0 : errno;
  close(folder_fd);
  return error == 0 || error == EINVAL ? Status::Ok() : FileError(folder, "sync", error);
}

Status WriteFileAtomically(const std::string& path,
                           std::span<const std::span<const std::byte>> parts) {
  LOCKSTEP_TRY_ASSIGN(AtomicFile file, AtomicFile::Create(path));
  for (const auto& part : parts) LOCKSTEP_TRY(file.Write(part));
  return file.Commit();
}

Status WriteFileAtomically(const std::string& path, std::string_view text) {
  const std::span<const std::byte> part = std::as_bytes(std::span(text));
  return WriteFileAtomically(path, std::span(&part, 1));
}

Status CreateFolders(const std::string& path) {
  if (path.empty()) return Status::Ok();
  std::error_code error;
  std::filesystem::create_directories(path, error);
  if (error) return FileError(path, "create the folder", error.value());
  return Status::Ok();
}

std::string Quoted(std::string_view text) {
  constexpr size_t kHead = 64, kTail = 24;
  const auto escape = [](std::string_view part, std::string& out) {
    for (const char c : part) {
      const auto byte = static_cast<unsigned char>(c);
      if (byte < 0x20 || byte == 0x7F) {
        char code[5];
        std::snprintf(code, sizeof(code), "\\x%02x", byte);
        out += code;
      } else {
        out += c;
      }
    }
  };
  const auto is_inside = [&](size_t i) {  // a UTF-8 sequence
    return (static_cast<unsigned char>(text[i]) & 0xC0) == 0x80;
  };
  std::string out = "\"";
  if (text.size() <= kHead + kTail) {
    escape(text, out);
  } else {
    size_t head = kHead, tail = text.size() - kTail;
    while (head > 0 && is_inside(head)) --head;
    while (tail < text.size() && is_inside(tail)) ++tail;
    escape(text.substr(0, head), out);
    out += "...";
    escape(text.substr(tail), out);
  }
  return out + "\"";
}

}  // namespace lockstep
