// A file as memory: the system reads what is looked at, when it is looked at.
#ifndef LOCKSTEP_ENGINE_IO_MAPPED_FILE_H_
#define LOCKSTEP_ENGINE_IO_MAPPED_FILE_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "engine/base/status.h"

namespace lockstep::inline v0_1 {

// Unmapped at destruction. A file that is cut short meanwhile ends the process (SIGBUS) when what
// is gone is looked at: replace files by renaming, as AtomicFile does. Any number of threads may
// read.
class MappedFile {
 public:
  // Only regular files. Errors carry the path.
  static Result<std::shared_ptr<const MappedFile>> Open(const std::string& path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  // Begins at a page.
  std::span<const std::byte> bytes() const { return {data_, size_}; }

 private:
  MappedFile(const std::byte* data, size_t size) : data_(data), size_(size) {}

  const std::byte* data_;
  size_t size_;
};

}  // namespace lockstep

#endif  // LOCKSTEP_ENGINE_IO_MAPPED_FILE_H_
