// The labels of a table, as class numbers.
#ifndef LOCKSTEP_ENGINE_DATA_TABLE_CSV_LABELS_H_
#define LOCKSTEP_ENGINE_DATA_TABLE_CSV_LABELS_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/status.h"

namespace lockstep {

// Label texts, numbered as they come; their order is known at the end.
class CsvLabels {
 public:
  static constexpr size_t kMost = size_t{1} << 16;

  // The provisional number of a label; -1: there are too many.
  int32_t Add(std::string_view text);
  // The texts in order: as numbers if all are numbers, else as bytes; `binary`: exactly two, the
  // second is `positive` where that is given. Errors, with the name of the table: one label alone,
  // or those that do not fit a binary task.
  Result<std::vector<std::string>> Ordered(const std::string& name, bool binary,
                                           const std::string& positive) const;
  // provisional number -> place in `order`, which Ordered gave.
  std::vector<int32_t> Places(const std::vector<std::string>& order) const;

 private:
  std::vector<std::string> Sorted() const;

  std::map<std::string, int32_t, std::less<>> numbers_;
};

}  // namespace lockstep

#endif  // LOCKSTEP_ENGINE_DATA_TABLE_CSV_LABELS_H_
