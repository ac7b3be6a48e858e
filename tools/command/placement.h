// Where the ranks of a run are: on which hosts, on which CPUs, and with how many threads.
#ifndef LOCKSTEP_TOOLS_COMMAND_PLACEMENT_H_
#define LOCKSTEP_TOOLS_COMMAND_PLACEMENT_H_

#include <string>
#include <string_view>
#include <vector>

#include "engine/base/status.h"

namespace lockstep::inline v0_1::tools {

// One rank's place. Of this process, as the system has it: its affinity mask.
struct Place {
  std::string host;
  std::vector<int> cpus;   // rising
  int available = 1;       // threads that may be kept busy: a cgroup's quota may allow fewer
  int wanted_threads = 0;  // train.threads; 0: its share of what is available
};
Place PlaceOfThisProcess(int wanted_threads);

// To send it to other ranks.
std::string TextOf(const Place& place);
Result<Place> PlaceFrom(std::string_view text);

// The threads of a rank: what it wants, or its share of its mask where several ranks of one host
// have the same.
int ThreadsOf(const std::vector<Place>& places, size_t rank);

// "rank 0  node1  CPUs 0-3  4 threads", a line for each rank; of neighbours that differ in nothing
// but their number one line for all.
std::vector<std::string> Describe(const std::vector<Place>& places);

// What is wrong with the places, and the flags that mend it: masks that overlap, more threads than
// CPUs. A line each, few.
std::vector<std::string> Remarks(const std::vector<Place>& places);

}  // namespace lockstep::tools

#endif  // LOCKSTEP_TOOLS_COMMAND_PLACEMENT_H_
