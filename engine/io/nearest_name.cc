#include "engine/io/nearest_name.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <limits>

namespace lockstep::inline v0_1 {
namespace {

constexpr size_t kLength = 128;

// Levenshtein's distance, one row of the table at a time.
size_t EditDistance(std::string_view a, std::string_view b) {
  std::array<size_t, kLength + 1> row;
  for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t replaced = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({replaced, row[j] + 1, row[j - 1] + 1});
    }
  }
  return row[b.size()];
}

}  // namespace

std::string NearestName(std::string_view wanted, std::span<const std::string> known) {
  const std::string* nearest = nullptr;
  size_t smallest = std::numeric_limits<size_t>::max();
  for (const std::string& name : known) {
    const size_t distance =
        EditDistance(wanted.substr(0, kLength), std::string_view(name).substr(0, kLength));
    if (distance < smallest) {
      smallest = distance;
      nearest = &name;
    }
  }
  return nearest == nullptr ? std::string() : *nearest;
}

}  // namespace lockstep
