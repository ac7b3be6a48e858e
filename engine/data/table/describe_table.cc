#include "engine/data/table/describe_table.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/base/characters.h"
#include "engine/base/text.h"
#include "engine/data/byte_source.h"
#include "engine/data/table/class_labels.h"
#include "engine/data/table/table_remarks.h"

namespace lockstep::inline v0_1 {
namespace {

using Kind = TableColumn::Kind;
using Role = TableColumn::Role;

constexpr const char* kDayFirst = "date, day first";
constexpr const char* kMonthFirst = "date, month first";
constexpr const char* kTypes[] = {"number",  "category",  "yes/no",  "date",
                                  kDayFirst, kMonthFirst, "left out"};
constexpr const char* kTypesText =
    "number, category, yes/no, date, \"date, day first\", \"date, month first\" or left out";

// Of a float's numbers, as a share of a column's deviation: below this nothing is lost that could
// be learned.
constexpr double kMostLost = 1e-5;
// Fewer different whole numbers than this are classes, if each comes a few times.
constexpr int64_t kMostWholeClasses = 20, kRowsOfAClass = 5;
// A text column of more different texts than this share of its rows names the rows.
constexpr double kNamesRows = 0.5;
// How PyTorch tables usually choose it: fastai's rule (Howard and Gugger, 2020).
int64_t EmbeddingWidth(int64_t categories) {
  return std::min<int64_t>(50, std::lround(1.6 * std::pow(static_cast<double>(categories), 0.56)));
}

// "id", "patient_id", "PatientID", "record no": the name of something that tells rows apart.
bool NamesAnId(std::string_view name) {
  const std::string lower = Lower(name);
  for (const char* word : {"id", "uuid", "guid", "index", "identifier", "rowid", "row"}) {
    if (lower == word) return true;
  }
  const bool ends_in_id = name.ends_with("ID") || name.ends_with("Id") || name.ends_with("_id") ||
                          name.ends_with(" id") || name.ends_with(".id") || name.ends_with("-id");
  return ends_in_id || lower.ends_with(" no") || lower.ends_with("_no") ||
         lower.ends_with("number") || lower.starts_with("id_") || lower.starts_with("unnamed");
}

class Describer {
 public:
  Describer(const TableText& text, const TableOptions& options, const ColumnWishes& wishes,
            const std::vector<ColumnEvidence>& evidence)
      : text_(text), options_(options), wishes_(wishes), evidence_(evidence) {}

  Result<DescribedTable> Describe() {
    TableDescription& description = made_.description;
    description.dialect = text_.dialect();
    description.missing = MissingTextsWith(options_.more_missing);
    description.missing_is_error = options_.on_missing == TableOptions::Missing::kError;
    for (size_t i = 0; i < evidence_.size(); ++i) {
      LOCKSTEP_TRY_ASSIGN(TableColumn column, DescribeColumn(i));
      if (!text_.names().empty()) column.name = text_.names()[i];
      description.columns.push_back(std::move(column));
    }
    const TableRemarks remarks(text_, wishes_, evidence_, description);
    const std::vector<std::string> left_out = remarks.LeftOut();
    Say(left_out);
    Say(remarks.Codes());
    Say(remarks.Times());
    if (!options_.group) Say(remarks.Groups());
    if (const int64_t target = description.target(); target >= 0)
      LOCKSTEP_TRY(DescribeTarget(static_cast<size_t>(target)));
    Say(remarks.Wrapped());
    Say(remarks.Cases());
    const bool any = std::any_of(description.columns.begin(), description.columns.end(),
                                 [](const TableColumn& c) { return c.role == Role::kFeature; });
    if (any) return std::move(made_);
    return Fail("no column is left to learn from beside the target: " +
                (left_out.empty() ? "there is no other that is a feature; check data.delimiter"
                                  : left_out[0]) +
                (left_out.size() > 1
                     ? " (so are others: " + std::to_string(left_out.size() - 1) + ")"
                     : ""));
  }

