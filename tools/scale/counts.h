// Lists of numbers of threads and ranks, as a command line gives them: "1,2,4".
#ifndef LOCKSTEP_TOOLS_SCALE_COUNTS_H_
#define LOCKSTEP_TOOLS_SCALE_COUNTS_H_

#include <string>
#include <vector>

#include "engine/base/status.h"

namespace lockstep::inline v0_1::scale {

// Rising, without repetitions, each from 1 to `most`. The error names `option` and what is wrong
// with its value.
Result<std::vector<int>> ParseCounts(const std::string& option, const std::string& text,
                                     int most = 4096);

// 1, 2, 4, ... below `available`, and that number itself.
std::vector<int> DoublingUpTo(int available);

// The number of fixed ranges that a global batch is summed in when `ranks` processes share it: the
// recipe's own where each rank then holds a power of two of them, else the smallest larger number
// of which that is true (BatchCut::IsRegular).
int ShardsFor(int shards, int ranks);

}  // namespace lockstep::scale

#endif  // LOCKSTEP_TOOLS_SCALE_COUNTS_H_
