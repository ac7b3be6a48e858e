// The safetensors format: 8 bytes of header length (little endian), a JSON header that gives each
// tensor its dtype, shape and place, then the data without a gap.
// https://huggingface.co/docs/safetensors
#ifndef LOCKSTEP_ENGINE_IO_SAFETENSORS_H_
#define LOCKSTEP_ENGINE_IO_SAFETENSORS_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/status.h"
#include "engine/io/aligned_bytes.h"
#include "engine/io/stored_tensor.h"

namespace lockstep::inline v0_1 {

using Metadata = std::map<std::string, std::string>;

// The header of a file, checked against the format and against the file's size: every tensor's
// bytes lie in the data, are as many as its shape and type say, and the tensors fill the data
// without overlap or gap.
struct SafetensorsHeader {
  struct Entry {
    std::string name;
    StoredType type = StoredType::kF32;
    Shape shape;
    int64_t offset = 0;  // of its bytes in the data
    int64_t bytes = 0;
  };
  std::vector<Entry> entries;  // by place in the file
  Metadata metadata;
  std::string text;  // the first 8 bytes and the header as they stand in the file
};

// The largest header that is believed, as in Python's safetensors.
inline constexpr int64_t kSafetensorsHeaderLimit = 100'000'000;

// `text`: the JSON header alone; `data_bytes`: what follows it in the file. Untrusted input.
Result<SafetensorsHeader> ParseSafetensorsHeader(std::string_view text, int64_t data_bytes);

// The header alone: reads no data, so it is quick on any file.
Result<SafetensorsHeader> ReadSafetensorsHeader(const std::string& path);

// A file in memory. Movable: the tensors stay where they are.
struct SafetensorsFile {
  std::vector<StoredTensor> tensors;  // by place in the file; views into `memory`
  Metadata metadata;
  std::string header;   // the first 8 bytes and the header as they stand in the file
  AlignedBytes memory;  // each tensor begins at a cache line in it

  const StoredTensor* Find(std::string_view name) const;  // null if there is none
};

// Data is read, not mapped: every tensor gets aligned, whatever its place in the file, and a file
// that another process cuts short later cannot crash this one.
Result<SafetensorsFile> ReadSafetensors(const std::string& path);

// Atomic. The bytes depend on the arguments alone: tensors with larger elements come first (so that
// each is aligned to its type), otherwise in the given order. Names must be unique UTF-8.
Status WriteSafetensors(const std::string& path, std::span<const StoredTensor> tensors,
                        const Metadata& metadata);
Status WriteSafetensors(const std::string& path, std::span<const NamedConstTensor> tensors,
                        const Metadata& metadata);

// How WriteSafetensors lays a file out. Of `header` the names, types and shapes of the entries and
// the metadata are given; offsets, bytes and text (padded to a multiple of 64) are filled in, and the
// entries put into the order of their places. Returns how many bytes of data follow the text.
Result<int64_t> LayOutSafetensors(SafetensorsHeader& header);

}  // namespace lockstep

#endif  // LOCKSTEP_ENGINE_IO_SAFETENSORS_H_