 private:
  void Say(const std::vector<std::string>& remarks) {
    made_.remarks.insert(made_.remarks.end(), remarks.begin(), remarks.end());
  }
  Status Fail(const std::string& what) const { return Status::Corrupt(text_.name() + ": " + what); }
  Status FailAt(size_t column, const NotedCell& cell, const std::string& what) const {
    return Status::Corrupt(ShownText(cell.text) + what)
        .At(text_.PlaceOf(cell.line, static_cast<int64_t>(column)));
  }
  std::string TypeKey(size_t column, const char* type) const {
    return lockstep::TypeKey(text_, column, type);
  }

  Result<TableColumn> DescribeColumn(size_t i) {
    const ColumnEvidence& seen = evidence_[i];
    const std::string& type = wishes_.types[i];
    TableColumn column{.role = wishes_.roles[i]};
    if (wishes_.leaves_out(i)) {
      column.role = Role::kLeftOut;
      column.note = "as asked";
      return column;
    }
    if (column.role == Role::kFeature && type.empty()) {
      if (std::string why = WhyLeftOut(i); !why.empty()) {
        column.role = Role::kLeftOut;
        column.note = std::move(why);
        return column;
      }
    }
    if (column.role == Role::kTarget) return column;  // DescribeTarget says more
    const bool is_group = column.role == Role::kGroup;
    LOCKSTEP_TRY_ASSIGN(column.kind, is_group ? Kind::kCategory : KindOf(i));
    column.has_missing = seen.missing > 0 && options_.on_missing != TableOptions::Missing::kDropRow;
    switch (column.kind) {
      case Kind::kNumber:
        LOCKSTEP_TRY(CheckNumbers(i, column));
        break;
      case Kind::kYesNo:
        LOCKSTEP_TRY(CheckMissing(i));
        column.categories = {WordFor(seen, 0), WordFor(seen, 1)};
        break;
      case Kind::kDate:
        LOCKSTEP_TRY(CheckMissing(i));
        column.date = FormOf(i);
        column.has_time = seen.has_time;
        if (column.role == Role::kTime && column.date == DateForm::kTimeOfDay) {
          made_.remarks.push_back(text_.NameOf(static_cast<int64_t>(i)) +
                                  " says the time of the day alone, so that earlier and later days "
                                  "are not told apart (data.time)");
        }
        break;
      case Kind::kCategory:
        LOCKSTEP_TRY(DescribeCategory(i, column));
        break;
    }
    column.indicate = column.role == Role::kFeature && column.kind != Kind::kCategory &&
                      column.has_missing && options_.on_missing == TableOptions::Missing::kIndicate;
    return column;
  }

  // Why a column of which nothing was said is not learned from; empty: it is.
  std::string WhyLeftOut(size_t i) const {
    const ColumnEvidence& seen = evidence_[i];
    const bool nameless = !text_.names().empty() && text_.names()[i].empty();
    const bool first = i == 0;
    const std::string name = text_.names().empty() ? "" : text_.names()[i];
    if (seen.present() == 0) return "every value is missing";
    if (first && text_.dialect().row_names) return "it names the rows";
    if (first && nameless) return "it has no name, as a column that numbers the rows";
    if (first && seen.counts_up() && seen.missing == 0 && seen.cells > 2)
      return "it counts the rows";
    const auto different = static_cast<int64_t>(seen.texts.size());
    const bool all_differ = seen.knows_texts() && different == seen.present() && different > 2;
    const bool whole_ids = seen.all(seen.numbers) && seen.whole && all_differ;
    if (whole_ids && (NamesAnId(name) || (first && different >= 20)))
      return "all its values differ, as those of an identifier";
    if (seen.numbers > 0 && !IsText(seen)) return "";
    if (seen.all(seen.words) || IsDate(seen)) return "";
    if (!seen.knows_texts()) return "it holds very many different values, texts among them";
    if (all_differ) return "all its texts differ";
    const auto most = static_cast<int64_t>(kNamesRows * static_cast<double>(seen.present()));
    if (different > most && different > 32)
      return "it holds " + std::to_string(different) + " different texts in " +
             std::to_string(seen.present()) + " rows";
    return "";
  }

