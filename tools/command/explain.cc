#include "tools/command/explain.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <string>
#include <utility>
#include <vector>

#include "engine/data/table/table.h"
#include "engine/train/table_predictor.h"
#include "models/recipe_keys.h"
#include "tools/command/csv_output.h"

namespace lockstep::inline v0_1::tools {
namespace {

constexpr char kAll[] = "all";
// Samples that are predicted at a time: many are, for one row.
constexpr int64_t kBatch = 256;

// The rows that --explain says, by their numbers from 0.
Result<std::vector<int64_t>> RowsOf(const std::string& which, int64_t rows) {
  if (which == kAll) return AllIndices(rows);
  int64_t row = 0;
  const auto [end, error] = std::from_chars(which.data(), which.data() + which.size(), row);
  if (error != std::errc() || end != which.data() + which.size() || row < 1 || row > rows) {
    return Status::Invalid(fmt::format(
        "--explain takes the number of a row, from 1 to {}, or all; not \"{}\"", rows, which));
  }
  return std::vector{row - 1};
}

struct ExplainedRow {
  int64_t row = 0;
  std::vector<CellValue> cells{};
  TableAnswer answer{};
  Explanation explanation{};
};

Result<ExplainedRow> ExplainRow(const Table& table, int64_t row, TablePredictor& predictor) {
  ExplainedRow explained{.row = row};
  for (const int64_t column : predictor.columns())
    explained.cells.push_back(table.rows->at(row, column));
  LOCKSTEP_TRY_ASSIGN(explained.answer, predictor.Predict(explained.cells));
  LOCKSTEP_TRY_ASSIGN(explained.explanation, predictor.Explain(explained.cells));
  return explained;
}

std::string AnswerText(const TablePredictor& predictor, const TableAnswer& answer) {
  const std::vector<std::string> names = predictor.answer_names();
  std::string text;
  if (answer.predicted >= 0) {
    const auto c = static_cast<size_t>(answer.predicted);
    text = "class " + predictor.samples().class_names[c];
  }
  for (size_t i = 0; i < names.size(); ++i) {
    text += text.empty() ? "" : ", ";
    text += fmt::format("{}{} {:.6g}", answer.predicted >= 0 ? "probability of " : "", names[i],
                        answer.numbers[i]);
  }
  return text;
}

// For people: what contributes most comes first.
std::string Page(const TablePredictor& predictor, const ExplainedRow& of) {
  const Explanation& why = of.explanation;
  std::vector<size_t> order(of.cells.size());
  size_t widest = 6, widest_cell = 4, widest_usual = 5;
  std::vector<std::string> names, cells, usual;
  for (size_t i = 0; i < order.size(); ++i) {
    order[i] = i;
    const int64_t column = predictor.columns()[i];
    names.push_back(predictor.NameOf(column));
    cells.push_back(predictor.TextOf(column, of.cells[i]));
    usual.push_back(predictor.TextOf(column, predictor.usual()[i]));
    widest = std::max(widest, names.back().size());
    widest_cell = std::max(widest_cell, cells.back().size());
    widest_usual = std::max(widest_usual, usual.back().size());
  }
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    return std::abs(why.contributions[a]) > std::abs(why.contributions[b]);
  });
  std::string text =
      fmt::format("row {}: {}\n{} {:.6g}: {:.6g} as usual, {:+.6g} by its columns\n", of.row + 1,
                  AnswerText(predictor, of.answer), predictor.ExplainedName(of.answer),
                  why.prediction, why.baseline, why.prediction - why.baseline);
  text += fmt::format("  {:<{}}  {:<{}}  {:<{}}  contribution\n", "column", widest, "cell",
                      widest_cell, "usual", widest_usual);
  for (const size_t i : order) {
    text += fmt::format("  {:<{}}  {:<{}}  {:<{}}  {:+.4g}\n", names[i], widest, cells[i],
                        widest_cell, usual[i], widest_usual, why.contributions[i]);
  }
  if (why.error > 0.0) {
    text += fmt::format("of so many columns contributions are estimated, each to about {:.2g}\n",
                        2.0 * why.error);
  }
  return text;
}

class Csv {
 public:
  Csv(const TablePredictor& predictor, char delimiter)
      : predictor_(predictor), delimiter_(delimiter) {
    Field("row");
    const bool classes = !predictor.samples().class_names.empty();
    if (classes) Field("class");
    for (const std::string& name : predictor.answer_names())
      Field(classes ? "probability of " + name : name);
    Field("told");
    Field("usual");
    for (const int64_t column : predictor.columns()) Field("by " + predictor.NameOf(column));
    text_ += '\n';
  }

  void Add(const ExplainedRow& of) {
    Field(std::to_string(of.row + 1));
    if (of.answer.predicted >= 0)
      Field(predictor_.samples().class_names[static_cast<size_t>(of.answer.predicted)]);
    for (const double number : of.answer.numbers) Field(fmt::to_string(static_cast<float>(number)));
    Field(fmt::to_string(of.explanation.prediction));
    Field(fmt::to_string(of.explanation.baseline));
    for (const double part : of.explanation.contributions) Field(fmt::to_string(part));
    text_ += '\n';
  }
  const std::string& text() const { return text_; }

 private:
  void Field(const std::string& text) {
    if (!text_.empty() && text_.back() != '\n') text_ += delimiter_;
    text_ += CsvField(text, delimiter_);
  }

  const TablePredictor& predictor_;
  char delimiter_;
  std::string text_;
};

}  // namespace

Status ExplainRows(const PredictArgs& args, const std::string& path, const SavedModel& model) {
  if (model.samples.table == nullptr) {
    return Status::Invalid(path +
                           ": --explain is for models of a table (data.kind = \"csv\"), whose "
                           "columns have names");
  }
  LOCKSTEP_TRY_ASSIGN(const Table table, ReadTableFor(args.inputs[0], *model.samples.table,
                                                      {.threads = CoresOf(model.recipe)}));
  SayRemarks(args.inputs[0], table.remarks);
  LOCKSTEP_TRY_ASSIGN(const std::vector<int64_t> rows, RowsOf(args.explain, table.rows->size()));

  Context ctx({.threads = static_cast<int>(model.recipe.train.threads)});
  Result<Network> network = BuildNetwork(ctx, model, kBatch);
  if (!network.ok()) return network.status().At(path);
  Result<TablePredictor> predictor = TablePredictor::Make(*network, model.samples, model.decision);
  if (!predictor.ok()) return predictor.status().At(path);
  const bool page = args.explain != kAll && args.output.empty();
  std::string text;
  Csv csv(*predictor, OutputDelimiter(model));
  for (const int64_t row : rows) {
    LOCKSTEP_TRY_ASSIGN(const ExplainedRow explained, ExplainRow(table, row, *predictor));
    if (page) {
      text = Page(*predictor, explained);
    } else {
      csv.Add(explained);
    }
  }
  return WriteOrPrint(args.output, page ? text : csv.text(), "the explanation");
}

}  // namespace lockstep::tools
