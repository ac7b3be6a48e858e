#include "engine/train/export_table.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <numbers>
#include <string>
#include <utility>
#include <vector>

#include "engine/base/text.h"
#include "engine/data/objective.h"
#include "engine/data/table/table_features.h"

namespace lockstep::inline v0_1 {
namespace {

using OnnxValue = OnnxGraph::Value;

// Columns `places` of x (batch, columns).
OnnxValue Columns(OnnxGraph& graph, const OnnxValue& x, const std::vector<int64_t>& places) {
  const auto count = static_cast<int64_t>(places.size());
  return graph.Add("Gather", {x, graph.AddIntegers("columns", {count}, places)},
                   x.shape.WithChannels(count), {{"axis", int64_t{1}}});
}

OnnxValue SideBySide(OnnxGraph& graph, const std::vector<OnnxValue>& parts) {
  if (parts.size() == 1) return parts[0];
  int64_t columns = 0;
  for (const OnnxValue& part : parts) columns += part.shape.channels();
  return graph.Add("Concat", parts, parts[0].shape.WithChannels(columns), {{"axis", int64_t{1}}});
}

const char* AboutOf(TableColumn::Kind kind) {
  switch (kind) {
    case TableColumn::Kind::kNumber:
      return "a number; NaN: missing";
    case TableColumn::Kind::kYesNo:
      return "1: yes, 0: no, NaN: missing";
    case TableColumn::Kind::kDate:
      return "days since 1970-01-01, a time of the day as a fraction (alone where the column has "
             "no days); NaN: missing";
    case TableColumn::Kind::kCategory:
      return "a category; empty: missing";
  }
  return "";
}

class TableInputs {
 public:
  TableInputs(const TableDescription& table, OnnxGraph& graph) : table_(table), graph_(graph) {}

  OnnxValue Add() {
    const FeatureLayout layout = LayoutOf(table_);
    // In the order of the file, which is not that of the layout.
    std::vector<OnnxValue> inputs(table_.columns.size());
    for (size_t c = 0; c < inputs.size(); ++c) {
      const TableColumn& column = table_.columns[c];
      if (column.role != TableColumn::Role::kFeature) continue;
      const bool text = column.kind == TableColumn::Kind::kCategory;
      inputs[c] =
          graph_.AddInput(ColumnName(table_, static_cast<int64_t>(c)), {1, 1},
                          text ? OnnxType::kString : OnnxType::kDouble, AboutOf(column.kind));
    }
    const OnnxGraph::Scope scope(graph_, "data");
    std::vector<const ColumnFeatures*> numbers, dates;
    for (const ColumnFeatures& where : layout.columns) {
      const TableColumn& column = ColumnOf(where);
      const OnnxValue& input = inputs[static_cast<size_t>(where.column)];
      if (column.kind == TableColumn::Kind::kCategory) {
        AddCategory(column, where, input);
      } else {
        (column.kind == TableColumn::Kind::kDate ? dates : numbers).push_back(&where);
      }
    }
    const auto together = [&](const std::vector<const ColumnFeatures*>& of) {
      std::vector<OnnxValue> values;
      for (const ColumnFeatures* where : of)
        values.push_back(inputs[static_cast<size_t>(where->column)]);
      return SideBySide(graph_, values);
    };
    if (!numbers.empty()) AddScaled(numbers, together(numbers));
    if (!dates.empty()) AddDates(dates, together(dates));
    return InPlace(layout.size);
  }

 private:
  const TableColumn& ColumnOf(const ColumnFeatures& where) const {
    return table_.columns[static_cast<size_t>(where.column)];
  }
  // (1, count) of `of(column)` for each.
  template <class Of>
  OnnxValue Row(const std::string& name, const std::vector<const ColumnFeatures*>& columns,
                const Of& of) {
    std::vector<double> row;
    for (const ColumnFeatures* where : columns) row.push_back(of(ColumnOf(*where)));
    const Shape shape{1, static_cast<int64_t>(row.size())};
    return graph_.AddDoubles(name, shape, std::move(row));
  }
  OnnxValue Number(double value) { return graph_.AddDoubles("constant", {}, {value}); }

  // These columns of numbers belong to these places of x.
  void Put(const OnnxValue& part, const std::vector<int64_t>& places) {
    parts_.push_back(part);
    places_.insert(places_.end(), places.begin(), places.end());
  }

