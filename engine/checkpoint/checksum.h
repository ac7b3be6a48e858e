// The checksum that stands in the metadata of a checkpoint, and where.
#ifndef LOCKSTEP_ENGINE_CHECKPOINT_CHECKSUM_H_
#define LOCKSTEP_ENGINE_CHECKPOINT_CHECKSUM_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace lockstep::inline v0_1 {

inline constexpr size_t kChecksumDigits = 16;

// Where its digits begin in a header that has their key; npos where there is none, or no room.
size_t ChecksumPlace(const std::string& header);

// `header`, whose digits at `place` count as zeros, and what stands behind it: in version 3 the
// hashes of the blocks of the data (block_hash.h), before that the data themselves.
uint64_t ChecksumOf(std::string header, size_t place, std::span<const uint64_t> block_hashes);
uint64_t ChecksumOf(std::string header, size_t place,
                    std::span<const std::span<const std::byte>> data);

}  // namespace lockstep

#endif  // LOCKSTEP_ENGINE_CHECKPOINT_CHECKSUM_H_
