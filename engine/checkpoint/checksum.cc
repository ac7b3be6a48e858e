#include "engine/checkpoint/checksum.h"

#include "engine/checkpoint/checkpoint.h"
#include "engine/io/hash.h"
#include "engine/io/text.h"

namespace lockstep::inline v0_1 {
namespace {

Hasher HasherOf(std::string header, size_t place) {
  header.replace(place, kChecksumDigits, kChecksumDigits, '0');
  Hasher hasher;
  hasher.Add(header);
  return hasher;
}

}  // namespace

// Its key finds the place: a quote inside of other names or values is escaped, so that this text
// occurs once.
size_t ChecksumPlace(const std::string& header) {
  const std::string mark = JsonString(kChecksumKey) + ":\"";
  const size_t found = header.find(mark);
  const size_t place = found + mark.size();
  return found == std::string::npos || place + kChecksumDigits > header.size() ? std::string::npos
                                                                               : place;
}

uint64_t ChecksumOf(std::string header, size_t place, std::span<const uint64_t> block_hashes) {
  Hasher hasher = HasherOf(std::move(header), place);
  for (const uint64_t hash : block_hashes) hasher.AddNumber(hash);
  return hasher.Finish();
}

uint64_t ChecksumOf(std::string header, size_t place,
                    std::span<const std::span<const std::byte>> data) {
  Hasher hasher = HasherOf(std::move(header), place);
  for (const auto& part : data) hasher.Add(part);
  return hasher.Finish();
}

}  // namespace lockstep
