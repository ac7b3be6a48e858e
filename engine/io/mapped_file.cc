#include "engine/io/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>

#include "engine/io/file.h"

namespace lockstep::inline v0_1 {

Result<std::shared_ptr<const MappedFile>> MappedFile::Open(const std::string& path, bool jumps) {
  // A pipe without a writer must not block the caller before it can be refused.
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) return FileError(path, "open", errno);
  struct stat info {};
  Status status;
  void *data = nullptr, *again = nullptr;
  size_t size = 0;
  if (fstat(fd, &info) != 0) {
    status = FileError(path, "read", errno);
  } else if (S_ISDIR(info.st_mode)) {
    status = FileError(path, "read", EISDIR);
  } else if (!S_ISREG(info.st_mode)) {
    status = Status::Invalid(path + ": is not a regular file; give the path of one");
  } else if (info.st_size > 0) {
    size = static_cast<size_t>(info.st_size);
    data = mmap(nullptr, size, PROT_READ, MAP_SHARED, fd, 0);
    if (data == MAP_FAILED) status = FileError(path, "map", errno);
    again = data;
    if (jumps && status.ok()) again = mmap(nullptr, size, PROT_READ, MAP_SHARED, fd, 0);
    if (again == MAP_FAILED) {
      again = data;
    } else if (again != data) {
      static_cast<void>(madvise(again, size, MADV_RANDOM));
    }
  }
  close(fd);
  if (!status.ok()) return status;
  return std::shared_ptr<const MappedFile>(new MappedFile(
      static_cast<const std::byte*>(data), static_cast<const std::byte*>(again), size));
}

void MappedFile::WillNeed(std::span<const std::byte> part) {
  const auto page = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
  const auto begin = reinterpret_cast<uintptr_t>(part.data());
  const uintptr_t ahead = begin % page;  // what madvise takes begins at a page
  // Linux reads no more for one call than it reads ahead by itself, 128 KB where nobody set more.
  // Whether it does is its affair.
  constexpr size_t kMost = 128 * 1024;
  for (size_t done = 0, all = part.size() + ahead; done < all; done += kMost) {
    static_cast<void>(madvise(reinterpret_cast<void*>(begin - ahead + done),
                              std::min(kMost, all - done), MADV_WILLNEED));
  }
}

MappedFile::~MappedFile() {
  if (size_ > 0 && jumps_ != data_) munmap(const_cast<std::byte*>(jumps_), size_);
  if (size_ > 0) munmap(const_cast<std::byte*>(data_), size_);
}

}  // namespace lockstep
