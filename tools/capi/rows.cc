// Rows of a table in the C interface.
#include <algorithm>
#include <string>
#include <vector>

#include "tools/capi/lockstep.h"
#include "tools/capi/model.h"
#include "tools/capi/worker.h"

namespace {

using namespace lockstep;        // NOLINT: this file is where both languages meet
using namespace lockstep::capi;  // NOLINT

// A column that a row needs; null: there is none of this number.
const TableColumn* ColumnOf(const lockstep_model* model, int64_t column) {
  if (model == nullptr || !model->table || column < 0) return nullptr;
  const std::vector<int64_t>& columns = model->table->columns();
  if (column >= static_cast<int64_t>(columns.size())) return nullptr;
  const int64_t place = columns[static_cast<size_t>(column)];
  return &model->table->table().columns[static_cast<size_t>(place)];
}

const char* TextOf(const std::vector<std::string>* texts, int64_t i) {
  if (texts == nullptr || i < 0 || i >= static_cast<int64_t>(texts->size())) return nullptr;
  return (*texts)[static_cast<size_t>(i)].c_str();
}

// The cells of a row as a caller gives them.
struct RowCells {
  int64_t cells;
  const char* const* names;
  const char* const* texts;
  const double* numbers;
};

Result<std::vector<CellValue>> RowOf(const lockstep_model& model, const RowCells& given) {
  if (!model.table) {
    return Status::Invalid(
        "this model is of no table: it takes numbers by lockstep_predict, not a row by its names");
  }
  LOCKSTEP_TRY(InRange("cells", given.cells, 0, kLargest));
  LOCKSTEP_TRY(Needs(given.names != nullptr || given.cells == 0, "names"));
  std::vector<CellValue> row;
  for (size_t c = 0; c < model.column_names.size(); ++c) {
    const std::string& name = model.column_names[c];
    int64_t at = 0;
    while (at < given.cells && (given.names[at] == nullptr || name != given.names[at])) ++at;
    if (at == given.cells)
      return Status::Invalid("the row has no cell of column \"" + name + "\": give its name");
    const int64_t column = model.table->columns()[c];
    const bool is_text = given.texts != nullptr && given.texts[at] != nullptr;
    if (!is_text) LOCKSTEP_TRY(Needs(given.numbers != nullptr, "texts and numbers"));
    Result<CellValue> cell = is_text ? model.table->Read(column, given.texts[at])
                                     : model.table->Take(column, given.numbers[at]);
    LOCKSTEP_TRY(cell.status());
    row.push_back(*cell);
  }
  return row;
}

// predict(row): by the model itself, or by a worker.
template <class Predict>
Status PredictRow(const lockstep_model& model, const RowCells& given, double* answers,
                  int64_t* predicted, int64_t* unseen, Predict&& predict) {
  LOCKSTEP_TRY_ASSIGN(const std::vector<CellValue> row, RowOf(model, given));
  LOCKSTEP_TRY(Needs(answers != nullptr, "answers"));
  LOCKSTEP_TRY_ASSIGN(const TableAnswer answer, predict(row));
  std::copy(answer.numbers.begin(), answer.numbers.end(), answers);
  if (predicted != nullptr) *predicted = answer.predicted;
  if (unseen != nullptr) {
    *unseen = std::count_if(row.begin(), row.end(),
                            [](const CellValue& cell) { return cell.code == kUnseenCode; });
  }
  return Status::Ok();
}

Status ExplainRow(lockstep_model& model, const RowCells& given, double* contributions, double* told,
                  double* usual) {
  LOCKSTEP_TRY_ASSIGN(const std::vector<CellValue> row, RowOf(model, given));
  LOCKSTEP_TRY(Needs(contributions != nullptr, "contributions"));
  LOCKSTEP_TRY_ASSIGN(const Explanation explanation, model.table->Explain(row));
  std::copy(explanation.contributions.begin(), explanation.contributions.end(), contributions);
  if (told != nullptr) *told = explanation.prediction;
  if (usual != nullptr) *usual = explanation.baseline;
  return Status::Ok();
}

}  // namespace

extern "C" {

int64_t lockstep_columns(const lockstep_model* model) {
  return model == nullptr ? 0 : static_cast<int64_t>(model->column_names.size());
}
const char* lockstep_column_name(const lockstep_model* model, int64_t column) {
  return TextOf(model == nullptr ? nullptr : &model->column_names, column);
}
lockstep_kind lockstep_column_kind(const lockstep_model* model, int64_t column) {
  const TableColumn* const of = ColumnOf(model, column);
  if (of == nullptr) return static_cast<lockstep_kind>(0);
  switch (of->kind) {
    case TableColumn::Kind::kNumber:
      return LOCKSTEP_NUMBER;
    case TableColumn::Kind::kYesNo:
      return LOCKSTEP_YES_NO;
    case TableColumn::Kind::kCategory:
      return LOCKSTEP_CATEGORY;
    case TableColumn::Kind::kDate:
      return LOCKSTEP_DATE;
  }
  return static_cast<lockstep_kind>(0);
}
int64_t lockstep_categories(const lockstep_model* model, int64_t column) {
  const TableColumn* const of = ColumnOf(model, column);
  const bool has = of != nullptr && of->kind == TableColumn::Kind::kCategory;
  return has ? static_cast<int64_t>(of->categories.size()) : 0;
}
const char* lockstep_category(const lockstep_model* model, int64_t column, int64_t category) {
  if (category >= lockstep_categories(model, column)) return nullptr;
  return TextOf(&ColumnOf(model, column)->categories, category);
}
int64_t lockstep_answers(const lockstep_model* model) {
  return model == nullptr ? 0 : static_cast<int64_t>(model->answer_names.size());
}
const char* lockstep_answer_name(const lockstep_model* model, int64_t answer) {
  return TextOf(model == nullptr ? nullptr : &model->answer_names, answer);
}

lockstep_code lockstep_predict_row(lockstep_model* model, int64_t cells, const char* const* names,
                                   const char* const* texts, const double* numbers, double* answers,
                                   int64_t* predicted, int64_t* unseen) {
  return On(model, [&] {
    return PredictRow(
        *model, {cells, names, texts, numbers}, answers, predicted, unseen,
        [&](const std::vector<CellValue>& row) { return model->table->Predict(row); });
  });
}

lockstep_code lockstep_worker_predict_row(lockstep_worker* worker, const lockstep_model* model,
                                          int64_t cells, const char* const* names,
                                          const char* const* texts, const double* numbers,
                                          double* answers, int64_t* predicted, int64_t* unseen) {
  if (worker == nullptr) return LOCKSTEP_INVALID;
  return Guarded(worker->error, kErrorSize, [&]() -> Status {
    LOCKSTEP_TRY(Needs(model != nullptr, "model"));
    return PredictRow(*model, {cells, names, texts, numbers}, answers, predicted, unseen,
                      [&](const std::vector<CellValue>& row) {
                        return model->table->Predict(row, worker->shared);
                      });
  });
}

lockstep_code lockstep_explain_row(lockstep_model* model, int64_t cells, const char* const* names,
                                   const char* const* texts, const double* numbers,
                                   double* contributions, double* told, double* usual) {
  return On(model, [&] {
    return ExplainRow(*model, {cells, names, texts, numbers}, contributions, told, usual);
  });
}

}  // extern "C"
