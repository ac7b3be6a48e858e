// The hash of a long run of bytes that several processes can compute together: of each block of
// 1 MiB by itself, then of these hashes in order.
#ifndef LOCKSTEP_ENGINE_CHECKPOINT_BLOCK_HASH_H_
#define LOCKSTEP_ENGINE_CHECKPOINT_BLOCK_HASH_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "engine/base/integers.h"
#include "engine/base/status.h"

namespace lockstep::inline v0_1 {

inline constexpr int64_t kHashBlock = int64_t{1} << 20;

inline int64_t HashBlocks(int64_t bytes) { return CeilDiv(bytes, kHashBlock); }

// Fills `into` with the bytes from `offset`.
using ReadBytes = std::function<Status(int64_t offset, std::span<std::byte> into)>;

// XXH64 of each of the blocks [first, last) of `bytes` bytes; the last one of all may be shorter.
Result<std::vector<uint64_t>> HashesOfBlocks(int64_t bytes, int64_t first, int64_t last,
                                             const ReadBytes& read);

// The bytes of `parts`, one part behind the other. Borrows them. To be read from front to back:
// going back begins at the first part anew.
class PartsReader {
 public:
  explicit PartsReader(std::span<const std::span<const std::byte>> parts) : parts_(parts) {}
  Status operator()(int64_t offset, std::span<std::byte> into);

 private:
  std::span<const std::span<const std::byte>> parts_;
  size_t part_ = 0;    // the last that was read of
  int64_t begin_ = 0;  // of its first byte
};

}  // namespace lockstep

#endif  // LOCKSTEP_ENGINE_CHECKPOINT_BLOCK_HASH_H_
