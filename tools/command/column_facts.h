// What stands in the columns of a table, as figures: to be looked at before anything trains.
#ifndef LOCKSTEP_TOOLS_COMMAND_COLUMN_FACTS_H_
#define LOCKSTEP_TOOLS_COMMAND_COLUMN_FACTS_H_

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "engine/data/table/table.h"

namespace lockstep::inline v0_1::tools {

struct ColumnFacts {
  bool stored = false;  // else nothing more is known than its description says
  int64_t rows = 0, missing = 0;
  // Of numbers, dates (days since 1970) and yes or no (1, 0), without those that are missing.
  double least = 0.0, most = 0.0, mean = 0.0, sd = 0.0;
  // The texts of a category, or yes and no, with how often they come; most often first.
  std::vector<std::pair<std::string, int64_t>> counts{};
  // The value that most rows have, as a share of those that are not missing.
  double most_common = 0.0;
  bool all_whole = false, all_differ = false, counts_up = false;
  // What is strange about it, for people: "has one value alone". Empty: nothing.
  std::string suspicion{};
};

// One for each column of the description. Time: a few passes over the rows; memory: two columns.
std::vector<ColumnFacts> FactsOf(const Table& table);

}  // namespace lockstep::tools

#endif  // LOCKSTEP_TOOLS_COMMAND_COLUMN_FACTS_H_