  // (v - subtracted) / divided; a constant column is divided by infinity.
  OnnxValue Scaled(const std::vector<const ColumnFeatures*>& columns, const OnnxValue& v) {
    const OnnxValue centred = graph_.Add(
        "Sub", {v, Row("subtracted", columns, [](const TableColumn& c) { return c.subtracted; })});
    const OnnxValue divided = Row("divided", columns, [](const TableColumn& c) {
      return c.divided == 0.0 ? std::numeric_limits<double>::infinity() : c.divided;
    });
    return graph_.Cast(graph_.Add("Div", {centred, divided}), OnnxType::kFloat);
  }

  // The first number of each column, and what says that it was missing. Returns which were, where
  // any may be.
  OnnxValue AddScaled(const std::vector<const ColumnFeatures*>& columns, OnnxValue v) {
    std::vector<int64_t> places, indicated, indicators;
    for (size_t i = 0; i < columns.size(); ++i) {
      places.push_back(columns[i]->begin);
      if (!ColumnOf(*columns[i]).indicate) continue;
      indicated.push_back(static_cast<int64_t>(i));
      indicators.push_back(columns[i]->end - 1);
    }
    OnnxValue missing;
    if (!table_.missing_is_error) {
      missing = graph_.Add("IsNaN", {v});
      const OnnxValue fill = Row("fill", columns, [](const TableColumn& c) { return c.fill; });
      v = graph_.Add("Where", {missing, fill, v}, v.shape);
    }
    Put(Scaled(columns, v), places);
    if (!indicated.empty() && missing.name.empty()) missing = graph_.Add("IsNaN", {v});
    if (!indicated.empty())
      Put(graph_.Cast(Columns(graph_, missing, indicated), OnnxType::kFloat), indicators);
    return missing;
  }

  void AddDates(const std::vector<const ColumnFeatures*>& columns, const OnnxValue& v) {
    const OnnxValue missing = AddScaled(columns, v);
    for (const DateCycle& of : DateCycles()) {
      std::vector<int64_t> which, sines, cosines;
      for (size_t i = 0; i < columns.size(); ++i) {
        int64_t sine = columns[i]->begin + 1;
        for (const DateCycle& cycle : CyclesOf(ColumnOf(*columns[i]))) {
          if (&cycle == &of) {
            which.push_back(static_cast<int64_t>(i));
            sines.push_back(sine);
            cosines.push_back(sine + 1);
          }
          sine += 2;
        }
      }
      if (which.empty()) continue;
      const OnnxValue days = Columns(graph_, v, which);
      const OnnxValue turns =
          graph_.Add("Div", {graph_.Add("Add", {days, Number(of.shift)}), Number(of.length)});
      const OnnxValue phase = graph_.Add("Sub", {turns, graph_.Add("Floor", {turns})});
      const OnnxValue angle =
          graph_.Cast(graph_.Add("Mul", {phase, Number(2.0 * std::numbers::pi)}), OnnxType::kFloat);
      const auto put = [&](const char* op, const std::vector<int64_t>& places) {
        OnnxValue wave = graph_.Add(op, {angle});
        if (!missing.name.empty()) {
          const OnnxValue none = Columns(graph_, missing, which);
          wave = graph_.Add("Where", {none, graph_.Scalar(0.0), wave}, wave.shape);
        }
        Put(wave, places);
      };
      put("Sin", sines);
      put("Cos", cosines);
    }
  }

  // A number for each text, and what EncodeCell writes for each number.
  void AddCategory(const TableColumn& column, const ColumnFeatures& where, const OnnxValue& input) {
    const int64_t width = where.end - where.begin;
    const auto missing = static_cast<int64_t>(column.categories.size()), unseen = missing + 1;
    std::map<std::string, int64_t> numbers = {{"", missing}};
    for (const std::string& text : table_.missing) numbers[text] = missing;
    std::vector<float> encoded(static_cast<size_t>((unseen + 1) * width));
    ColumnFeatures alone = where;  // as if a sample were nothing but this column
    alone.begin = 0;
    alone.end = width;
    for (int64_t code = 0; code <= unseen; ++code) {
      const bool category = code < missing;
      const CellValue cell{.code = category ? code : code == missing ? kMissingCode : kUnseenCode};
      EncodeCell(column, alone, cell, encoded.data() + code * width);
      if (category) numbers.emplace(column.categories[static_cast<size_t>(code)], code);
    }
    std::vector<std::string> keys;
    std::vector<int64_t> values;
    for (const auto& [text, number] : numbers) keys.push_back(text), values.push_back(number);
    const OnnxValue code = graph_.AddClassical("LabelEncoder", {input}, input.shape,
                                               {{"keys_strings", std::move(keys)},
                                                {"values_int64s", std::move(values)},
                                                {"default_int64", unseen}});
    const OnnxValue rows = graph_.AddConstant("encoded", {unseen + 1, width}, std::move(encoded));
    std::vector<int64_t> places;
    for (int64_t i = where.begin; i < where.end; ++i) places.push_back(i);
    Put(graph_.Reshape(graph_.Add("Gather", {rows, code}, {1, 1, width}), {1, width}), places);
  }

