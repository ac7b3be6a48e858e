// Where the attention of a network looks, of one sample.
#ifndef LOCKSTEP_TOOLS_REPORT_ATTENTION_MAPS_H_
#define LOCKSTEP_TOOLS_REPORT_ATTENTION_MAPS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "engine/base/status.h"
#include "engine/train/network.h"

namespace lockstep::inline v0_1::tools {

// Weights in [0, 1] by which each query (a row) takes the values of the keys (columns); rows add up
// to 1, or to 0 where a query sees nothing.
struct AttentionMap {
  std::string layer;  // its path
  int64_t head = 0;
  int64_t queries = 0, keys = 0;
  std::vector<double> weights{};
};

// Of the sample `x` (1, ...), as in evaluation: every head of every layer that has attention, in
// the order in which they run; none where there is no such layer. Computed once more from queries
// and keys, for the network itself never holds them all.
Result<std::vector<AttentionMap>> AttentionMapsOf(Network& network, ConstTensor x);

}  // namespace lockstep::tools

#endif  // LOCKSTEP_TOOLS_REPORT_ATTENTION_MAPS_H_
