#include "engine/data/table/table_header.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string_view>
#include <utility>

#include "engine/data/byte_source.h"

namespace lockstep::inline v0_1 {
namespace {

constexpr double kSmallChance = 0.05;  // what is less likely is taken to be no chance

enum class What { kMissing, kNumber, kDate, kText };

struct Cell {
  What what = What::kText;
  double number = 0.0;
  bool is_time = false;  // a date of no day
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
    // "08:00" above what is no date is a name.
    for (size_t i = 0; i < width_; ++i) {
      if (first_[i].is_time && !below_[i].all_dates()) first_[i].what = What::kText;
    }
  }

  FoundHeader Find() const {
    const auto count = [&](What what) {
      return std::count_if(first_.begin(), first_.end(),
                           [what](const Cell& cell) { return cell.what == what; });
    };
    const int64_t texts = count(What::kText);
    const bool values = count(What::kNumber) + count(What::kDate) > 0;
    if (rows_.size() == 1) return {.header = texts > 0 && !values};
    // A number may be a name: whole, and met once in the row.
    std::map<double, int64_t> met;
    for (const Cell& cell : first_) met[cell.number] += cell.what == What::kNumber ? 1 : 0;
    const auto may_be_name = [&](double number) { return IsWhole(number) && met[number] == 1; };
    int64_t misfits = 0;    // texts above numbers or dates, or dates above numbers
    bool all_named = true;  // numbers and dates may be names
    for (size_t i = 0; i < width_; ++i) {
      const What what = first_[i].what;
      const Below& below = below_[i];
      if (what == What::kText && (below.all_numbers() || below.all_dates())) ++misfits;
      if (what == What::kDate && below.all_numbers()) ++misfits;
      if (what == What::kDate && !below.all_numbers()) all_named = false;
      if (what == What::kNumber && !may_be_name(first_[i].number)) all_named = false;
    }
    if (misfits > 0 && !values) return {.header = true, .unlike = true};
    if (misfits > 0 && all_named) {
      return {.header = true,
              .remark =
                  "the first row, with numbers or dates in it, was read as names of columns; "
                  "data.header = false reads it as data"};
    }
    if (misfits > 0) {
      return {.remark =
                  "the first row was read as data, though it has texts where numbers are below; "
                  "data.header = true reads it as names of columns"};
    }
    if (count(What::kNumber) > 0 &&
        count(What::kNumber) + count(What::kMissing) == static_cast<int64_t>(width_))
      return Counts();
    if (values || texts == 0) return {};
    return ByRecurrence();
  }

 private:
  Cell Read(const std::string& text) const {
    if (missing_.Has(text)) return {What::kMissing};
    const NumberCell number = ReadNumber(text, form_);
    if (number.kind == NumberCell::kNumber) return {What::kNumber, number.value};
    if (number.kind == NumberCell::kTooLarge) return {What::kNumber, HUGE_VAL};
    return {.what = IsDate(text) ? What::kDate : What::kText,
            .is_time = ReadDate(text, DateForm::kTimeOfDay).has_value()};
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

  // The first of a row's numbers where each of the others is one more than the one before it.
  static std::optional<double> CountsFrom(const std::vector<Cell>& row) {
    std::optional<double> first, last;
    for (const Cell& cell : row) {
      if (cell.what == What::kMissing) continue;
      if (cell.what != What::kNumber || !IsWhole(cell.number)) return std::nullopt;
      if (last && cell.number != *last + 1.0) return std::nullopt;
      if (!first) first = cell.number;
      last = cell.number;
    }
    return first;
  }

  // A first row of numbers alone: 0, 1, 2, ... as pandas writes by default, or years.
  FoundHeader Counts() const {
    const std::optional<double> from = CountsFrom(first_);
    if (!from) return {};
    int64_t numbers = 0, outside = 0, whole = 0;
    double chance = 1.0;  // of a row like the others to be outside everywhere
    for (size_t i = 0; i < width_; ++i) {
      if (first_[i].what != What::kNumber) continue;
      ++numbers;
      const Below& below = below_[i];
      const bool within =
          below.all_numbers() && first_[i].number >= below.least && first_[i].number <= below.most;
      outside += within ? 0 : 1;
      chance *= 2.0 / static_cast<double>(below.numbers + 1);
      whole += below.all_numbers() && !below.fractions ? 1 : 0;
    }
    const bool all_whole = whole == numbers;  // as those below
    const bool unlike = outside == numbers && (!all_whole || chance < kSmallChance);
    const bool like_rows = all_whole && !unlike;
    const bool others_count =
        std::any_of(rows_.begin() + 1, rows_.end(), [this](const std::vector<std::string>& row) {
          std::vector<Cell> cells;
          for (const std::string& text : row) cells.push_back(Read(text));
          return CountsFrom(cells).has_value();
        });
    const bool header =
        numbers >= 2 && !others_count && (unlike || (*from == 0.0 && (numbers >= 4 || !like_rows)));
    if (header) {
      return {.header = true,
              .remark =
                  "the first row, whole numbers that count up, was read as names of columns; "
                  "data.header = false reads it as data"};
    }
    if ((*from != 0.0 && outside < numbers) || numbers < 2) return {};
    return {.remark =
                "the first row, whole numbers that count up, was read as data; data.header = "
                "true reads it as names of columns"};
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
      if (below.counts.contains(text)) return {};
      if (below.texts == 0) continue;
      const auto is_answer = [](const auto& value) { return ReadYesNo(value.first).has_value(); };
      if (ReadYesNo(text) && std::all_of(below.counts.begin(), below.counts.end(), is_answer))
        return {};
      const auto once = std::count_if(below.counts.begin(), below.counts.end(),
                                      [](const auto& value) { return value.second == 1; });
      chance *= std::max(static_cast<double>(once), 0.5) / static_cast<double>(below.texts);
    }
    if (!distinct) return {};
    if (chance < kSmallChance) return {.header = true};
    const bool header = width_ > 1;
    return {.header = header,
            .remark = header
                          ? "the first row was read as names of columns; data.header = false reads "
                            "it as data"
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
  const std::set<std::string_view> cells(first.begin(), first.end());
  const auto is_cell = [&](const std::string& name) { return cells.contains(name); };
  if (!names.empty() && std::all_of(names.begin(), names.end(), is_cell)) return {.header = true};
  return Finder(rows, form, missing).Find();
}

void MakeDistinct(std::vector<std::string>& names, std::string& remark) {
  const std::set<std::string> given(names.begin(), names.end());
  std::map<std::string, int64_t> numbers;  // of each name, the last that was added to it
  std::string example;
  for (std::string& name : names) {
    if (name.empty()) continue;
    const auto [place, is_new] = numbers.emplace(name, 0);
    if (is_new) continue;
    std::string distinct;
    do {
      distinct = name + "." + std::to_string(++place->second);
    } while (given.contains(distinct));
    if (example.empty()) example = ShownText(name) + " became " + ShownText(distinct);
    name = distinct;
  }
  if (!example.empty()) {
    remark = "columns of the same name are told apart by a number: the second " + example +
             "; rename them in the file to choose";
  }
}

}  // namespace lockstep
