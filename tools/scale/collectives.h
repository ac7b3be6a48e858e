// What messages between ranks cost, by themselves: the figures of OSU's micro-benchmarks.
#ifndef LOCKSTEP_TOOLS_SCALE_COLLECTIVES_H_
#define LOCKSTEP_TOOLS_SCALE_COLLECTIVES_H_

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "engine/base/status.h"
#include "engine/comm/communicator.h"

namespace lockstep::inline v0_1::scale {

// What is timed, and what `bytes` counts:
//   kPointToPoint  half a round trip between rank 0 and the last one; of a message
//   kAllGather     everyone gets what everyone has; of each rank's part
//   kBroadcast     from rank 0, and an empty answer from all, without which rank 0 would measure
//                  how quickly it hands a message over; of the message
//   kGradients     a share of a flat array to each owner, and the shares of all owners back; of the
//                  whole array
enum class Collective { kPointToPoint, kAllGather, kBroadcast, kGradients };
inline constexpr Collective kCollectives[] = {Collective::kPointToPoint, Collective::kAllGather,
                                              Collective::kBroadcast, Collective::kGradients};
const char* NameOf(Collective collective);

struct CollectiveOptions {
  int warm_up = 20;
  int iterations = 100;
};

struct CollectiveTime {
  int64_t bytes = 0;
  double seconds = 0.0;  // the median over iterations of the slowest rank
  double moved =
      0.0;  // bytes that one rank receives (of point to point and broadcast: of a message)
  double bytes_per_second() const { return moved / seconds; }
};

// Collective over at least two ranks; the result is on all. Allocates before it times.
Result<CollectiveTime> TimeCollective(Communicator& communicator, Collective collective,
                                      int64_t bytes, const CollectiveOptions& options);

// "# Size  Latency(us)  Bandwidth(MB/s)" and a line each, as OSU's programs print them.
std::string OsuText(const std::string& title, std::span<const CollectiveTime> times);

}  // namespace lockstep::scale

#endif  // LOCKSTEP_TOOLS_SCALE_COLLECTIVES_H_
