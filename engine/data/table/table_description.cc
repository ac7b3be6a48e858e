#include "engine/data/table/table_description.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "engine/io/text.h"

namespace lockstep::inline v0_1 {
namespace {

using Json = nlohmann::ordered_json;

struct KindName {
  TableColumn::Kind kind;
  const char* name;
};
constexpr KindName kKinds[] = {{TableColumn::Kind::kNumber, "number"},
                               {TableColumn::Kind::kYesNo, "yes/no"},
                               {TableColumn::Kind::kCategory, "category"},
                               {TableColumn::Kind::kDate, "date"}};
struct RoleName {
  TableColumn::Role role;
  const char* name;
};
constexpr RoleName kRoles[] = {
    {TableColumn::Role::kFeature, "feature"}, {TableColumn::Role::kTarget, "target"},
    {TableColumn::Role::kWeight, "weight"},   {TableColumn::Role::kGroup, "group"},
    {TableColumn::Role::kTime, "time"},       {TableColumn::Role::kLeftOut, "left out"}};
constexpr const char* kNamesOfDateForms[] = {"year first", "day first", "month first",
                                             "time of the day"};

// More is a damaged or hostile file.
// Groups may be as many as describe_table.cc keeps apart.
constexpr size_t kMostColumns = size_t{1} << 20, kMostCategories = size_t{1} << 24;

Json JsonOf(const Dialect& dialect) {
  const auto text = [](char c) { return c == '\0' ? std::string() : std::string(1, c); };
  return {{"delimiter", text(dialect.delimiter)},
          {"quote", text(dialect.quote)},
          {"comment", text(dialect.comment)},
          {"decimal", text(dialect.number.decimal)},
          {"thousands", text(dialect.number.thousands)},
          {"encoding", dialect.encoding == Dialect::Encoding::kLatin1 ? "latin-1" : "utf-8"},
          {"header", dialect.header},
          {"row_names", dialect.row_names},
          {"open_end", dialect.open_end}};
}

Json JsonOf(const TableColumn& column) {
  Json json = {{"name", column.name}, {"kind", NameOf(column.kind)}, {"role", NameOf(column.role)}};
  if (!column.categories.empty()) json["categories"] = column.categories;
  if (!column.counts.empty()) json["counts"] = column.counts;
  if (column.has_missing) json["has_missing"] = true;
  if (column.width > 0) json["width"] = column.width;
  if (column.kind == TableColumn::Kind::kDate) {
    json["date"] = kNamesOfDateForms[static_cast<size_t>(column.date)];
    json["has_time"] = column.has_time;
  }
  if (column.kind != TableColumn::Kind::kCategory) {
    json["subtracted"] = column.subtracted;
    json["divided"] = column.divided;
    json["fill"] = column.fill;
  }
  if (column.exact) json["exact"] = true;
  if (column.indicate) json["indicate"] = true;
  if (!column.note.empty()) json["note"] = column.note;
  return json;
}

// Reads members of an object; the first that is missing or of another kind is what `wrong` says.
class Reader {
 public:
  explicit Reader(const Json& json) : json_(json) {
    if (!json.is_object()) wrong = "not an object";
  }
  std::string wrong;

