#include "tools/scale/network_probe.h"

#include <string>

#include "tools/scale/collectives.h"

namespace lockstep::inline v0_1::scale {

Result<NetworkCost> MeasureNetwork(Communicator& communicator) {
  constexpr int64_t kLarge = int64_t{4} << 20;
  LOCKSTEP_TRY_ASSIGN(const CollectiveTime small,
                      TimeCollective(communicator, Collective::kPointToPoint, 8,
                                     {.warm_up = 20, .iterations = 200}));
  LOCKSTEP_TRY_ASSIGN(const CollectiveTime large,
                      TimeCollective(communicator, Collective::kPointToPoint, kLarge,
                                     {.warm_up = 3, .iterations = 15}));
  const double taken =
      large.seconds > small.seconds ? large.seconds - small.seconds : large.seconds;
  return NetworkCost{
      .latency_seconds = small.seconds,
      .bytes_per_second = static_cast<double>(kLarge) / taken,
      .source = "measured between 2 of " + std::to_string(communicator.size()) + " ranks"};
}

}  // namespace lockstep::scale
