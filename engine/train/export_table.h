// The two ends of an exported network that takes the rows of a table as they are: in front of it
// what TableSamples does, behind it what a user is told.
//
// Inputs, each (batch, 1), are named by the columns, in the order of the file:
//
//   number     double; NaN: missing
//   yes/no     double: 1 for yes, 0 for no, NaN: missing
//   date       double: days since 1970-01-01, a time of the day as a fraction; NaN: missing
//   category   string, without blanks around it; "", or a text that stands for a missing value:
//              missing
//
// Outputs:
//
//   binary      "probability" float (batch, 1), of the second class; "class" string (batch)
//   classes     "probabilities" float (batch, classes); "class" string (batch)
//   regression  "value" double (batch, 1), in its own unit; of quantiles the median, and the others
//               by the names that ValueNames gives
//
// A column, or an output, whose name was there before has a number behind it: "class_2".
#ifndef LOCKSTEP_ENGINE_TRAIN_EXPORT_TABLE_H_
#define LOCKSTEP_ENGINE_TRAIN_EXPORT_TABLE_H_

#include <span>

#include "engine/base/status.h"
#include "engine/data/dataset.h"
#include "engine/data/table/table_description.h"
#include "engine/plan/onnx_graph.h"
#include "engine/train/decision.h"

namespace lockstep::inline v0_1 {

// x of the inputs that it adds, as EncodeCell gives it. A missing number where the table trained on
// had none, which predictions refuse, becomes NaN.
OnnxGraph::Value AddTableInputs(const TableDescription& table, OnnxGraph& graph);

// Adds the outputs, given the network's y. `quantiles`: Loss::quantiles().
void AddTableOutputs(const DatasetInfo& samples, const Decision& decision,
                     std::span<const double> quantiles, const OnnxGraph::Value& y,
                     OnnxGraph& graph);

}  // namespace lockstep

#endif  // LOCKSTEP_ENGINE_TRAIN_EXPORT_TABLE_H_