  const Json* Find(const char* key, bool must) {
    if (!wrong.empty()) return nullptr;
    const auto found = json_.find(key);
    if (found != json_.end()) return &*found;
    if (must) wrong = std::string("without \"") + key + "\"";
    return nullptr;
  }
  std::string Text(const char* key, bool must = true) {
    const Json* value = Find(key, must);
    if (value == nullptr) return {};
    if (value->is_string()) return value->get<std::string>();
    Wrong(key);
    return {};
  }
  bool Flag(const char* key) {
    const Json* value = Find(key, false);
    if (value == nullptr) return false;
    if (value->is_boolean()) return value->get<bool>();
    Wrong(key);
    return false;
  }
  double Number(const char* key, double otherwise) {
    const Json* value = Find(key, false);
    if (value == nullptr) return otherwise;
    if (value->is_number() && std::isfinite(value->get<double>())) return value->get<double>();
    Wrong(key);
    return otherwise;
  }
  int64_t Whole(const char* key, int64_t most) {
    const Json* value = Find(key, false);
    if (value == nullptr) return 0;
    if (value->is_number_unsigned() && value->get<uint64_t>() <= static_cast<uint64_t>(most))
      return value->get<int64_t>();
    Wrong(key);
    return 0;
  }
  char Letter(const char* key) {
    const std::string text = Text(key);
    if (text.size() > 1) Wrong(key);
    return text.empty() ? '\0' : text[0];
  }
  std::vector<std::string> Texts(const char* key) {
    std::vector<std::string> texts;
    const Json* list = Find(key, false);
    if (list == nullptr) return texts;
    if (!list->is_array() || list->size() > kMostCategories) Wrong(key);
    for (const Json& one : *list) {
      if (!one.is_string()) Wrong(key);
      if (!wrong.empty()) return {};
      texts.push_back(one.get<std::string>());
    }
    return texts;
  }
  std::vector<int64_t> Counts(const char* key) {
    std::vector<int64_t> counts;
    const Json* list = Find(key, false);
    if (list == nullptr) return counts;
    if (!list->is_array() || list->size() > kMostCategories) Wrong(key);
    for (const Json& one : *list) {
      if (!one.is_number_unsigned() || one.get<uint64_t>() > uint64_t{1} << 62) Wrong(key);
      if (!wrong.empty()) return {};
      counts.push_back(one.get<int64_t>());
    }
    return counts;
  }
  void Wrong(const char* key) {
    if (wrong.empty()) wrong = std::string("of a wrong \"") + key + "\"";
  }