  // Most cells are no numbers.
  static bool IsText(const ColumnEvidence& seen) { return 2 * seen.numbers < seen.present(); }
  // Whether what the user says of a column leaves this form.
  static bool MayBe(DateForm form, const std::string& type) {
    if (type == kDayFirst)
      return form == DateForm::kYearMonthDay || form == DateForm::kDayMonthYear;
    if (type == kMonthFirst)
      return form == DateForm::kYearMonthDay || form == DateForm::kMonthDayYear;
    return true;
  }
  static bool IsDate(const ColumnEvidence& seen, const std::string& type = "") {
    for (size_t form = 0; form < seen.dates.size(); ++form) {
      if (seen.all(seen.dates[form]) && MayBe(static_cast<DateForm>(form), type)) return true;
    }
    return false;
  }

  Result<Kind> KindOf(size_t i) const {
    const ColumnEvidence& seen = evidence_[i];
    const std::string& type = wishes_.types[i];
    if (type == "number" || wishes_.roles[i] == Role::kWeight) return Kind::kNumber;
    if (type == "category") return Kind::kCategory;
    if (type == "yes/no") {
      if (seen.all(seen.words)) return Kind::kYesNo;
      return FailAt(i, seen.first_no_word,
                    " is not yes or no (true, false, t, f, y, n); let it be a category: " +
                        TypeKey(i, "category"));
    }
    if (type.starts_with("date")) {
      if (IsDate(seen, type)) return Kind::kDate;
      // Of the form that the most are, if that is one that was asked for.
      size_t form = 0;
      for (size_t other = 1; other < seen.dates.size(); ++other) {
        if (MayBe(static_cast<DateForm>(other), type) && seen.dates[other] > seen.dates[form])
          form = other;
      }
      return FailAt(i, seen.first_no_date[form],
                    " is no date as the others of the column (2020-04-03; day first: 3.4.2020, "
                    "03/04/2020; month first: 04/03/2020; of any day: 17:30); if it stands for a "
                    "missing value: "
                    "data.missing_texts = [" +
                        ShownText(seen.first_no_date[form].text) + "]");
    }
    if (seen.present() == 0) return Kind::kNumber;
    // A third answer is made up by nobody: where some are missing, that is one.
    const bool two_answers =
        seen.missing == 0 || options_.on_missing != TableOptions::Missing::kError;
    if (seen.all(seen.words)) return two_answers ? Kind::kYesNo : Kind::kCategory;
    if (IsDate(seen)) return Kind::kDate;
    return IsText(seen) ? Kind::kCategory : Kind::kNumber;
  }

  DateForm FormOf(size_t i) {
    const ColumnEvidence& seen = evidence_[i];
    const bool day = seen.all(seen.dates[1]), month = seen.all(seen.dates[2]);
    const std::string& type = wishes_.types[i];
    if (seen.all(seen.dates[0])) return DateForm::kYearMonthDay;
    if (seen.all(seen.dates[3])) return DateForm::kTimeOfDay;
    if (type == kMonthFirst && month) return DateForm::kMonthDayYear;
    if (day && month && type != kDayFirst) {
      made_.remarks.push_back(text_.NameOf(static_cast<int64_t>(i)) +
                              ": dates are read with the day first, though they could begin with "
                              "the month as well: " +
                              TypeKey(i, kMonthFirst));
    }
    return day ? DateForm::kDayMonthYear : DateForm::kMonthDayYear;
  }

  static std::string WordFor(const ColumnEvidence& seen, int value) {
    for (const auto& [text, count] : seen.texts) {
      if (ReadYesNo(text) == value) return text;
    }
    return "";
  }

  Status CheckMissing(size_t i) const {
    const ColumnEvidence& seen = evidence_[i];
    if (seen.missing == 0 || options_.on_missing != TableOptions::Missing::kError)
      return Status::Ok();
    const std::string others =
        seen.missing > 1 ? " (one of " + std::to_string(seen.missing) + " in this column)" : "";
    return FailAt(i, seen.first_missing,
                  " is a missing value" + others +
                      "; choose what to do with them: data.missing = \"mean\" (of the training "
                      "rows), \"indicate\" (that, and a feature that says so) or \"drop\" (the row "
                      "is left out)");
  }

