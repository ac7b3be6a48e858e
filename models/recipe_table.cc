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

namespace lockstep {
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

// One character, or "auto" for what is found.
Result<std::optional<char>> LetterOf(const std::string& key, const std::string& text) {
  if (text == "auto") return std::optional<char>();
  if (text == "none") return std::optional<char>('\0');
  if (text == "\\t" || text == "tab") return std::optional<char>('\t');
  if (text.size() == 1) return std::optional<char>(text[0]);
  return Status::Invalid(key + " must be one character, or \"auto\", not " + Quoted(text));
}

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

}  // namespace

KeyLimits CsvMissing() { return OneOf(kMissing); }
KeyLimits CsvEncodings() { return OneOf(kEncodings); }

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
  DialectOptions& dialect = options.dialect;
  LOCKSTEP_TRY_ASSIGN(dialect.delimiter, LetterOf("data.delimiter", data.delimiter));
  LOCKSTEP_TRY_ASSIGN(dialect.encoding, Chosen("data.encoding", kEncodings, data.encoding));
  LOCKSTEP_TRY_ASSIGN(dialect.quote, LetterOf("data.quote", data.quote));
  LOCKSTEP_TRY_ASSIGN(dialect.comment, LetterOf("data.comment", data.comment));
  LOCKSTEP_TRY_ASSIGN(dialect.decimal, LetterOf("data.decimal", data.decimal));
  LOCKSTEP_TRY_ASSIGN(dialect.thousands, LetterOf("data.thousands", data.thousands));
  LOCKSTEP_TRY_ASSIGN(const CsvOptions::Header header, CsvHeaderOf(data));
  if (header != CsvOptions::Header::kAuto) dialect.header = header == CsvOptions::Header::kYes;
  LOCKSTEP_TRY_ASSIGN(options.on_missing, Chosen("data.missing", kMissing, data.missing));
  if (data.task != "auto") {
    const Objective* const objective = ObjectiveNamed(data.task);
    if (objective == nullptr) return UnknownChoice(data.task, CsvTasks().choices).At("data.task");
    options.task = objective->task;
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

Result<RecipeData> TableData(const Recipe& recipe, std::shared_ptr<const TableDescription> saved) {
  const Recipe::Data& data = recipe.data;
  LOCKSTEP_TRY_ASSIGN(const TableOptions options, TableOptionsOf(recipe));
  const bool has_test = !data.test_path.empty() && data.folds == 0;
  const TableNeeds whole{.target = true,
                         .others = true,
                         .drop = options.on_missing == TableOptions::Missing::kDropRow,
                         .threads = options.threads};
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
  if (!has_test) return made;
  TableNeeds needs = whole;
  needs.others = false;
  LOCKSTEP_TRY_ASSIGN(const Table test,
                      Under("data.test_path", ReadTableFor(data.test_path, *saved, needs)));
  for (const std::string& remark : test.remarks)
    made.remarks.push_back(data.test_path + ": " + remark);
  LOCKSTEP_TRY_ASSIGN(made.test.dataset, TableSamples(test, saved));
  made.test.indices = AllIndices(made.test.dataset->size());
  return made;
}

}  // namespace lockstep
