#include "tools/scale/counts.h"

#include <algorithm>
#include <charconv>
#include <string_view>

#include "engine/io/file.h"
#include "engine/parallel/shards.h"

namespace lockstep::inline v0_1::scale {

Result<std::vector<int>> ParseCounts(const std::string& option, const std::string& text, int most) {
  std::vector<int> counts;
  std::string_view rest = text;
  for (bool more = true; more;) {
    const size_t comma = rest.find(',');
    more = comma != std::string_view::npos;
    const std::string_view one = rest.substr(0, comma);
    if (more) rest.remove_prefix(comma + 1);
    int count = 0;
    const auto [end, error] = std::from_chars(one.data(), one.data() + one.size(), count);
    if (error != std::errc() || end != one.data() + one.size() || count < 1 || count > most) {
      return Status::Invalid(
          option + " takes whole numbers from 1 to " + std::to_string(most) + ", as in 1,2,4; " +
          (one.empty() ? "there is none at one place of " : Quoted(one) + " is none in ") +
          Quoted(text));
    }
    counts.push_back(count);
  }
  std::sort(counts.begin(), counts.end());
  counts.erase(std::unique(counts.begin(), counts.end()), counts.end());
  return counts;
}

std::vector<int> DoublingUpTo(int available) {
  std::vector<int> counts;
  for (int count = 1; count < available; count *= 2) counts.push_back(count);
  counts.push_back(available);
  return counts;
}

int ShardsFor(int shards, int ranks) {
  while (ranks > 1 && !BatchCut::IsRegular(shards, ranks)) ++shards;
  return shards;
}

}  // namespace lockstep::scale
