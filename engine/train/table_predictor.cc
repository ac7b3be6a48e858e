#include "engine/train/table_predictor.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "engine/base/catch.h"
#include "engine/base/check.h"
#include "engine/base/text.h"
#include "engine/data/class_name.h"
#include "engine/data/objective.h"
#include "engine/io/file.h"

namespace lockstep::inline v0_1 {
namespace {

using Kind = TableColumn::Kind;

CellValue UsualCell(const TableColumn& column) {
  if (column.kind == Kind::kYesNo) return {.number = column.fill >= 0.5 ? 1.0 : 0.0};
  if (column.kind != Kind::kCategory) return {.number = column.fill};
  const auto most = std::max_element(column.counts.begin(), column.counts.end());
  return {.code = most == column.counts.end() ? 0 : most - column.counts.begin()};
}

}  // namespace

TablePredictor::TablePredictor(Network& network, const DatasetInfo& samples, Predictor predictor)
    : network_(&network), samples_(samples), predictor_(std::move(predictor)) {
  if (network.loss() != nullptr) {
    const std::span<const double> quantiles = network.loss()->quantiles();
    quantiles_.assign(quantiles.begin(), quantiles.end());
  }
  const FeatureLayout layout = LayoutOf(table());
  features_ = layout.columns;
  std::sort(features_.begin(), features_.end(),
            [](const auto& a, const auto& b) { return a.column < b.column; });
  for (const ColumnFeatures& where : features_) {
    columns_.push_back(where.column);
    usual_.push_back(UsualCell(table().columns[static_cast<size_t>(where.column)]));
  }
  record_ = RecordLayout::Of(table());
  reader_ = std::make_shared<const CellReader>(table(), table().dialect.number);
  x_.resize(static_cast<size_t>(layout.size));
  y_.resize(static_cast<size_t>(network.output_shape().sample_size()));
}

Result<TablePredictor> TablePredictor::Make(Network& network, const DatasetInfo& samples,
                                            const Decision& decision) {
  if (samples.table == nullptr)
    return Status::Invalid("the model was not trained on a table, it has no columns by name");
  const Shape x{LayoutOf(*samples.table).size};
  if (!(network.input_shape().WithBatch(1) == Shape{1, x.size()})) {
    return Status::Invalid("the table gives samples of " + x.ToString() + ", the network takes " +
                           network.input_shape().ToString());
  }
  LOCKSTEP_TRY_ASSIGN(Predictor predictor,
                      Predictor::Make(network, samples, std::nullopt, decision));
  return TablePredictor(network, samples, std::move(predictor));
}

Status TablePredictor::CheckColumn(int64_t column) const {
  if (!network_) return Status::Invalid("this predictor was moved from: use the one it moved to");
  const int64_t columns = std::ssize(table().columns);
  if (column >= 0 && column < columns) return Status::Ok();
  return Status::Invalid("there is no column " + std::to_string(column) + ", the table has " +
                         std::to_string(columns) + " from 0");
}

Status TablePredictor::CheckRow(std::span<const CellValue> row) const {
  if (!network_) return Status::Invalid("this predictor was moved from: use the one it moved to");
  if (row.size() == columns_.size()) return Status::Ok();
  return Status::Invalid("a row has a cell for each of the " + std::to_string(columns_.size()) +
                         " columns(), not " + std::to_string(row.size()));
}

Result<CellValue> TablePredictor::Read(int64_t column, std::string_view text) const {
  LOCKSTEP_TRY(CheckColumn(column));
  Result<CellValue> cell = reader_->Read(static_cast<size_t>(column), text);
  if (!cell.ok()) return cell.status().At(Quoted(NameOf(column)));
  return AsStored(column, *cell);
}

CellValue TablePredictor::AsStored(int64_t column, CellValue cell) const {
  std::vector<std::byte> record(static_cast<size_t>(record_.bytes));
  record_.Put(column, cell, record.data());
  return record_.Get(column, record.data());
}

Result<CellValue> TablePredictor::Take(int64_t column, double number) const {
  LOCKSTEP_TRY(CheckColumn(column));
  const TableColumn& of = table().columns[static_cast<size_t>(column)];
  const std::string name = Quoted(NameOf(column));
  if (of.kind == Kind::kCategory)
    return Status::Invalid(name + " holds categories: give its cell as text");
  if (std::isnan(number)) return Read(column, table().missing.empty() ? "" : table().missing[0]);
  if (of.kind == Kind::kYesNo && number != 0.0 && number != 1.0)
    return Status::Invalid(name + ": yes is 1 and no is 0, not " + lockstep::TextOf(number));
  if (!std::isfinite(number)) return Status::Invalid(name + ": the number is infinite");
  const bool is_time = of.kind == Kind::kDate && of.date == DateForm::kTimeOfDay;
  if (is_time && !(number >= 0.0 && number <= 1.0)) {
    return Status::Invalid(name + ": a time of the day is a part of it from 0 to 1, not " +
                           lockstep::TextOf(number));
  }
  return AsStored(column, {.number = number});
}

std::string TablePredictor::TextOf(int64_t column, CellValue cell) const {
  const TableColumn& of = table().columns[static_cast<size_t>(column)];
  if (of.kind == Kind::kCategory) {
    if (cell.code == kMissingCode) return "(missing)";
    if (cell.code < 0) return "(not seen in training)";
    return of.categories[static_cast<size_t>(cell.code)];
  }
  if (std::isnan(cell.number)) return "(missing)";
  if (of.kind == Kind::kDate && std::abs(cell.number) < 3e6)
    return DateText(cell.number, of.has_time, of.date);
  if (of.kind == Kind::kYesNo && of.categories.size() == 2)
    return of.categories[cell.number > 0.5 ? 1 : 0];
  return of.exact ? lockstep::TextOf(cell.number) : FloatText(static_cast<float>(cell.number));
}

std::vector<std::string> TablePredictor::answer_names() const {
  switch (ObjectiveOf(samples_.task).reading) {
    case Reading::kPositive:
      return {samples_.class_names.back()};
    case Reading::kOneOf:
      return samples_.class_names;
    case Reading::kValues:
      break;
  }
  return ValueNames(quantiles_);
}

void TablePredictor::Encode(std::span<const CellValue> row, float* x) const {
  LOCKSTEP_CHECK_EQ(row.size(), features_.size());
  for (size_t i = 0; i < row.size(); ++i)
    EncodeCell(table().columns[static_cast<size_t>(columns_[i])], features_[i], row[i], x);
}

Result<TableAnswer> TablePredictor::Predict(std::span<const CellValue> row) {
  return StatusOf([&] { return PredictOn(row); });
}

Result<TableAnswer> TablePredictor::PredictOn(std::span<const CellValue> row) {
  LOCKSTEP_TRY(CheckRow(row));
  Encode(row, x_.data());
  LOCKSTEP_TRY(predictor_.Run(ConstTensor(x_.data(), network_->input_shape().WithBatch(1)),
                              Tensor(y_.data(), network_->output_shape().WithBatch(1))));
  TableAnswer answer{.predicted = predictor_.ClassOf(y_)};
  answer.numbers.assign(y_.begin(), y_.end());
  return answer;
}

Result<TableAnswer> TablePredictor::Predict(std::span<const CellValue> row,
                                            SharedPredictor::Worker& worker) const {
  LOCKSTEP_TRY(CheckRow(row));
  std::vector<float> x(x_.size()), y(y_.size());
  Encode(row, x.data());
  LOCKSTEP_TRY(worker.Run(ConstTensor(x.data(), network_->input_shape().WithBatch(1)),
                          Tensor(y.data(), network_->output_shape().WithBatch(1))));
  TableAnswer answer{.predicted = worker.ClassOf(y)};
  answer.numbers.assign(y.begin(), y.end());
  return answer;
}

ToldOf TablePredictor::Told(int64_t predicted) const {
  const double temperature = predictor_.decision().temperature;
  switch (ObjectiveOf(samples_.task).reading) {
    case Reading::kPositive:
      return [temperature](std::span<const float> y) { return y[0] / temperature; };
    case Reading::kOneOf:
      // ln(p / (1 - p)) of a softmax: how far it is above the others' together.
      return [predicted, temperature](std::span<const float> y) {
        double largest = -INFINITY, sum = 0.0;
        for (size_t c = 0; c < y.size(); ++c) {
          if (static_cast<int64_t>(c) != predicted) largest = std::max(largest, y[c] / temperature);
        }
        for (size_t c = 0; c < y.size(); ++c) {
          if (static_cast<int64_t>(c) != predicted) sum += std::exp(y[c] / temperature - largest);
        }
        return y[static_cast<size_t>(predicted)] / temperature - largest - std::log(sum);
      };
    case Reading::kValues:
      break;
  }
  return [this](std::span<const float> y) {
    std::vector<float> sorted(y.begin(), y.end());
    std::sort(sorted.begin(), sorted.end());
    return sorted[PlaceOfMedian(quantiles_)] * samples_.target_scale + samples_.target_offset;
  };
}

Result<Explanation> TablePredictor::Explain(std::span<const CellValue> row,
                                            const ExplainOptions& options) {
  return StatusOf([&] { return ExplainOn(row, options); });
}

Result<Explanation> TablePredictor::ExplainOn(std::span<const CellValue> row,
                                              const ExplainOptions& options) {
  LOCKSTEP_TRY_ASSIGN(const TableAnswer answer, PredictOn(row));
  std::vector<float> baseline(x_.size());
  Encode(usual_, baseline.data());
  std::vector<FeatureColumn> columns;
  for (const ColumnFeatures& where : features_)
    columns.push_back({.name = {}, .begin = where.begin, .end = where.end});
  return lockstep::Explain(*network_, x_, baseline, columns, Told(answer.predicted), options);
}

std::string TablePredictor::ExplainedName(const TableAnswer& answer) const {
  if (answer.predicted < 0) return "value";
  const bool positive = ObjectiveOf(samples_.task).reading == Reading::kPositive;
  return "log-odds of " + ClassNameOf(samples_.class_names, positive ? 1 : answer.predicted);
}

}  // namespace lockstep