  // x (batch, size), whose numbers are among the parts.
  OnnxValue InPlace(int64_t size) {
    const OnnxValue all = SideBySide(graph_, parts_);
    std::vector<int64_t> from(static_cast<size_t>(size));
    for (size_t i = 0; i < places_.size(); ++i)
      from[static_cast<size_t>(places_[i])] = static_cast<int64_t>(i);
    return std::is_sorted(from.begin(), from.end()) ? all : Columns(graph_, all, from);
  }

  const TableDescription& table_;
  OnnxGraph& graph_;
  std::vector<OnnxValue> parts_;
  std::vector<int64_t> places_;  // in x, of each column of the parts
};

// Columns of x (batch, columns) of one target, in ascending order: neighbours change places.
std::vector<OnnxValue> Sorted(OnnxGraph& graph, const OnnxValue& x) {
  std::vector<OnnxValue> columns;
  for (int64_t i = 0; i < x.shape.channels(); ++i) columns.push_back(Columns(graph, x, {i}));
  for (size_t end = columns.size(); end > 1; --end) {
    for (size_t i = 0; i + 1 < end; ++i) {
      const OnnxValue low = graph.Add("Min", {columns[i], columns[i + 1]});
      columns[i + 1] = graph.Add("Max", {columns[i], columns[i + 1]});
      columns[i] = low;
    }
  }
  return columns;
}

OnnxValue AtTemperature(const Decision& decision, const OnnxValue& y, OnnxGraph& graph) {
  if (decision.temperature == 1.0f) return y;
  return graph.Add("Div", {y, graph.Scalar(decision.temperature)});
}

// Of numbers of classes (batch), their names.
OnnxValue ClassName(OnnxGraph& graph, const DatasetInfo& samples, const OnnxValue& number) {
  const auto count = static_cast<int64_t>(samples.class_names.size());
  const OnnxValue names = graph.AddTexts("classes", {count}, samples.class_names);
  return graph.Add("Gather", {names, number}, Shape{1});
}

}  // namespace

OnnxGraph::Value AddTableInputs(const TableDescription& table, OnnxGraph& graph) {
  return TableInputs(table, graph).Add();
}

void AddTableOutputs(const DatasetInfo& samples, const Decision& decision,
                     std::span<const double> quantiles, const OnnxGraph::Value& y,
                     OnnxGraph& graph) {
  switch (ObjectiveOf(samples.task).reading) {
    case Reading::kPositive: {
      const OnnxValue p = graph.Add("Sigmoid", {AtTemperature(decision, y, graph)});
      const OnnxValue is_positive = graph.Add("Greater", {p, graph.Scalar(decision.threshold)});
      const OnnxValue number = graph.Reshape(graph.Cast(is_positive, OnnxType::kInt64), {1});
      const OnnxValue name = ClassName(graph, samples, number);
      graph.AddOutput(p, "probability", OnnxType::kFloat, "of class " + samples.class_names.back());
      graph.AddOutput(name, "class", OnnxType::kString,
                      "the second where its probability is above " + FloatText(decision.threshold));
      return;
    }
    case Reading::kOneOf: {
      const OnnxValue p =
          graph.Add("Softmax", {AtTemperature(decision, y, graph)}, {{"axis", int64_t{-1}}});
      const OnnxValue number =
          graph.Add("ArgMax", {p}, {1}, {{"axis", int64_t{1}}, {"keepdims", int64_t{0}}});
      const OnnxValue name = ClassName(graph, samples, number);
      graph.AddOutput(p, "probabilities", OnnxType::kFloat, "of each class");
      graph.AddOutput(name, "class", OnnxType::kString, "the likeliest one");
      return;
    }
    case Reading::kValues: {
      const std::vector<std::string> names = ValueNames(quantiles);
      std::vector<OnnxValue> values = quantiles.size() > 1 ? Sorted(graph, y) : std::vector{y};
      const OnnxValue scale = graph.AddDoubles("scale", {}, {samples.target_scale});
      const OnnxValue offset = graph.AddDoubles("offset", {}, {samples.target_offset});
      for (OnnxValue& value : values) {
        const OnnxValue exact = graph.Cast(value, OnnxType::kDouble);
        value = graph.Add("Add", {graph.Add("Mul", {exact, scale}), offset});
      }
      for (size_t i = 0; i < values.size(); ++i)
        graph.AddOutput(values[i], names[i], OnnxType::kDouble, "in the unit of the target");
      return;
    }
  }
}

}  // namespace lockstep
