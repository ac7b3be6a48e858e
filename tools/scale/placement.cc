#include "tools/scale/placement.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <span>
#include <utility>

#include "tools/scale/machine.h"

namespace lockstep::scale {

Result<std::vector<std::string>> GatherPlacement(Communicator& communicator) {
  using Record = std::array<char, 256>;  // what does not fit is left out
  Record host{}, mine{};
  gethostname(host.data(), host.size() - 1);
  const std::string text = std::string(host.data()) + ": " + AffinityMask();
  std::copy_n(text.begin(), std::min(text.size(), mine.size() - 1), mine.begin());
  std::vector<Record> all(static_cast<size_t>(communicator.size()));
  LOCKSTEP_TRY(communicator.AllGather(std::as_bytes(std::span(mine)),
                                      std::as_writable_bytes(std::span(all))));
  std::vector<std::string> places;
  for (const Record& one : all) places.emplace_back(one.data());
  return places;
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
