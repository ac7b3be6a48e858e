#include "tools/command/placement.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <iterator>
#include <map>
#include <set>

#include "engine/parallel/context.h"
#include "tools/scale/machine.h"

namespace lockstep::inline v0_1::tools {
namespace {

bool SameMask(const Place& a, const Place& b) { return a.host == b.host && a.cpus == b.cpus; }

bool Overlap(const Place& a, const Place& b) {
  std::vector<int> both;
  std::set_intersection(a.cpus.begin(), a.cpus.end(), b.cpus.begin(), b.cpus.end(),
                        std::back_inserter(both));
  return a.host == b.host && !both.empty();
}

bool ReadInt(std::string_view text, int& number) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return error == std::errc() && end == text.data() + text.size() && number >= 0;
}

std::string Flags(int threads) {
  return fmt::format(
      "mpirun --map-by slot:PE={0} --bind-to core (Open MPI), mpiexec -bind-to "
      "core:{0} (MPICH), srun --cpu-bind=cores -c {0}",
      threads);
}

}  // namespace

Place PlaceOfThisProcess(int wanted_threads) {
  Place place;
  place.available = AvailableThreads();
  place.wanted_threads = wanted_threads;
  place.host = scale::HostName();
  place.cpus = scale::AllowedProcessors();
  return place;
}

std::string TextOf(const Place& place) {
  return fmt::format("{} {} {} {}", place.available, place.wanted_threads,
                     fmt::join(place.cpus, ","), place.host);
}

Result<Place> PlaceFrom(std::string_view text) {
  const Status bad = Status::Corrupt("a rank does not say where it is: " + std::string(text));
  Place place;
  std::vector<std::string_view> words;
  for (int i = 0; i < 3; ++i) {
    const size_t space = text.find(' ');
    if (space == std::string_view::npos) return bad;
    words.push_back(text.substr(0, space));
    text.remove_prefix(space + 1);
  }
  place.host = text;
  if (!ReadInt(words[0], place.available) || !ReadInt(words[1], place.wanted_threads)) return bad;
  for (std::string_view list = words[2]; !list.empty();) {
    const std::string_view number = list.substr(0, list.find(','));
    int cpu = 0;
    if (!ReadInt(number, cpu)) return bad;
    place.cpus.push_back(cpu);
    list.remove_prefix(std::min(list.size(), number.size() + 1));
  }
  return place;
}

int ThreadsOf(const std::vector<Place>& places, size_t rank) {
  const Place& mine = places[rank];
  if (mine.wanted_threads > 0) return mine.wanted_threads;
  const auto sharing = std::count_if(places.begin(), places.end(),
                                     [&](const Place& other) { return SameMask(mine, other); });
  return std::max(1, mine.available / static_cast<int>(sharing));
}

std::vector<std::string> Describe(const std::vector<Place>& places) {
  std::vector<std::string> lines;
  for (size_t first = 0; first < places.size();) {
    size_t end = first + 1;
    while (end < places.size() && SameMask(places[first], places[end]) &&
           ThreadsOf(places, end) == ThreadsOf(places, first)) {
      ++end;
    }
    const int threads = ThreadsOf(places, first);
    lines.push_back(fmt::format("{}  {}  CPUs {}  {} thread{}{}",
                                end - first == 1 ? fmt::format("rank {}", first)
                                                 : fmt::format("ranks {}-{}", first, end - 1),
                                places[first].host, scale::ListOf(places[first].cpus), threads,
                                threads == 1 ? "" : "s", end - first == 1 ? "" : " each"));
    first = end;
  }
  return lines;
}

std::vector<std::string> Remarks(const std::vector<Place>& places) {
  std::vector<std::string> remarks;
  // The first pair is enough to mend all.
  for (size_t a = 0; a < places.size() && remarks.empty(); ++a) {
    for (size_t b = a + 1; b < places.size() && remarks.empty(); ++b) {
      if (SameMask(places[a], places[b]) || !Overlap(places[a], places[b])) continue;
      remarks.push_back(fmt::format(
          "ranks {} and {} on {} share some of their CPUs ({} and {}): give each its own, by {}", a,
          b, places[a].host, scale::ListOf(places[a].cpus), scale::ListOf(places[b].cpus),
          Flags(std::max(1, ThreadsOf(places, a)))));
    }
  }
  std::map<std::string, std::pair<int, std::set<int>>> hosts;  // threads, CPUs
  for (size_t r = 0; r < places.size(); ++r) {
    auto& [threads, cpus] = hosts[places[r].host];
    threads += ThreadsOf(places, r);
    cpus.insert(places[r].cpus.begin(), places[r].cpus.end());
  }
  for (const auto& [host, use] : hosts) {
    const auto cpus = static_cast<int>(use.second.size());
    if (use.first <= cpus) continue;
    remarks.push_back(
        fmt::format("{} threads on the {} CPUs of {} that these ranks may use: they wait for each "
                    "other, which is slow. Start fewer ranks, or lower train.threads; or more CPUs "
                    "are to be had by {}",
                    use.first, cpus, host, Flags(use.first / std::max(1, cpus) + 1)));
    break;
  }
  return remarks;
}

}  // namespace lockstep::tools
