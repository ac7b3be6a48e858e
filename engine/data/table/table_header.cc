#include "engine/data/table/table_header.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <map>
#include <optional>
#include <set>
#include <string_view>
#include <utility>

#include "engine/data/byte_source.h"

namespace lockstep {
namespace {

enum class What { kMissing, kNumber, kDate, kText };

struct Cell {
  What what = What::kText;
  double number = 0.0;
};

// What stands in a column below the first row.
struct Below {
  int64_t numbers = 0, dates = 0, texts = 0;
  double least = 0.0, most = 0.0;
  bool fractions = false;
  std::map<std::string_view, int64_t> counts{};  // of texts

  bool all_numbers() const { return numbers > 0 && dates + texts == 0; }
  bool all_dates() const { return dates > 0 && numbers + texts == 0; }
};

class Finder {
 public:
  Finder(const std::vector<std::vector<std::string>>& rows, NumberForm form,
         const MissingTexts& missing)
      : rows_(rows), form_(form), missing_(missing), width_(rows[0].size()), below_(width_) {
    for (const std::string& text : rows[0]) first_.push_back(Read(text));
    for (size_t row = 1; row < rows.size(); ++row) {
      for (size_t i = 0; i < width_ && i < rows[row].size(); ++i) Look(rows[row][i], below_[i]);
    }
  }

  FoundHeader Find() const {
    const auto count = [&](What what) {
      return std::count_if(first_.begin(), first_.end(),
                           [what](const Cell& cell) { return cell.what == what; });
    };
    const int64_t texts = count(What::kText);
    const bool values = count(What::kNumber) + count(What::kDate) > 0;
    if (rows_.size() == 1) return {texts > 0 && !values};
    int64_t misfits = 0;  // texts above numbers or dates, or dates above numbers
    bool all_named = true;
    for (size_t i = 0; i < width_; ++i) {
      const What what = first_[i].what;
      if (what == What::kText && (below_[i].all_numbers() || below_[i].all_dates())) ++misfits;
      if (what == What::kNumber && !MayBeName(i)) all_named = false;
      if (what == What::kDate && below_[i].all_dates()) all_named = false;
    }
    if (values && !all_named) {
      if (misfits == 0) return {false};
      return {false,
              "the first row was read as data, as it holds numbers like those below, though "
              "it has texts where numbers are below; data.header = true reads names"};
    }
    if (misfits > 0) {
      if (!values) return {true};
      return {true,
              "the first row, with numbers in it, was read as names of columns; data.header "
              "= false reads it as data"};
    }
    if (texts == 0) return Counts();
    if (values && !CountsUp()) return {false};
    return ByRecurrence();
  }

 private:
  Cell Read(const std::string& text) const {
    if (missing_.Has(text)) return {What::kMissing};
    const NumberCell number = ReadNumber(text, form_);
    if (number.kind == NumberCell::kNumber) return {What::kNumber, number.value};
    if (number.kind == NumberCell::kTooLarge) return {What::kNumber, HUGE_VAL};
    for (const DateForm form :
         {DateForm::kYearMonthDay, DateForm::kDayMonthYear, DateForm::kMonthDayYear}) {
      if (ReadDate(text, form)) return {What::kDate};
    }
    return {What::kText};
  }

  void Look(const std::string& text, Below& below) const {
    const Cell cell = Read(text);
    switch (cell.what) {
      case What::kMissing:
        break;
      case What::kNumber:
        below.least = below.numbers == 0 ? cell.number : std::min(below.least, cell.number);
        below.most = below.numbers == 0 ? cell.number : std::max(below.most, cell.number);
        below.fractions = below.fractions || cell.number != std::floor(cell.number);
        ++below.numbers;
        break;
      case What::kDate:
        ++below.dates;
        break;
      case What::kText:
        ++below.texts;
        ++below.counts[text];
        break;
    }
  }

  static bool IsWhole(double number) { return number >= 0.0 && number == std::floor(number); }

  // A number of the first row that is a name rather than a value: whole, met once in the row, and
  // above texts, or fractions, or outside of what is below.
  bool MayBeName(size_t i) const {
    const double number = first_[i].number;
    if (!IsWhole(number)) return false;
    const auto same = std::count_if(first_.begin(), first_.end(), [&](const Cell& cell) {
      return cell.what == What::kNumber && cell.number == number;
    });
    if (same > 1) return false;
    const Below& below = below_[i];
    return !below.all_numbers() || below.fractions || number < below.least || number > below.most;
  }

