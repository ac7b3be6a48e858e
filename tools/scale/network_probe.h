// What a message between two ranks costs, as a prediction asks for it.
#ifndef LOCKSTEP_TOOLS_SCALE_NETWORK_PROBE_H_
#define LOCKSTEP_TOOLS_SCALE_NETWORK_PROBE_H_

#include "engine/base/status.h"
#include "engine/comm/communicator.h"
#include "tools/scale/predict.h"

namespace lockstep::inline v0_1::scale {

// Latency from messages of 8 bytes, bandwidth from messages of 4 MiB, between rank 0 and the last
// one. Collective over at least two ranks; the result is on all.
Result<NetworkCost> MeasureNetwork(Communicator& communicator);

}  // namespace lockstep::scale

#endif  // LOCKSTEP_TOOLS_SCALE_NETWORK_PROBE_H_
