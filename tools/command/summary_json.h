// Parts of a run's summary.json.
#ifndef LOCKSTEP_TOOLS_COMMAND_SUMMARY_JSON_H_
#define LOCKSTEP_TOOLS_COMMAND_SUMMARY_JSON_H_

#include <nlohmann/json.hpp>

#include "engine/train/evaluate.h"
#include "engine/train/gradient_exchange.h"
#include "engine/train/trainer.h"
#include "tools/command/ranks.h"

namespace lockstep::inline v0_1::tools {

// The number of samples and the metrics that there are.
nlohmann::ordered_json MetricsJson(const EvaluationResult& result);
// That, and the confusion of up to 100 classes.
nlohmann::ordered_json JsonOf(const EvaluationResult& result);
// Where the time of several ranks went; of the last step, how far the gradients had come while the
// backward pass still ran.
nlohmann::ordered_json JsonOf(const TrainingSummary& summary, const GradientExchange& exchange,
                              Ranks& ranks);

}  // namespace lockstep::tools

#endif  // LOCKSTEP_TOOLS_COMMAND_SUMMARY_JSON_H_
