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
  // Only regular files. Errors carry the path. `jumps`: the file is mapped a second time, for those
  // who look here and there.
  static Result<std::shared_ptr<const MappedFile>> Open(const std::string& path,
                                                        bool jumps = false);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  // Begins at a page.
  std::span<const std::byte> bytes() const { return {data_, size_}; }
  // The same bytes. Where memory does not hold them the system reads the page that is looked at and
  // none around it (8 MB on some machines, which push out what was asked for by WillNeed).
  std::span<const std::byte> bytes_for_jumps() const { return {jumps_, size_}; }
  // This part of a mapping will be looked at: the system begins to read it.
  static void WillNeed(std::span<const std::byte> part);

 private:
  MappedFile(const std::byte* data, const std::byte* jumps, size_t size)
      : data_(data), jumps_(jumps), size_(size) {}

  const std::byte* data_;
  const std::byte* jumps_;  // data_, or mapped too
  size_t size_;
};

}  // namespace lockstep

#endif  // LOCKSTEP_ENGINE_IO_MAPPED_FILE_H_
