#include <algorithm>

#include "engine/base/check.h"
#include "engine/comm/communicator.h"

namespace lockstep {

Status SingleProcess::AllGather(std::span<const std::byte> mine, std::span<std::byte> all) {
  LOCKSTEP_CHECK_EQ(mine.size(), all.size());
  if (mine.data() != all.data()) std::copy(mine.begin(), mine.end(), all.begin());
  return Status::Ok();
}

Status SingleProcess::AllReduce(std::span<float>) { return Status::Ok(); }

Status SingleProcess::Broadcast(std::span<std::byte>, int root) {
  LOCKSTEP_CHECK_EQ(root, 0);
  return Status::Ok();
}

}  // namespace lockstep
