#include "engine/checkpoint/block_hash.h"

#include <algorithm>

#include "engine/base/check.h"
#include "engine/io/hash.h"

namespace lockstep::inline v0_1 {

Result<std::vector<uint64_t>> HashesOfBlocks(int64_t bytes, int64_t first, int64_t last,
                                             const ReadBytes& read) {
  std::vector<uint64_t> hashes;
  hashes.reserve(static_cast<size_t>(last - first));
  std::vector<std::byte> memory(static_cast<size_t>(std::min(bytes, kHashBlock)));
  for (int64_t block = first; block < last; ++block) {
    const int64_t begin = block * kHashBlock;
    const auto size = static_cast<size_t>(std::min(kHashBlock, bytes - begin));
    const std::span<std::byte> content = std::span(memory).first(size);
    LOCKSTEP_TRY(read(begin, content));
    hashes.push_back(Hasher().Add(std::span<const std::byte>(content)).Finish());
  }
  return hashes;
}

Status PartsReader::operator()(int64_t offset, std::span<std::byte> into) {
  if (offset < begin_) part_ = 0, begin_ = 0;
  while (!into.empty()) {
    LOCKSTEP_CHECK(part_ < parts_.size(), "beyond the last part");
    const auto size = static_cast<int64_t>(parts_[part_].size());
    if (offset >= begin_ + size) {
      begin_ += size;
      ++part_;
      continue;
    }
    const std::span<const std::byte> rest =
        parts_[part_].subspan(static_cast<size_t>(offset - begin_));
    const size_t taken = std::min(rest.size(), into.size());
    std::copy_n(rest.begin(), taken, into.begin());
    into = into.subspan(taken);
    offset += static_cast<int64_t>(taken);
  }
  return Status::Ok();
}

}  // namespace lockstep
