// Whole files in and out. Every failure is one line: what was tried, on which path, what the system
// said, and what to do.
#ifndef LOCKSTEP_ENGINE_IO_FILE_H_
#define LOCKSTEP_ENGINE_IO_FILE_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "engine/base/status.h"

namespace lockstep::inline v0_1 {

inline constexpr int64_t kReadFileLimit = int64_t{1} << 30;

// The content of the file at `path` (a pipe or device will do). More than `limit` bytes are
// refused, before they are read where the size is known.
Result<std::string> ReadFile(const std::string& path, int64_t limit = kReadFileLimit);

// An open file for reading; closed at destruction. Movable. Reads may come from several threads.
class InputFile {
 public:
  // Only regular files, so that size() means something.
  static Result<InputFile> Open(const std::string& path);
  InputFile(InputFile&& other) noexcept;
  InputFile& operator=(InputFile&& other) noexcept;
  ~InputFile();

  const std::string& path() const { return path_; }
  int64_t size() const { return size_; }  // when it was opened
  // Exactly `size` bytes from `offset`; a file that has become shorter is an error.
  Status ReadAt(int64_t offset, void* into, size_t size) const;

 private:
  InputFile(int fd, int64_t size, std::string path);

  int fd_ = -1;
  int64_t size_ = 0;
  std::string path_;
};

// A file that appears under its name complete, or not at all. What is written goes to "PATH.tmp" in
// the same folder; Commit() brings it to the disk (fsync), renames it, and brings the folder to the
// disk. Until then a file that was there before is untouched, also after a crash or a loss of
// power. Without Commit() the temporary is removed at destruction; one that a killed process left
// behind is used again by the next writer. Two writers of one path at the same time: the second is
// refused. A symbolic link at `path` is replaced, what it points to is left alone. Movable;
// thread-compatible.
class AtomicFile {
 public:
  static Result<AtomicFile> Create(const std::string& path);
  AtomicFile(AtomicFile&& other) noexcept;
  AtomicFile& operator=(AtomicFile&&) = delete;
  ~AtomicFile();

  // The file that another process is creating at this moment, to write a part of it: that one alone
  // commits or removes it. An error if its temporary is not there.
  static Result<AtomicFile> Join(const std::string& path);

  // Whether a process or thread is creating the file at `path` at this moment. Where the file
  // system has no locks: false.
  static bool IsBeingWritten(const std::string& path);

  // After a failure only destruction is left.
  Status Write(std::span<const std::byte> bytes);
  Status Write(std::string_view text) { return Write(std::as_bytes(std::span(text))); }
  Status Commit();
  // Where what was written lies until Commit.
  std::string temporary_path() const;

  // For files that several processes write. Not to be mixed with Write, which has a place of its
  // own.
  Status WriteAt(int64_t offset, std::span<const std::byte> bytes);
  // Of what was written, by whomever.
  Status ReadAt(int64_t offset, std::span<std::byte> bytes) const;
  Status Sync();  // to the disk

 private:
  AtomicFile(int fd, std::string path, bool owns);

  int fd_ = -1;
  std::string path_;
  bool owns_ = true;  // the temporary
};

// The parts one after the other, as one atomic file.
Status WriteFileAtomically(const std::string& path,
                           std::span<const std::span<const std::byte>> parts);
Status WriteFileAtomically(const std::string& path, std::string_view text);

// The folder and those above it, where missing.
Status CreateFolders(const std::string& path);

// All of `bytes` to the descriptor, in pieces below 2 GiB, through interruptions. Returns 0 or the
// errno of the first failure.
int WriteAll(int fd, std::span<const std::byte> bytes);

// "PATH: cannot VERB: No space left on device; free some space ...": the text for one errno.
Status FileError(const std::string& path, std::string_view verb, int error);

// `text` between double quotes on one line: control characters escaped, the middle of long texts
// left out. For names that come from files and end up in messages.
std::string Quoted(std::string_view text);

}  // namespace lockstep

#endif  // LOCKSTEP_ENGINE_IO_FILE_H_
