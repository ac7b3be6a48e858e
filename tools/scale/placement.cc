#include "tools/scale/placement.h"

#include <algorithm>
#include <utility>

#include "engine/comm/agreement.h"
#include "tools/scale/machine.h"

namespace lockstep::inline v0_1::scale {

Result<std::vector<std::string>> GatherPlacement(Communicator& communicator) {
  return GatherTexts(communicator, HostName() + ": " + AffinityMask());
}

std::string PlacementText(const std::vector<std::string>& ranks) {
  std::vector<std::pair<std::string, int>> places;
  for (const std::string& rank : ranks) {
    const auto found = std::find_if(places.begin(), places.end(),
                                    [&](const auto& place) { return place.first == rank; });
    if (found == places.end()) {
      places.emplace_back(rank, 1);
    } else {
      ++found->second;
    }
  }
  std::string text;
  for (const auto& [place, count] : places)
    text += (text.empty() ? "" : "; ") + std::to_string(count) + " on " + place;
  return text;
}

}  // namespace lockstep::scale