  // The numbers of the first row, in their order, go up by one.
  bool CountsUp() const {
    std::optional<double> last;
    for (const Cell& cell : first_) {
      if (cell.what != What::kNumber) continue;
      if (!IsWhole(cell.number) || (last && cell.number != *last + 1.0)) return false;
      last = cell.number;
    }
    return last.has_value();
  }

  // A first row of numbers alone: 0, 1, 2, ... as pandas writes by default, or years.
  FoundHeader Counts() const {
    if (!CountsUp()) return {false};
    const auto numbers = std::count_if(first_.begin(), first_.end(),
                                       [](const Cell& cell) { return cell.what == What::kNumber; });
    if (numbers < 2) return {false};
    double first = 0.0;
    int64_t outside = 0, whole = 0;
    for (size_t i = 0; i < width_; ++i) {
      if (first_[i].what != What::kNumber) continue;
      if (first_[i].number < first + 1e-9 || outside + whole == 0) first = first_[i].number;
      const Below& below = below_[i];
      const bool is_outside =
          !below.all_numbers() || first_[i].number < below.least || first_[i].number > below.most;
      outside += is_outside ? 1 : 0;
      whole += below.all_numbers() && !below.fractions ? 1 : 0;
    }
    // Rows of the same kind below, such as permutations or counts of whole numbers, are data.
    const bool like_rows = whole == numbers && outside < numbers;
    const bool from_zero = first == 0.0 && !like_rows;
    if (!from_zero && outside < numbers) return {false};
    return {true,
            "the first row, whole numbers that count up, was read as names of columns; "
            "data.header = false reads it as data"};
  }

  // Texts above texts. Where the first row is one like the others, each of its texts is new with
  // about the chance that the values met once have among all (Good 1953, Turing's estimate).
  FoundHeader ByRecurrence() const {
    double chance = 1.0;
    bool distinct = true;
    std::set<std::string_view> seen;
    for (size_t i = 0; i < width_; ++i) {
      if (first_[i].what != What::kText) continue;
      const std::string_view text = rows_[0][i];
      distinct = distinct && seen.insert(text).second;
      const Below& below = below_[i];
      if (below.counts.contains(text)) return {false};
      if (below.texts == 0) continue;
      const auto once = std::count_if(below.counts.begin(), below.counts.end(),
                                      [](const auto& value) { return value.second == 1; });
      chance *= std::max(static_cast<double>(once), 0.5) / static_cast<double>(below.texts);
    }
    if (!distinct) return {false};
    if (chance < 0.05) return {true};
    const bool header = width_ > 1;
    return {header, header ? "the first row was read as names of columns; data.header = false "
                             "reads it as data"
                           : "the first row was read as data; data.header = true reads a name"};
  }

  const std::vector<std::vector<std::string>>& rows_;
  const NumberForm form_;
  const MissingTexts& missing_;
  const size_t width_;
  std::vector<Cell> first_;
  std::vector<Below> below_;
};

}  // namespace

FoundHeader FindHeader(const std::vector<std::vector<std::string>>& rows, NumberForm form,
                       const MissingTexts& missing, const std::vector<std::string>& names) {
  const std::vector<std::string>& first = rows[0];
  if (!names.empty() && std::all_of(names.begin(), names.end(), [&](const std::string& name) {
        return std::find(first.begin(), first.end(), name) != first.end();
      }))
    return {true};
  return Finder(rows, form, missing).Find();
}

void MakeDistinct(std::vector<std::string>& names, std::string& remark) {
  std::set<std::string> taken(names.begin(), names.end());
  std::set<std::string> seen;
  std::string changed;
  for (std::string& name : names) {
    if (name.empty() || seen.insert(name).second) continue;
    int64_t number = 1;
    while (taken.contains(name + "." + std::to_string(number))) ++number;
    const std::string distinct = name + "." + std::to_string(number);
    if (changed.empty()) changed = ShownText(name) + " became " + ShownText(distinct);
    taken.insert(distinct);
    seen.insert(distinct);
    name = distinct;
  }
  if (!changed.empty())
    remark = "columns have the same name: " + changed + "; rename one in the file to choose";
}

}  // namespace lockstep