  Status CheckNumbers(size_t i, TableColumn& column) {
    const ColumnEvidence& seen = evidence_[i];
    LOCKSTEP_TRY(CheckMissing(i));
    if (seen.first_unusable.line > 0) {
      const NumberCell cell = ReadNumber(seen.first_unusable.text, text_.dialect().number);
      return FailAt(i, seen.first_unusable,
                    cell.kind == NumberCell::kTooLarge
                        ? " is too large for a number; correct it"
                        : " is not a finite number; if it stands for a missing value: "
                          "data.missing_texts = [" +
                              ShownText(seen.first_unusable.text) + "]");
    }
    if (seen.numbers < seen.present()) {
      return FailAt(i, seen.first_text,
                    " is not a number, though " + std::to_string(seen.numbers) + " of the " +
                        std::to_string(seen.present()) +
                        " values of this column are; if it stands for a missing value: "
                        "data.missing_texts = [" +
                        ShownText(seen.first_text.text) + "]" +
                        (IsWrapped(seen) ? "; " + HowToUnwrap(seen) : "") +
                        "; if the column holds words: " + TypeKey(i, "category"));
    }
    const double largest = std::max(std::abs(seen.least), std::abs(seen.most));
    if (seen.numbers > 0 && largest > std::numeric_limits<float>::max()) {
      return Fail(text_.NameOf(static_cast<int64_t>(i)) + " holds " + TextOf(largest) +
                  ", which is too large for a 32-bit float; divide the column by something");
    }
    constexpr double kFloatError = 0x1p-24;
    const bool fits = seen.whole && largest <= 0x1p24;
    column.exact = seen.numbers > 0 && !fits && largest * kFloatError > kMostLost * seen.sd();
    return Status::Ok();
  }

  Status DescribeCategory(size_t i, TableColumn& column) {
    const ColumnEvidence& seen = evidence_[i];
    const bool is_target = column.role == Role::kTarget;
    if (!seen.knows_texts()) {
      return Fail(text_.NameOf(static_cast<int64_t>(i)) + " has too many different values to be " +
                  (is_target ? "classes; is another column the label (data.label), or the task a "
                               "regression (data.task = \"regression\")?"
                             : "categories: leave it out (data.ignore), or say what it is "
                               "(data.types)"));
    }
    column.categories = seen.OrderedTexts(text_.dialect().number);
    if (column.role != Role::kFeature) return Status::Ok();
    if (column.categories.empty()) column.categories.push_back("");
    const auto values =
        static_cast<int64_t>(column.categories.size()) + (column.has_missing ? 1 : 0);
    if (values > options_.one_hot) column.width = EmbeddingWidth(values);
    return Status::Ok();
  }

  Status DescribeTarget(size_t i);
  Result<Task> TaskOf(size_t i);

