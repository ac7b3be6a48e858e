// Rows of a table as a user has them, to what a user is told: the columns by the description that
// the model brings, through the network, in the target's own unit; and why.
#ifndef LOCKSTEP_ENGINE_TRAIN_TABLE_PREDICTOR_H_
#define LOCKSTEP_ENGINE_TRAIN_TABLE_PREDICTOR_H_

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/borrowed.h"
#include "engine/base/status.h"
#include "engine/data/dataset.h"
#include "engine/data/table/cell_reader.h"
#include "engine/data/table/table_features.h"
#include "engine/data/table/table_rows.h"
#include "engine/train/explain.h"
#include "engine/train/network.h"
#include "engine/train/predictor.h"
#include "engine/train/shared_predictor.h"

namespace lockstep::inline v0_1 {

struct TableAnswer {
  // binary: the probability of the second class; classes: of each; regression: the value in its own
  // unit, or its quantiles in ascending order (ValueNames).
  std::vector<double> numbers{};
  int64_t predicted = -1;  // the class; -1: a regression
};

// Borrows the network, and is as thread-compatible as that. Movable. The const functions touch
// nothing that the others change, nor any of the network's numbers: several threads may read, encode
// and predict by workers of theirs while another trains the network.
class TablePredictor {
 public:
  // `samples` is what the model says of its samples (SavedModel::samples). An error if they are of
  // no table, or the network takes or gives something else.
  static Result<TablePredictor> Make(Network& network, const DatasetInfo& samples,
                                     const Decision& decision = {});

  // At another threshold and temperature from here on.
  void set_decision(const Decision& decision) { predictor_.set_decision(decision); }

  const DatasetInfo& samples() const { return samples_; }
  const TableDescription& table() const { return *samples_.table; }
  // The places in table().columns of those that a row needs, in the order of the file.
  const std::vector<int64_t>& columns() const { return columns_; }
  // "age", or "column 3" where the table had no header.
  std::string NameOf(int64_t column) const { return ColumnName(table(), column); }

  // What a cell of a column holds, numbers being written as in the table trained on. A category
  // that the model does not know is kUnseenCode. An error names the column, the text and what to
  // do.
  Result<CellValue> Read(int64_t column, std::string_view text) const;
  // The same of a number (a date: days since 1970-01-01; yes: 1, no: 0; NaN: missing). An error for
  // categories, and for what no such cell can hold.
  Result<CellValue> Take(int64_t column, double number) const;
  // As a reader of tables writes it: "12.5", "Oslo", "(missing)", "(not seen in training)".
  std::string TextOf(int64_t column, CellValue cell) const;

  // Of each number of an answer: the name of the class, or "value", "low", "high" (ValueNames).
  std::vector<std::string> answer_names() const;
  // A row has a cell for each of columns(); of Predict and Explain another number of cells is an
  // error. REQUIRES: x of samples().x_shape.
  void Encode(std::span<const CellValue> row, float* x) const;
  Result<TableAnswer> Predict(std::span<const CellValue> row);
  // The same by a worker of a SharedPredictor that was made with samples().
  Result<TableAnswer> Predict(std::span<const CellValue> row,
                              SharedPredictor::Worker& worker) const;

  // What a row usually holds: the mean of numbers and dates, the more frequent of yes and no, the
  // most frequent category, over the rows trained on.
  const std::vector<CellValue>& usual() const { return usual_; }
  // Why: what each of columns() contributes, against the usual row (explain.h). What is told is of
  // a regression the value in its own unit, else the log-odds of a class: of the second of two, of
  // the predicted one of several.
  Result<Explanation> Explain(std::span<const CellValue> row, const ExplainOptions& options = {});
  // "value", "log-odds of yes"
  std::string ExplainedName(const TableAnswer& answer) const;

 private:
  TablePredictor(Network& network, const DatasetInfo& samples, Predictor predictor);
  ToldOf Told(int64_t predicted) const;
  // As a table keeps it: most numbers as floats.
  CellValue AsStored(int64_t column, CellValue cell) const;

  Status CheckColumn(int64_t column) const;
  Status CheckRow(std::span<const CellValue> row) const;
  Result<TableAnswer> PredictOn(std::span<const CellValue> row);
  Result<Explanation> ExplainOn(std::span<const CellValue> row, const ExplainOptions& options);

  Borrowed<Network> network_;
  DatasetInfo samples_;
  Predictor predictor_;
  std::shared_ptr<const CellReader> reader_;
  RecordLayout record_;
  std::vector<double> quantiles_;
  std::vector<int64_t> columns_;
  std::vector<ColumnFeatures> features_;  // of each
  std::vector<CellValue> usual_;
  std::vector<float> x_, y_;  // room for one row
};

}  // namespace lockstep

#endif  // LOCKSTEP_ENGINE_TRAIN_TABLE_PREDICTOR_H_