 private:
  const Json& json_;
};

bool AllDiffer(std::vector<std::string> texts) {
  std::sort(texts.begin(), texts.end());
  return std::adjacent_find(texts.begin(), texts.end()) == texts.end();
}

// Whether the target is what the task tells.
bool Fits(Task task, const TableColumn& target) {
  const bool classes = target.kind == TableColumn::Kind::kCategory;
  const size_t count = target.categories.size();
  switch (task) {
    case Task::kRegression:
      return target.kind == TableColumn::Kind::kNumber;
    case Task::kBinary:
      return classes && count == 2;
    case Task::kClasses:
      break;
  }
  return classes && count >= 2;
}

Result<TableColumn> ColumnFrom(const Json& json) {
  Reader read(json);
  TableColumn column{.name = read.Text("name")};
  const std::string kind = read.Text("kind"), role = read.Text("role");
  const auto* known_kind = std::find_if(std::begin(kKinds), std::end(kKinds),
                                        [&](const KindName& one) { return kind == one.name; });
  const auto* known_role = std::find_if(std::begin(kRoles), std::end(kRoles),
                                        [&](const RoleName& one) { return role == one.name; });
  if (known_kind == std::end(kKinds)) read.Wrong("kind");
  if (known_role == std::end(kRoles)) read.Wrong("role");
  column.categories = read.Texts("categories");
  column.counts = read.Counts("counts");
  column.has_missing = read.Flag("has_missing");
  column.width = read.Whole("width", 1 << 16);
  const bool has_time = read.Flag("has_time");
  const double subtracted = read.Number("subtracted", 0.0);
  const double divided = read.Number("divided", 1.0);
  const double fill = read.Number("fill", 0.0);
  column.exact = read.Flag("exact");
  column.indicate = read.Flag("indicate");
  column.note = read.Text("note", /*must=*/false);
  if (divided < 0.0) read.Wrong("divided");
  if (!column.counts.empty() && column.counts.size() != column.categories.size())
    read.Wrong("counts");
  if (read.wrong.empty()) {
    column.kind = known_kind->kind;
    column.role = known_role->role;
    if (column.kind != TableColumn::Kind::kCategory) {
      column.subtracted = subtracted;
      column.divided = divided;
      column.fill = fill;
    }
    if (column.kind == TableColumn::Kind::kDate) {
      column.has_time = has_time;
      const std::string form = read.Text("date");
      const auto* known =
          std::find(std::begin(kNamesOfDateForms), std::end(kNamesOfDateForms), form);
      if (known == std::end(kNamesOfDateForms)) {
        read.Wrong("date");
      } else {
        column.date = static_cast<DateForm>(known - std::begin(kNamesOfDateForms));
      }
    }
    const bool is_target = column.role == TableColumn::Role::kTarget;
    const bool is_feature = column.role == TableColumn::Role::kFeature;
    if ((is_target || is_feature) && column.kind == TableColumn::Kind::kCategory &&
        column.categories.empty())
      read.Wrong("categories");
    if (column.kind == TableColumn::Kind::kYesNo && column.categories.size() != 2)
      read.Wrong("categories");
    if (column.kind == TableColumn::Kind::kCategory && !AllDiffer(column.categories))
      read.Wrong("categories");
  }
  if (!read.wrong.empty()) return Status::Corrupt(read.wrong);
  return column;
}

Status Damaged(const std::string& what) {
  return Status::Corrupt("the description of the table is damaged (" + what +
                         "); save the model again from its data");
}

}  // namespace

int64_t TableDescription::PlaceOf(TableColumn::Role role) const {
  for (size_t i = 0; i < columns.size(); ++i) {
    if (columns[i].role == role) return static_cast<int64_t>(i);
  }
  return -1;
}

const char* NameOf(TableColumn::Kind kind) { return kKinds[static_cast<size_t>(kind)].name; }
const char* NameOf(TableColumn::Role role) { return kRoles[static_cast<size_t>(role)].name; }

std::string ToJson(const TableDescription& description) {
  Json json = {{"task", ObjectiveOf(description.task).name},
               {"missing", description.missing},
               {"missing_is_error", description.missing_is_error},
               {"dialect", JsonOf(description.dialect)},
               {"columns", Json::array()}};
  for (const TableColumn& column : description.columns) json["columns"].push_back(JsonOf(column));
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

Result<TableDescription> TableDescriptionFrom(std::string_view text) {
  const Json json = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  Reader read(json);
  TableDescription description;
  const std::string task = read.Text("task");
  const Objective* const objective = ObjectiveNamed(task);
  if (objective == nullptr) read.Wrong("task");
  description.missing = read.Texts("missing");
  description.missing_is_error = read.Flag("missing_is_error");
  const Json* const dialect = read.Find("dialect", /*must=*/true);
  const Json* const columns = read.Find("columns", /*must=*/true);
  if (columns != nullptr && (!columns->is_array() || columns->size() > kMostColumns))
    read.Wrong("columns");
  if (!read.wrong.empty()) return Damaged(read.wrong);
  description.task = objective->task;

  Reader form(*dialect);
  description.dialect = {
      .delimiter = form.Letter("delimiter"),
      .quote = form.Letter("quote"),
      .comment = form.Letter("comment"),
      .number = {.decimal = form.Letter("decimal"), .thousands = form.Letter("thousands")},
      .header = form.Flag("header"),
      .row_names = form.Flag("row_names"),
      .open_end = form.Flag("open_end")};
  const std::string encoding = form.Text("encoding");
  if (encoding == "latin-1") description.dialect.encoding = Dialect::Encoding::kLatin1;
  if (encoding != "latin-1" && encoding != "utf-8") form.Wrong("encoding");
  const char delimiter = description.dialect.delimiter;
  if (delimiter == '\0' || delimiter == '\n' || delimiter == '\r') form.Wrong("delimiter");
  const char decimal = description.dialect.number.decimal;
  if (decimal != '.' && decimal != ',') form.Wrong("decimal");
  if (!form.wrong.empty()) return Damaged("a dialect " + form.wrong);

  int targets = 0;
  for (const Json& one : *columns) {
    Result<TableColumn> column = ColumnFrom(one);
    if (!column.ok()) return Damaged("a column " + column.status().message());
    targets += column->role == TableColumn::Role::kTarget ? 1 : 0;
    description.columns.push_back(std::move(*column));
  }
  if (targets > 1) return Damaged("more than one target");
  const int64_t target = description.target();
  if (target >= 0 && !Fits(description.task, description.columns[static_cast<size_t>(target)]))
    return Damaged("a target that does not fit the task");
  return description;
}

}  // namespace lockstep
