#include "engine/data/table/csv_labels.h"

#include <algorithm>
#include <utility>

#include "engine/data/byte_source.h"
#include "engine/data/table/csv_cell.h"

namespace lockstep {

int32_t CsvLabels::Add(std::string_view text) {
  const auto found = numbers_.find(text);
  if (found != numbers_.end()) return found->second;
  if (numbers_.size() == kMost) return -1;
  const auto number = static_cast<int32_t>(numbers_.size());
  numbers_.emplace(text, number);
  return number;
}

std::vector<std::string> CsvLabels::Sorted() const {
  std::vector<std::pair<double, std::string>> keyed;
  bool numeric = true;
  for (const auto& [text, number] : numbers_) {
    const CsvCell cell = ReadCsvCell(text, {});
    numeric = numeric && cell.kind == CsvCell::kNumber;
    keyed.emplace_back(numeric ? cell.value : 0.0, text);
  }
  if (!numeric) {
    for (auto& [key, text] : keyed) key = 0.0;
  }
  std::sort(keyed.begin(), keyed.end());
  std::vector<std::string> sorted;
  for (auto& [key, text] : keyed) sorted.push_back(std::move(text));
  return sorted;
}

Result<std::vector<std::string>> CsvLabels::Ordered(const std::string& name, bool binary,
                                                    const std::string& positive) const {
  const auto fail = [&](const std::string& what) { return Status::Corrupt(name + ": " + what); };
  std::vector<std::string> order = Sorted();
  if (order.empty()) return fail("no row has a label");
  if (order.size() == 1) {
    return fail("every row has the same label " + ShownText(order[0]) +
                "; there must be at least two classes");
  }
  if (!binary) return order;
  if (order.size() != 2) {
    return fail("a binary task needs two labels, the file has " + std::to_string(order.size()) +
                ": " + ShownText(order[0]) + ", " + ShownText(order[1]) + ", " +
                ShownText(order[2]) + (order.size() > 3 ? ", ..." : ""));
  }
  if (positive == order[0]) std::swap(order[0], order[1]);
  if (!positive.empty() && positive != order[1]) {
    return fail("no row has the positive label " + ShownText(positive) + "; the labels are " +
                ShownText(order[0]) + " and " + ShownText(order[1]));
  }
  return order;
}

std::vector<int32_t> CsvLabels::Places(const std::vector<std::string>& order) const {
  std::vector<int32_t> places(numbers_.size());
  for (size_t i = 0; i < order.size(); ++i) {
    places[static_cast<size_t>(numbers_.find(order[i])->second)] = static_cast<int32_t>(i);
  }
  return places;
}

}  // namespace lockstep
