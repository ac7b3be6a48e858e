// PNG files. Checksums would keep a fuzzer out: those of all chunks are made right first, but for
// inputs that end in an odd byte.
#include <zlib.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "tests/fuzz/picture_fuzz.h"

namespace {

void CorrectChecksums(std::vector<uint8_t>& file) {
  for (size_t at = 8; file.size() >= at + 12;) {
    const uint8_t* chunk = file.data() + at;
    const size_t length =
        size_t{chunk[0]} << 24 | size_t{chunk[1]} << 16 | size_t{chunk[2]} << 8 | size_t{chunk[3]};
    if (length > file.size() - at - 12) return;
    const uLong sum = crc32(0, chunk + 4, static_cast<uInt>(length + 4));
    for (size_t i = 0; i < 4; ++i) {
      file[at + 8 + length + i] = static_cast<uint8_t>(sum >> (24 - 8 * i));
    }
    at += 12 + length;
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::vector<uint8_t> file(data, data + size);
  if (size > 0 && data[size - 1] % 2 == 0) CorrectChecksums(file);
  lockstep::FuzzPicture(file);
  return 0;
}
