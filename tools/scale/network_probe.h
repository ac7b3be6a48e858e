// What a message between two ranks costs.
#ifndef LOCKSTEP_TOOLS_SCALE_NETWORK_PROBE_H_
#define LOCKSTEP_TOOLS_SCALE_NETWORK_PROBE_H_

#include <cstdint>

#include "engine/base/status.h"
#include "engine/comm/communicator.h"
#include "tools/scale/predict.h"

namespace lockstep::scale {

// Half the median round trip of `bytes` between rank 0 and the last rank, in seconds, after
// `warm_up` round trips that do not count. Collective over at least two ranks; the result is on
// all.
Result<double> PingPong(Communicator& communicator, int64_t bytes, int warm_up, int iterations);

// Latency from messages of 8 bytes, bandwidth from messages of 4 MiB. Collective as PingPong.
Result<NetworkCost> MeasureNetwork(Communicator& communicator);

}  // namespace lockstep::scale

#endif  // LOCKSTEP_TOOLS_SCALE_NETWORK_PROBE_H_
