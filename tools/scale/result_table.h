// A ScaleResult as a terminal shows it.
#ifndef LOCKSTEP_TOOLS_SCALE_RESULT_TABLE_H_
#define LOCKSTEP_TOOLS_SCALE_RESULT_TABLE_H_

#include <string>
#include <vector>

#include "tools/scale/scale_result.h"

namespace lockstep::inline v0_1::scale {

// Curves with their fits, layers beside their bounds, what is predicted, what was measured on, and
// what the reader must know.
std::string TableText(const ScaleResult& result);

// The cells of one curve, layer table and prediction; the first row is the header.
std::vector<std::vector<std::string>> CurveRows(const ScaleResult& result, const Curve& curve);
std::vector<std::vector<std::string>> LayerRows(const LayerTable& table);
std::vector<std::vector<std::string>> PredictionRows(const std::vector<PredictedPoint>& points);

// "Amdahl: ...", or that there are not enough points.
std::string FitSentence(const Curve& curve);
// What a prediction was made from, and how far it was off where it could be checked.
std::vector<std::string> PredictionSentences(const Prediction& prediction);
// "conv1 Conv", "loss".
std::string LayerName(const LayerShare& layer);

}  // namespace lockstep::scale

#endif  // LOCKSTEP_TOOLS_SCALE_RESULT_TABLE_H_
