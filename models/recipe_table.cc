#include "models/recipe_table.h"

#include <algorithm>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "engine/data/split.h"
#include "engine/io/text.h"
#include "models/recipe_keys.h"
#include "models/recipe_split.h"

namespace lockstep::inline v0_1 {
namespace {

constexpr Choice<TableOptions::Missing> kMissing[] = {
    {"error", TableOptions::Missing::kError},
    {"mean", TableOptions::Missing::kMean},
    {"indicate", TableOptions::Missing::kIndicate},
    {"drop", TableOptions::Missing::kDropRow}};

constexpr Choice<std::optional<Dialect::Encoding>> kEncodings[] = {
    {"auto", std::nullopt},
    {"utf-8", Dialect::Encoding::kUtf8},
    {"latin1", Dialect::Encoding::kLatin1}};

std::optional<CsvColumn> ColumnOf(const std::string& text) {
  return text.empty() ? std::nullopt : std::optional(CsvColumnFrom(text));
}

// What a model needs not to know: which groups and times there were.
void ForgetRows(TableDescription& description) {
  for (TableColumn& column : description.columns) {
    if (column.role == TableColumn::Role::kGroup || column.role == TableColumn::Role::kTime)
      column.categories.clear();
  }
}

Result<Splits> SplitTable(const Table& table, const Recipe::Data& data, bool has_test) {
  LOCKSTEP_TRY(CheckWeights(table, data));
  LOCKSTEP_TRY_ASSIGN(const SplitKeys keys, KeysOf(table, data));
  LOCKSTEP_TRY(CheckSplitKind(data, /*in_order=*/false, keys));
  return SplitSamples(table.rows->size(), keys, data, has_test);
}

// More different numbers than these are told in four ranges with about as many rows each.
constexpr size_t kMostNumbers = 12;

// `groups` are different numbers in rising order, then perhaps what is missing.
void JoinNumbers(RowGroups& groups) {
  const bool missing = groups.names.back() == "(missing)";
  const size_t numbers = groups.names.size() - (missing ? 1 : 0);
  if (numbers <= kMostNumbers) return;
  std::vector<int64_t> rows(groups.names.size());
  for (const int32_t group : groups.of_row) ++rows[static_cast<size_t>(group)];
  int64_t all = 0, before = 0;
  for (size_t n = 0; n < numbers; ++n) all += rows[n];
  std::vector<std::string> names;
  std::vector<int32_t> joined(groups.names.size());
  std::string first;
  for (size_t n = 0; n < numbers; ++n) {
    if (first.empty()) first = groups.names[n];
    joined[n] = static_cast<int32_t>(names.size());
    before += rows[n];
    const auto ranges = static_cast<int64_t>(names.size()) + 1;
    if (4 * before < ranges * all && n + 1 < numbers) continue;
    names.push_back(first == groups.names[n] ? first : first + " to " + groups.names[n]);
    first.clear();
  }
  if (missing) {
    joined.back() = static_cast<int32_t>(names.size());
    names.push_back(groups.names.back());
  }
  for (int32_t& group : groups.of_row) group = joined[static_cast<size_t>(group)];
  groups.names = std::move(names);
}

Result<std::vector<Subgroup>> SubgroupsOf(const Table& table, const Recipe::Data& data) {
  std::vector<std::string> header;
  for (const TableColumn& column : table.description.columns) header.push_back(column.name);
  std::vector<Subgroup> subgroups;
  for (const std::string& column : data.subgroups) {
    LOCKSTEP_TRY_ASSIGN(
        const size_t place,
        FindCsvColumn(table.name, CsvColumnFrom(column), "data.subgroups", header.size(), &header));
    LOCKSTEP_TRY_ASSIGN(RowGroups groups,
                        Under("data.subgroups", GroupsOf(table, static_cast<int64_t>(place))));
    const TableColumn::Kind kind = table.description.columns[place].kind;
    if (kind == TableColumn::Kind::kNumber || kind == TableColumn::Kind::kDate) JoinNumbers(groups);
    subgroups.push_back({.column = ColumnName(table.description, static_cast<int64_t>(place)),
                         .names = std::move(groups.names),
                         .of_sample = std::move(groups.of_row)});
  }
  return subgroups;
}

}  // namespace

KeyLimits CsvMissing() { return OneOf(kMissing); }
KeyLimits CsvEncodings() { return OneOf(kEncodings); }

Result<std::optional<char>> LetterOf(const std::string& key, const std::string& text) {
  if (text == "auto") return std::optional<char>();
  if (text == "none") return std::optional<char>('\0');
  if (text == "\\t" || text == "tab") return std::optional<char>('\t');
  if (text.size() == 1) return std::optional<char>(text[0]);
  return Status::Invalid(
      key + " must be one character, \"tab\" or \"auto\" (found by looking), not " + Quoted(text));
}

Result<DialectOptions> DialectOf(const Recipe::Data& data) {
  DialectOptions dialect;
  LOCKSTEP_TRY_ASSIGN(dialect.delimiter, LetterOf("data.delimiter", data.delimiter));
  LOCKSTEP_TRY_ASSIGN(dialect.encoding, Chosen("data.encoding", kEncodings, data.encoding));
  LOCKSTEP_TRY_ASSIGN(dialect.quote, LetterOf("data.quote", data.quote));
  LOCKSTEP_TRY_ASSIGN(dialect.comment, LetterOf("data.comment", data.comment));
  LOCKSTEP_TRY_ASSIGN(dialect.decimal, LetterOf("data.decimal", data.decimal));
  LOCKSTEP_TRY_ASSIGN(dialect.thousands, LetterOf("data.thousands", data.thousands));
  LOCKSTEP_TRY_ASSIGN(dialect.header, CsvHeaderOf(data));
  return dialect;
}

Result<TableOptions> TableOptionsOf(const Recipe& recipe) {
  const Recipe::Data& data = recipe.data;
  TableOptions options{.target = CsvColumnFrom(data.label),
                       .weight = ColumnOf(data.weight),
                       .group = ColumnOf(data.group),
                       .time = ColumnOf(data.time),
                       .positive = data.positive,
                       .more_missing = data.missing_texts,
                       .one_hot = data.one_hot,
                       .threads = CoresOf(recipe),
                       .cache = data.cache,
                       .cache_folder = data.cache_folder};
  LOCKSTEP_TRY_ASSIGN(options.dialect, DialectOf(data));
  LOCKSTEP_TRY(CheckChoice("data.split", data.split, SplitKinds()));
  LOCKSTEP_TRY_ASSIGN(options.on_missing, Chosen("data.missing", kMissing, data.missing));
  if (data.task != "auto") {
    LOCKSTEP_TRY_ASSIGN(options.task, TaskNamed(data.task));
  }
  for (const std::string& column : data.ignore) options.ignored.push_back(CsvColumnFrom(column));
  for (const std::string& one : data.types) {
    const size_t equals = one.rfind('=');
    if (equals == std::string::npos || equals == 0) {
      return Status::Invalid("data.types: " + Quoted(one) +
                             " is no column with its type; write \"town=category\" or "
                             "\"3=number\"");
    }
    options.types.emplace_back(CsvColumnFrom(one.substr(0, equals)), one.substr(equals + 1));
  }
  return options;
}

Result<RecipeData> TableData(const Recipe& recipe, std::shared_ptr<const TableDescription> saved,
                             const TableText::Progress& progress) {
  const Recipe::Data& data = recipe.data;
  LOCKSTEP_TRY_ASSIGN(TableOptions options, TableOptionsOf(recipe));
  options.progress = progress;
  const bool has_test = !data.test_path.empty() && data.folds == 0;
  const TableNeeds whole{.target = true,
                         .others = true,
                         .drop = options.on_missing == TableOptions::Missing::kDropRow,
                         .threads = options.threads,
                         .progress = progress};
  LOCKSTEP_TRY_ASSIGN(const Table table, saved == nullptr ? ReadTable(data.path, options)
                                                          : ReadTableFor(data.path, *saved, whole));
  LOCKSTEP_TRY_ASSIGN(Splits splits, SplitTable(table, data, has_test));
  if (saved == nullptr) {
    TableDescription description = table.description;
    LOCKSTEP_TRY(SetScales(table, splits.train, data.standardize, description));
    ForgetRows(description);
    saved = std::make_shared<const TableDescription>(std::move(description));
  }
  RecipeData made{.train = {}, .validation = {}, .test = {}, .remarks = table.remarks};
  for (std::string& remark : FoldRemarks(data, !data.test_path.empty()))
    made.remarks.push_back(std::move(remark));
  LOCKSTEP_TRY_ASSIGN(const std::shared_ptr<const Dataset> samples, TableSamples(table, saved));
  made.train = {samples, std::move(splits.train)};
  made.train_unchanged = made.train;
  made.validation = {samples, std::move(splits.validation)};
  made.test = {samples, std::move(splits.test)};
  LOCKSTEP_TRY_ASSIGN(made.subgroups, SubgroupsOf(table, data));
  if (!has_test) return made;
  TableNeeds needs = whole;
  needs.others = false;
  LOCKSTEP_TRY_ASSIGN(const Table test,
                      Under("data.test_path", ReadTableFor(data.test_path, *saved, needs)));
  for (const std::string& remark : test.remarks)
    made.remarks.push_back(data.test_path + ": " + remark);
  LOCKSTEP_TRY_ASSIGN(made.test.dataset, TableSamples(test, saved));
  made.test.indices = AllIndices(made.test.dataset->size());
  LOCKSTEP_TRY_ASSIGN(made.test_subgroups, SubgroupsOf(test, data));
  return made;
}

}  // namespace lockstep
