// Bytes of a data file, one piece after another: from a file, plain or gzip-compressed, or from
// memory.
#ifndef LOCKSTEP_ENGINE_DATA_BYTE_SOURCE_H_
#define LOCKSTEP_ENGINE_DATA_BYTE_SOURCE_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "engine/base/status.h"

namespace lockstep::inline v0_1 {

// Thread-compatible.
class ByteSource {
 public:
  virtual ~ByteSource() = default;

  // Fills `into` as far as there are bytes and returns how many came; fewer than asked for: the
  // end. Errors (of the system, damaged or truncated compression) carry the file's name.
  virtual Result<size_t> Read(std::span<uint8_t> into) = 0;
  // The size of a plain file; -1 where the number of bytes is known only at their end.
  virtual int64_t size() const = 0;
  // Which share of the file has been read, 0 to 1; 0 where that is not known.
  virtual double share() const = 0;
};

// Compression is recognised by content, not by name.
Result<std::unique_ptr<ByteSource>> OpenFile(const std::string& path);
// Borrows `text`.
std::unique_ptr<ByteSource> OpenText(std::string_view text);

// A piece of a data file for a message: in quotes, control characters replaced, at most 40 bytes.
std::string ShownText(std::string_view text);

}  // namespace lockstep

#endif  // LOCKSTEP_ENGINE_DATA_BYTE_SOURCE_H_
