// The header of a safetensors file, and whole files. Input: the number of data bytes (2 bytes,
// little endian), then the JSON header. What is accepted must keep every promise of the reader and
// survive being written and read once more.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "engine/checkpoint/checkpoint.h"
#include "engine/io/safetensors.h"
#include "tests/fuzz/memory_file.h"
#include "tests/fuzz/require.h"

namespace {

using namespace lockstep;  // NOLINT: a program of one file

void CheckWholeFile(std::string_view header, size_t data_bytes) {
  const uint64_t length = header.size();
  std::string file(reinterpret_cast<const char*>(&length), sizeof(length));
  file += header;
  file.resize(file.size() + data_bytes, 'x');
  const MemoryFile memory(reinterpret_cast<const uint8_t*>(file.data()), file.size());
  const Result<SafetensorsFile> read = ReadSafetensors(memory.path());
  Require(read.ok());
  Require(read->header.size() + data_bytes == file.size());
  (void)LoadCheckpoint(memory.path());

  Result<SafetensorsHeader> laid_out = ReadSafetensorsHeader(memory.path());
  Require(laid_out.ok());
  const Result<int64_t> bytes = LayOutSafetensors(*laid_out);
  if (!bytes.ok()) return;  // a header of almost the limit may not fit any more
  Require(*bytes == static_cast<int64_t>(data_bytes));
  const Result<SafetensorsHeader> again = ParseSafetensorsHeader(
      std::string_view(laid_out->text).substr(8), static_cast<int64_t>(data_bytes));
  Require(again.ok());
  Require(again->entries.size() == read->tensors.size());
  Require(again->metadata == read->metadata);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 2) return 0;
  const auto data_bytes = static_cast<size_t>(data[0] | data[1] << 8);
  const std::string_view header(reinterpret_cast<const char*>(data) + 2, size - 2);
  const Result<SafetensorsHeader> parsed =
      ParseSafetensorsHeader(header, static_cast<int64_t>(data_bytes));
  if (!parsed.ok()) {
    Require(parsed.status().message().size() < 1000);
    Require(parsed.status().message().find('\n') == std::string::npos);
    return 0;
  }
  int64_t end = 0;
  for (const auto& entry : parsed->entries) {
    Require(entry.offset == end);
    Require(entry.bytes == entry.shape.size() * static_cast<int64_t>(SizeOf(entry.type)));
    end += entry.bytes;
  }
  Require(end == static_cast<int64_t>(data_bytes));
  CheckWholeFile(header, data_bytes);
  return 0;
}
