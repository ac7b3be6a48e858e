// Whole groups of samples (the rows of one patient) dealt out to parts of wanted sizes, with the
// classes spread over the parts as evenly as groups allow.
#ifndef LOCKSTEP_ENGINE_DATA_ASSIGN_GROUPS_H_
#define LOCKSTEP_ENGINE_DATA_ASSIGN_GROUPS_H_

#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "engine/base/random.h"

namespace lockstep::inline v0_1 {

struct SampleGroup {
  int64_t size = 0;
  // Class numbers from 0, and how many samples of it have each.
  std::vector<std::pair<int32_t, int64_t>> classes{};
};

// The groups that `of_sample` numbers (from 0), by their number; a number that no sample has is a
// group of size 0. `classes` is as long, or empty: all are of one class. REQUIRES: no negative
// number.
std::vector<SampleGroup> GroupSamples(std::span<const int32_t> of_sample,
                                      std::span<const int32_t> classes);
// How many of them hold a sample.
int64_t HeldGroups(std::span<const SampleGroup> groups);

// The part of each group, from 0; a function of its arguments alone. No part is empty; a group that
// holds nothing changes nothing and has no part, which is -1. Groups come in random order to
// whichever part lacks most; then groups move and change places as long as that lowers (of several
// such beginnings, where groups are few, the best)
//   sum over parts p   classes (size_p - wanted_p)^2 + sum_c (n_pc - wanted_p n_c / n)^2
// so sizes are as near as such moves bring them, and shares of classes likewise.
// REQUIRES: at least as many groups with samples as parts; wanted sizes from 0, and one above.
std::vector<int32_t> AssignGroups(std::span<const SampleGroup> groups,
                                  std::span<const int64_t> wanted, Random random);

}  // namespace lockstep

#endif  // LOCKSTEP_ENGINE_DATA_ASSIGN_GROUPS_H_
