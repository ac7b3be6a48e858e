#include "models/recipe_decision.h"

#include <algorithm>
#include <cstdio>
#include <utility>

#include "engine/base/text.h"
#include "engine/train/assess/calibration.h"
#include "engine/train/assess/predictions.h"
#include "engine/train/assess/threshold.h"
#include "models/recipe_keys.h"
#include "models/recipe_split.h"

namespace lockstep::inline v0_1 {
namespace {

constexpr Choice<ThresholdRule> kRules[] = {{"half", ThresholdRule::kHalf},
                                            {"youden", ThresholdRule::kYouden},
                                            {"cost", ThresholdRule::kCost},
                                            {"recall", ThresholdRule::kRecall}};
constexpr Choice<bool> kCalibrations[] = {{"none", false}, {"temperature", true}};
// More say no more of one number.
constexpr int64_t kMostSamples = 200000;

template <class... Arguments>
std::string Text(const char* format, Arguments... arguments) {
  char text[160];
  std::snprintf(text, sizeof text, format, arguments...);
  return text;
}

struct Asked {
  ThresholdOptions threshold;
  bool calibrate = false;
};
Result<Asked> AskedBy(const Recipe& recipe) {
  const Recipe::Train& train = recipe.train;
  Asked asked;
  LOCKSTEP_TRY_ASSIGN(asked.threshold.rule, Chosen("train.threshold", kRules, train.threshold));
  LOCKSTEP_TRY_ASSIGN(asked.calibrate, Chosen("train.calibrate", kCalibrations, train.calibrate));
  asked.threshold.false_negative_cost = train.false_negative_cost;
  asked.threshold.recall = train.recall;
  return asked;
}

// The keys that ask, as they stand in the recipe: "train.threshold = youden".
std::string KeysOf(const Recipe& recipe) {
  std::string text;
  if (recipe.train.threshold != kRules[0].name)
    text = "train.threshold = " + recipe.train.threshold;
  if (recipe.train.calibrate != kCalibrations[0].name)
    text += (text.empty() ? "" : " and ") + ("train.calibrate = " + recipe.train.calibrate);
  return text;
}

double Percent(int64_t part, int64_t whole) {
  return whole == 0 ? 0.0 : 100.0 * static_cast<double>(part) / static_cast<double>(whole);
}

}  // namespace

KeyLimits Thresholds() { return OneOf(kRules); }
KeyLimits Calibrations() { return OneOf(kCalibrations); }

const std::vector<Subgroup>& SubgroupsOf(const RecipeData& data, const Subset& subset) {
  return subset.dataset == data.train.dataset ? data.subgroups : data.test_subgroups;
}

bool AsksForDecision(const Recipe& recipe) { return !KeysOf(recipe).empty(); }

Status CheckDecision(const Recipe& recipe, const Subset& validation) {
  LOCKSTEP_TRY_ASSIGN(const Asked asked, AskedBy(recipe));
  const std::string keys = KeysOf(recipe);
  if (keys.empty()) return Status::Ok();
  if (validation.empty()) {
    return Status::Invalid(keys +
                           ": it is found on the validation samples, and there are none; hold some "
                           "back with data.validation = 0.15");
  }
  const DatasetInfo& info = validation.dataset->info();
  const Reading reading = ObjectiveOf(info.task).reading;
  if (asked.calibrate &&
      (reading == Reading::kValues || (reading == Reading::kOneOf && info.target_shape.rank() > 0 &&
                                       info.target_dtype == DType::kI32))) {
    return Status::Invalid("train.calibrate = " + recipe.train.calibrate +
                           " is for models that tell the class of a sample, and this one tells " +
                           (reading == Reading::kValues ? "numbers" : "a class for each position") +
                           "; use train.calibrate = none");
  }
  if (asked.threshold.rule == ThresholdRule::kHalf) return Status::Ok();
  if (reading != Reading::kPositive) {
    return Status::Invalid("train.threshold = " + recipe.train.threshold +
                           " is for a binary task, and the data have " +
                           ObjectiveOf(info.task).targets + "; use train.threshold = half");
  }
  LOCKSTEP_TRY_ASSIGN(const std::vector<int64_t> counts, ClassCounts(validation));
  if (std::count(counts.begin(), counts.end(), 0) == 0) return Status::Ok();
  return Status::Invalid("train.threshold = " + recipe.train.threshold +
                         ": it is chosen between the two classes on the validation samples, and "
                         "all " +
                         std::to_string(validation.indices.size()) + " of them are " +
                         (counts[1] == 0 ? "negative" : "positive") +
                         "; hold more back with data.validation, or use train.threshold = half");
}

Status CheckSubgroups(const Recipe& recipe, const RecipeData& data) {
  if (recipe.data.subgroups.empty() || !data.subgroups.empty()) return Status::Ok();
  return Status::Invalid("data.subgroups = [" + Quoted(recipe.data.subgroups[0]) +
                         "] names columns of a table, which data.kind = " + recipe.data.kind +
                         " has none of; leave it out");
}

Result<FoundDecision> FindDecision(const Recipe& recipe, Network& network,
                                   const Subset& validation) {
  FoundDecision found;
  if (!AsksForDecision(recipe)) return found;
  LOCKSTEP_TRY_ASSIGN(const Asked asked, AskedBy(recipe));
  LOCKSTEP_TRY_ASSIGN(const Predictions predictions,
                      Collect(network, DrawSamples(validation, kMostSamples)));
  const std::string samples = std::to_string(predictions.samples()) + " validation samples";
  if (asked.calibrate) {
    if (const std::optional<float> temperature = FitTemperature(predictions)) {
      found.decision.temperature = *temperature;
      found.remarks.push_back(Text("temperature %.4f, found on ", *temperature) + samples +
                              Text(": log loss %.4f there instead of %.4f",
                                   LogLoss(predictions, *temperature), LogLoss(predictions, 1.0)));
    } else {
      found.remarks.push_back(
          "train.calibrate = temperature: the " + samples +
          " have no best temperature (all are told rightly, or worse than by guessing), so that "
          "probabilities stay as they are");
    }
  }
  if (asked.threshold.rule == ThresholdRule::kHalf) return found;
  const std::vector<float> p = predictions.Probabilities(found.decision.temperature);
  LOCKSTEP_TRY_ASSIGN(found.decision.threshold,
                      ChooseThreshold(p, predictions.truths, asked.threshold));
  const Outcome outcome = OutcomeAt(p, predictions.truths, found.decision.threshold);
  const int64_t positives = outcome.true_positives + outcome.false_negatives;
  const int64_t negatives = outcome.true_negatives + outcome.false_positives;
  found.remarks.push_back(Text("threshold %.4g, chosen by %s on ", found.decision.threshold,
                               recipe.train.threshold.c_str()) +
                          samples +
                          Text(": recall %.1f %%, specificity %.1f %% there",
                               Percent(outcome.true_positives, positives),
                               Percent(outcome.true_negatives, negatives)));
  return found;
}

}  // namespace lockstep
