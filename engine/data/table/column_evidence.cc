#include "engine/data/table/column_evidence.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <iterator>
#include <optional>
#include <utility>

#include "engine/base/characters.h"
#include "engine/data/table/class_labels.h"
#include "engine/data/table/number_form.h"

namespace lockstep::inline v0_1 {
namespace {

void Note(NotedCell& noted, int64_t line, std::string_view text) {
  if (noted.line == 0) noted = {line, std::string(text)};
}
void Note(NotedCell& noted, const NotedCell& next) {
  if (noted.line == 0) noted = next;
}

// "007", as codes are written.
bool HasLeadingZero(std::string_view cell) {
  return cell.size() > 1 && cell[0] == '0' && std::all_of(cell.begin(), cell.end(), IsDigit);
}

// What stands around a number: "$|" of "$1,003", "|%" of "40 %", "<|" of "<0.1", "|kg" of "50 kg".
// Nothing where it is something else: "A12", "3-4", "(3)" and "1+", whose signs mean something.
std::optional<std::string> WrappingOf(std::string_view cell) {
  constexpr std::string_view kBefore[] = {"",  "$",  "€",  "£", "¥", "<",
                                          ">", "<=", ">=", "≤", "≥", "~"};
  constexpr size_t kLongestUnit = 12;
  constexpr std::string_view kDigits = "0123456789";
  const size_t begin = cell.find_first_of(kDigits), last = cell.find_last_of(kDigits);
  if (begin == std::string_view::npos) return std::nullopt;
  const std::string_view before = Trimmed(cell.substr(0, begin));
  const std::string_view unit = Trimmed(cell.substr(last + 1));
  const bool is_known =
      std::find(std::begin(kBefore), std::end(kBefore), before) != std::end(kBefore);
  const bool is_unit = unit.empty() || unit[0] == '%' || unit[0] == '$' || IsLetter(unit[0]) ||
                       (unit[0] & 0x80) != 0;
  if (!is_known || !is_unit || unit.size() > kLongestUnit) return std::nullopt;
  if (!StandsForNumber(cell.substr(begin, last + 1 - begin))) return std::nullopt;
  return std::string(before) + "|" + std::string(unit);
}

}  // namespace

void ColumnEvidence::Add(std::string_view cell, int64_t line, const MissingTexts& missing_texts,
                         NumberForm form) {
  ++cells;
  if (missing_texts.Has(cell)) {
    ++missing;
    Note(first_missing, line, cell);
    return;
  }
  AddText(cell, 1);
  const NumberCell number = ReadNumber(cell, form);
  if (number.kind != NumberCell::kText) {
    Note(first_no_word, line, cell);
    for (NotedCell& noted : first_no_date) Note(noted, line, cell);
  }
  if (number.kind == NumberCell::kNumber) {
    if (HasLeadingZero(cell)) {
      ++leading_zeros;
      Note(first_leading_zero, line, cell);
    }
    AddNumber(number.value);
    return;
  }
  counting_ = false;
  if (number.kind != NumberCell::kText) {
    ++numbers;
    ++unusable;
    whole = false;
    Note(first_unusable, line, cell);
    return;
  }
  Note(first_text, line, cell);
  const bool may_all_be_wrapped = numbers + wrapped + 1 == present();
  if (const auto wrapping = may_all_be_wrapped ? WrappingOf(cell) : std::nullopt) {
    if (wrapped++ == 0) wrapping_ = *wrapping;
    wrapped_alike_ = wrapped_alike_ && *wrapping == wrapping_;
    Note(first_wrapped, line, cell);
  }
  const bool word = ReadYesNo(cell).has_value();
  if (word) ++words;
  if (!word) Note(first_no_word, line, cell);
  for (size_t form_number = 0; form_number < dates.size(); ++form_number) {
    const auto date = word ? std::nullopt : ReadDate(cell, static_cast<DateForm>(form_number));
    if (!date) {
      Note(first_no_date[form_number], line, cell);
      continue;
    }
    ++dates[form_number];
    has_time = has_time || date->has_time;
  }
}

// Welford's update of the mean and the sum of squared deviations.
void ColumnEvidence::AddNumber(double value) {
  ++numbers;
  ++count_;
  if (count_ == 1) {
    first_ = value;
  } else if (value != last_ + 1.0) {
    counting_ = false;
  }
  last_ = value;
  whole = whole && value == std::floor(value);
  least = std::min(least, value);
  most = std::max(most, value);
  const double delta = value - mean_;
  mean_ += delta / static_cast<double>(count_);
  m2_ += delta * (value - mean_);
}

void ColumnEvidence::AddText(std::string_view text, int64_t count) {
  if (too_many_) return;
  // The one that came last comes again most often.
  const auto [found, is_new] = places_.try_emplace(std::string(text), texts.size());
  if (!is_new) {
    texts[found->second].second += count;
    return;
  }
  texts.emplace_back(text, count);
  const size_t limit = numbers == present() - 1 || all(numbers) ? most_numbers_ : most_texts_;
  if (texts.size() > limit) Forget();
}

void ColumnEvidence::Forget() {
  too_many_ = true;
  texts = {};
  places_ = {};
}

void ColumnEvidence::Merge(const ColumnEvidence& next) {
  if (next.cells == 0) return;
  counting_ = counting_ && next.counting_ &&
              (count_ == 0 || next.count_ == 0 || next.first_ == last_ + 1.0);
  if (next.count_ > 0) {
    if (count_ == 0) first_ = next.first_;
    last_ = next.last_;
    // Chan's merge.
    const double delta = next.mean_ - mean_;
    const auto a = static_cast<double>(count_), b = static_cast<double>(next.count_);
    mean_ += delta * b / (a + b);
    m2_ += next.m2_ + delta * delta * a * b / (a + b);
    count_ += next.count_;
  }
  cells += next.cells;
  missing += next.missing;
  numbers += next.numbers;
  unusable += next.unusable;
  leading_zeros += next.leading_zeros;
  words += next.words;
  if (next.wrapped > 0) {
    if (wrapped == 0) wrapping_ = next.wrapping_;
    wrapped_alike_ = wrapped_alike_ && next.wrapped_alike_ && next.wrapping_ == wrapping_;
    wrapped += next.wrapped;
  }
  for (size_t form = 0; form < dates.size(); ++form) dates[form] += next.dates[form];
  has_time = has_time || next.has_time;
  whole = whole && next.whole;
  least = std::min(least, next.least);
  most = std::max(most, next.most);
  if (next.too_many_) Forget();
  for (const auto& [text, count] : next.texts) AddText(text, count);
  Note(first_missing, next.first_missing);
  Note(first_text, next.first_text);
  Note(first_unusable, next.first_unusable);
  Note(first_leading_zero, next.first_leading_zero);
  Note(first_wrapped, next.first_wrapped);
  Note(first_no_word, next.first_no_word);
  for (size_t form = 0; form < dates.size(); ++form)
    Note(first_no_date[form], next.first_no_date[form]);
}

double ColumnEvidence::sd() const {
  return count_ == 0 ? 0.0 : std::sqrt(m2_ / static_cast<double>(count_));
}

std::vector<std::string> ColumnEvidence::OrderedTexts(NumberForm form) const {
  std::vector<std::string> ordered;
  for (const auto& [text, count] : texts) ordered.push_back(text);
  SortTexts(form, ordered);
  return ordered;
}

}  // namespace lockstep