  const TableText& text_;
  const TableOptions& options_;
  const ColumnWishes& wishes_;
  const std::vector<ColumnEvidence>& evidence_;
  DescribedTable made_;
};

// What the target's values say, where the user does not.
Result<Task> Describer::TaskOf(size_t i) {
  const ColumnEvidence& seen = evidence_[i];
  if (options_.task) return *options_.task;
  const auto different = static_cast<int64_t>(seen.texts.size());
  const bool words = wishes_.types[i] == "category" || wishes_.types[i] == "yes/no";
  const bool numbers = !words && seen.numbers > 0 && !IsText(seen);
  const std::string target = "the target " + text_.NameOf(static_cast<int64_t>(i));
  if (seen.knows_texts() && different <= 2) {
    made_.remarks.push_back(target + " has two values: data.task = \"binary\"");
    return Task::kBinary;
  }
  const bool few = seen.knows_texts() && seen.whole && seen.unusable == 0 &&
                   different <= kMostWholeClasses && seen.present() >= kRowsOfAClass * different;
  if (numbers && !few) {
    made_.remarks.push_back(target + " holds numbers: data.task = \"regression\"");
    return Task::kRegression;
  }
  made_.remarks.push_back(target + " has " + std::to_string(different) +
                          " different values: data.task = \"classes\"" +
                          (numbers ? "; if they are amounts: data.task = \"regression\"" : ""));
  return Task::kClasses;
}

Status Describer::DescribeTarget(size_t i) {
  const ColumnEvidence& seen = evidence_[i];
  TableColumn& column = made_.description.columns[i];
  if (seen.present() == 0) return Fail("no row has a value of the target, " + text_.NameOf(i));
  if (seen.missing > 0 && options_.on_missing != TableOptions::Missing::kDropRow) {
    return FailAt(i, seen.first_missing,
                  " is a missing target (one of " + std::to_string(seen.missing) +
                      "); complete it, or leave such rows out: data.missing = \"drop\"");
  }
  column.has_missing = false;
  LOCKSTEP_TRY_ASSIGN(const Task task, TaskOf(i));
  made_.description.task = task;
  if (task == Task::kRegression) {
    column.kind = Kind::kNumber;
    column.categories = {};
    LOCKSTEP_TRY(CheckNumbers(i, column));
    if (!options_.positive.empty())
      return Fail("data.positive = " + ShownText(options_.positive) + " is for binary tasks only");
    return Status::Ok();
  }
  column.kind = Kind::kCategory;
  column.exact = false;
  LOCKSTEP_TRY(DescribeCategory(i, column));
  return OrderClasses(text_.name(), task, options_.positive, column.categories);
}

}  // namespace

Result<ColumnWishes> WishesFor(const TableText& text, const TableOptions& options) {
  const auto columns = static_cast<size_t>(text.columns());
  ColumnWishes wishes{.roles = std::vector<Role>(columns, Role::kFeature),
                      .types = std::vector<std::string>(columns)};
  const auto find = [&](const CsvColumn& column, const char* role) {
    return FindCsvColumn(text.name(), column, role, columns,
                         text.names().empty() ? nullptr : &text.names());
  };
  const auto give = [&](const CsvColumn& column, const char* what, Role role) -> Status {
    LOCKSTEP_TRY_ASSIGN(const size_t place, find(column, what));
    if (wishes.roles[place] != Role::kFeature) {
      return Status::Corrupt(text.name() + ": " + text.NameOf(static_cast<int64_t>(place)) +
                             " cannot be the " + NameOf(wishes.roles[place]) + " and the " + what +
                             " column at once");
    }
    wishes.roles[place] = role;
    return Status::Ok();
  };
  if (options.target) LOCKSTEP_TRY(give(*options.target, "label", Role::kTarget));
  if (options.weight) LOCKSTEP_TRY(give(*options.weight, "weight", Role::kWeight));
  if (options.group) LOCKSTEP_TRY(give(*options.group, "group", Role::kGroup));
  if (options.time) LOCKSTEP_TRY(give(*options.time, "time", Role::kTime));
  for (const CsvColumn& ignored : options.ignored) {
    LOCKSTEP_TRY_ASSIGN(const size_t place, find(ignored, "ignored"));
    if (wishes.roles[place] == Role::kLeftOut) continue;
    LOCKSTEP_TRY(give(ignored, "ignored", Role::kLeftOut));
  }
  for (const auto& [column, type] : options.types) {
    LOCKSTEP_TRY_ASSIGN(const size_t place, find(column, "data.types"));
    if (std::find(std::begin(kTypes), std::end(kTypes), type) == std::end(kTypes)) {
      return Status::Invalid("data.types: " + ShownText(type) + " is no type; there are " +
                             kTypesText);
    }
    if (type == "left out" && wishes.roles[place] != Role::kFeature)
      LOCKSTEP_TRY(give(column, "data.types (left out)", Role::kLeftOut));
    wishes.types[place] = type;
  }
  return wishes;
}

std::vector<ColumnEvidence> EvidenceFor(const TableText& text, const ColumnWishes& wishes) {
  std::vector<ColumnEvidence> evidence;
  for (size_t i = 0; i < static_cast<size_t>(text.columns()); ++i) {
    const bool every = i == 0 || wishes.roles[i] == Role::kTarget || !wishes.types[i].empty() ||
                       (!text.names().empty() && NamesAnId(text.names()[i]));
    // Rows can be of very many groups.
    if (wishes.roles[i] == Role::kGroup) {
      evidence.emplace_back(size_t{1} << 24, size_t{1} << 24);
    } else {
      evidence.emplace_back(every ? ColumnEvidence::kMostCategories : ColumnEvidence::kFewNumbers);
    }
  }
  return evidence;
}

Result<DescribedTable> DescribeTable(const TableText& text, const TableOptions& options,
                                     const ColumnWishes& wishes,
                                     const std::vector<ColumnEvidence>& evidence) {
  return Describer(text, options, wishes, evidence).Describe();
}

}  // namespace lockstep
