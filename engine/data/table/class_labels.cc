#include "engine/data/table/class_labels.h"

#include <algorithm>
#include <utility>

#include "engine/data/byte_source.h"
#include "engine/data/table/table_cell.h"

namespace lockstep::inline v0_1 {

void SortTexts(NumberForm form, std::vector<std::string>& texts) {
  std::vector<std::pair<double, std::string>> keyed;
  bool numeric = true;
  for (std::string& text : texts) {
    const NumberCell number = ReadNumber(text, form);
    numeric = numeric && number.kind == NumberCell::kNumber;
    keyed.emplace_back(number.value, std::move(text));
  }
  if (!numeric) {
    for (auto& [key, text] : keyed) key = 0.0;
  }
  std::sort(keyed.begin(), keyed.end());
  for (size_t i = 0; i < texts.size(); ++i) texts[i] = std::move(keyed[i].second);
}

Status OrderClasses(const std::string& name, Task task, const std::string& positive,
                    std::vector<std::string>& classes) {
  const auto fail = [&](const std::string& what) { return Status::Corrupt(name + ": " + what); };
  if (classes.empty()) return fail("no row has a label");
  if (classes.size() == 1) {
    return fail("every row has the same label " + ShownText(classes[0]) +
                "; there must be at least two classes; is another column the label (data.label)?");
  }
  if (task != Task::kBinary) {
    if (positive.empty()) return Status::Ok();
    return fail("data.positive = " + ShownText(positive) + " is for binary tasks only");
  }
  if (classes.size() != 2) {
    return fail("a binary task needs two labels, the file has " + std::to_string(classes.size()) +
                ": " + ShownText(classes[0]) + ", " + ShownText(classes[1]) + ", " +
                ShownText(classes[2]) + (classes.size() > 3 ? ", ..." : "") +
                "; data.task = \"classes\" tells them apart");
  }
  if (positive == classes[0]) std::swap(classes[0], classes[1]);
  if (!positive.empty() && positive != classes[1]) {
    return fail("no row has the label data.positive = " + ShownText(positive) +
                "; the labels are " + ShownText(classes[0]) + " and " + ShownText(classes[1]));
  }
  return Status::Ok();
}

int32_t LabelNumbers::Add(std::string_view text) {
  const auto found = numbers_.find(text);
  if (found != numbers_.end()) return found->second;
  if (numbers_.size() == kMost) return -1;
  const auto number = static_cast<int32_t>(numbers_.size());
  numbers_.emplace(text, number);
  return number;
}

Result<std::vector<std::string>> LabelNumbers::Ordered(const std::string& name, Task task,
                                                       const std::string& positive,
                                                       NumberForm form) const {
  std::vector<std::string> order;
  for (const auto& [text, number] : numbers_) order.push_back(text);
  SortTexts(form, order);
  LOCKSTEP_TRY(OrderClasses(name, task, positive, order));
  return order;
}

std::vector<int32_t> LabelNumbers::Places(const std::vector<std::string>& order) const {
  std::vector<int32_t> places(numbers_.size());
  for (size_t i = 0; i < order.size(); ++i) {
    places[static_cast<size_t>(numbers_.find(order[i])->second)] = static_cast<int32_t>(i);
  }
  return places;
}

}  // namespace lockstep
