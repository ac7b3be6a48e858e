// What is learned of a column of a table by looking at each of its cells.
#ifndef LOCKSTEP_ENGINE_DATA_TABLE_COLUMN_EVIDENCE_H_
#define LOCKSTEP_ENGINE_DATA_TABLE_COLUMN_EVIDENCE_H_

#include <array>
#include <cstdint>
#include <iterator>
#include <limits>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "engine/data/table/table_cell.h"

namespace lockstep::inline v0_1 {

// A cell that a message may name.
struct NotedCell {
  int64_t line = 0;  // 0: there was none
  std::string text;
};

// Cells one after another, by Add; what other threads learned of the cells behind them, by Merge.
// Thread-compatible.
class ColumnEvidence {
 public:
  static constexpr size_t kMostCategories = size_t{1} << 16;
  static constexpr size_t kFewNumbers = 1000;

  // How many different cells are kept apart: of a column of numbers, and of one with texts.
  explicit ColumnEvidence(size_t most_numbers = kFewNumbers, size_t most_texts = kMostCategories)
      : most_numbers_(most_numbers), most_texts_(most_texts) {}

  void Add(std::string_view cell, int64_t line, const MissingTexts& missing, NumberForm form);
  void Merge(const ColumnEvidence& next);
  // Different cells are not kept apart any more, as if there had been too many.
  void Forget();

  int64_t present() const { return cells - missing; }
  bool all(int64_t count) const { return count == present() && count > 0; }
  // Whether `texts` holds every different text.
  bool knows_texts() const { return !too_many_; }
  double sd() const;
  // Whether the signs around the wrapped numbers are the same everywhere.
  bool wrapped_alike() const { return wrapped_alike_; }
  // Whether every cell is one more than that before it.
  bool counts_up() const { return counting_ && all(numbers) && numbers > 1; }
  // The different texts in order: as numbers if all are, else as bytes.
  std::vector<std::string> OrderedTexts(NumberForm form) const;

  int64_t cells = 0, missing = 0;
  int64_t numbers = 0;
  int64_t unusable = 0;       // of the numbers, those that are not finite, or too large
  int64_t leading_zeros = 0;  // of the numbers, those written as codes are: 007
  int64_t words = 0;          // yes, no, and the like
  int64_t wrapped = 0;        // texts that are numbers with signs around them: $5, 40 %, <0.1
  std::array<int64_t, std::size(kDateForms)> dates{};  // of each DateForm
  bool has_time = false;
  bool whole = true;  // all numbers are
  double least = std::numeric_limits<double>::infinity(), most = -least;
  // How often each text stands there, in the order of their first coming; as far as they are kept.
  std::vector<std::pair<std::string, int64_t>> texts;
  NotedCell first_missing, first_text, first_unusable, first_leading_zero, first_wrapped;
  // The first that is no yes and no no; the first that is no date, of each DateForm.
  NotedCell first_no_word;
  std::array<NotedCell, std::size(kDateForms)> first_no_date{};

 private:
  void AddText(std::string_view text, int64_t count);
  void AddNumber(double value);

  size_t most_numbers_, most_texts_;
  bool too_many_ = false;
  std::unordered_map<std::string, size_t> places_;  // in texts
  int64_t count_ = 0;                               // of finite numbers
  double mean_ = 0.0, m2_ = 0.0;
  double first_ = 0.0, last_ = 0.0;
  bool counting_ = true;
  std::string wrapping_;  // of the first wrapped number
  bool wrapped_alike_ = true;
};

}  // namespace lockstep

#endif  // LOCKSTEP_ENGINE_DATA_TABLE_COLUMN_EVIDENCE_H_
