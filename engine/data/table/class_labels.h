// The labels of a table, as class numbers.
#ifndef LOCKSTEP_ENGINE_DATA_TABLE_CLASS_LABELS_H_
#define LOCKSTEP_ENGINE_DATA_TABLE_CLASS_LABELS_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/status.h"
#include "engine/data/objective.h"
#include "engine/data/table/dialect.h"

namespace lockstep::inline v0_1 {

// Different texts, in order: as numbers if all are numbers, else as bytes.
void SortTexts(NumberForm form, std::vector<std::string>& texts);

// Checks sorted labels of the table called `name` and puts them in the order of classes: of kBinary
// exactly two, of which the second is `positive` where that is given. Errors name the recipe's
// keys.
Status OrderClasses(const std::string& name, Task task, const std::string& positive,
                    std::vector<std::string>& classes);

// Label texts, numbered as they come; their order is known at the end.
class LabelNumbers {
 public:
  static constexpr size_t kMost = size_t{1} << 16;

  // The provisional number of a label; -1: there are too many.
  int32_t Add(std::string_view text);
  // The labels in the order of classes, as OrderClasses has it.
  Result<std::vector<std::string>> Ordered(const std::string& name, Task task,
                                           const std::string& positive, NumberForm form) const;
  // provisional number -> place in `order`, which Ordered gave.
  std::vector<int32_t> Places(const std::vector<std::string>& order) const;

 private:
  std::map<std::string, int32_t, std::less<>> numbers_;
};

}  // namespace lockstep

#endif  // LOCKSTEP_ENGINE_DATA_TABLE_CLASS_LABELS_H_
