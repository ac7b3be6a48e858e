#include "models/recipe_split.h"

#include <algorithm>
#include <charconv>
#include <utility>

#include "engine/data/class_name.h"
#include "engine/data/folds.h"
#include "engine/data/repeated_rows.h"
#include "models/recipe_keys.h"

namespace lockstep::inline v0_1 {
namespace {

enum class SplitKind { kRandom, kTime };
constexpr Choice<SplitKind> kSplits[] = {{"random", SplitKind::kRandom},
                                         {"time", SplitKind::kTime}};

Share ShareOf(double fraction) {
  return fraction > 0.0 ? Share::Fraction(fraction) : Share::Count(0);
}

// The keys that the error of a split is about.
std::string WhereOf(const SplitKeys& keys, const Recipe::Data& data) {
  if (data.folds > 0) return "data.folds = " + std::to_string(data.folds);
  if (!keys.times.empty()) return "data.time = \"" + data.time + "\"";
  if (!keys.groups.empty()) return "data.group = \"" + data.group + "\"";
  return "data.validation, data.test";
}

// Enough digits to read.
std::string Shown(double value) {
  char text[32];
  const auto end =
      std::to_chars(text, text + sizeof(text), value, std::chars_format::general, 4).ptr;
  return std::string(text, end);
}

std::string Counted(int64_t count, const std::string& what) {
  return std::to_string(count) + " " + what + (count == 1 ? "" : "s");
}

// " (row 5 is training row 17, ...)"
std::string Examples(const RepeatedRows& rows) {
  std::string text;
  for (const auto& [sample, trained] : rows.examples) {
    text += (text.empty() ? " (row " : ", row ") + std::to_string(sample + 1) +
            " is training row " + std::to_string(trained + 1);
  }
  if (rows.found > std::ssize(rows.examples)) text += ", ...";
  return text + ")";
}

// Sequences have classes, but none of their own.
bool HaveClassEach(const DatasetInfo& info) {
  const bool sequences = info.task == Task::kClasses && info.target_shape.rank() > 0;
  return !sequences && ClassCount(info) > 0;
}

}  // namespace

KeyLimits SplitKinds() { return OneOf(kSplits); }

Result<SplitKeys> ClassKeys(const Dataset& dataset) {
  SplitKeys keys;
  if (!HaveClassEach(dataset.info())) return keys;
  LOCKSTEP_TRY_ASSIGN(keys.classes, ClassLabels(dataset));
  return keys;
}

Result<std::vector<int64_t>> ClassCounts(const Subset& samples) {
  const DatasetInfo& info = samples.dataset->info();
  std::vector<int64_t> counts;
  if (!HaveClassEach(info)) return counts;
  counts.resize(static_cast<size_t>(ClassCount(info)));
  LOCKSTEP_TRY_ASSIGN(const std::vector<int32_t> labels,
                      ClassLabels(*samples.dataset, samples.indices));
  for (const int32_t label : labels) {
    if (label >= 0) ++counts[static_cast<size_t>(label)];
  }
  return counts;
}

Status CheckSplitKind(const Recipe::Data& data, bool in_order, const SplitKeys& keys) {
  LOCKSTEP_TRY_ASSIGN(const SplitKind kind, Chosen("data.split", kSplits, data.split));
  const std::string of_kind = "data.kind = \"" + data.kind + "\"";
  if (data.folds == 1) return Status::Invalid("data.folds must be 2 or more (or 0: none), not 1");
  if (in_order && data.folds > 0) {
    return Status::Invalid("data.folds: samples of " + of_kind +
                           " follow each other and are not dealt out to folds; leave it at 0");
  }
  if (in_order) return Status::Ok();
  if (kind == SplitKind::kTime && data.time.empty()) {
    return Status::Invalid(
        "data.split = \"time\" needs data.time, a column of dates or numbers: data.time=admitted");
  }
  if (kind == SplitKind::kTime && !data.group.empty()) {
    return Status::Invalid(
        "data.split = \"time\" and data.group: rows are split by time or by group; leave one out");
  }
  if (kind == SplitKind::kTime && keys.times.empty())
    return Status::Invalid("data.split = \"time\": samples of " + of_kind + " have no times");
  if (!data.group.empty() && keys.groups.empty())
    return Status::Invalid("data.group: samples of " + of_kind + " have no groups; leave it out");
  return Status::Ok();
}

Status CheckFolds(const Recipe::Data& data, const DatasetInfo& info) {
  // A class is a number, or a probability for each there is.
  const int64_t of_one = info.target_dtype == DType::kI32 ? 0 : 1;
  if (data.folds == 0 || info.target_shape.rank() <= of_one) return Status::Ok();
  return Status::Invalid("data.folds: samples of data.kind = \"" + data.kind +
                         "\" have several answers each, which are not put together over folds; "
                         "leave it at 0");
}

std::vector<std::string> FoldRemarks(const Recipe::Data& data, bool has_test) {
  std::vector<std::string> remarks;
  const std::string key = "data.folds = " + std::to_string(data.folds);
  if (data.folds > 0 && has_test)
    remarks.push_back(key + ": a fold is tested on, and the test set of its own is not used");
  if (data.folds > 0 && data.fold == 0)
    remarks.push_back(key + ": here fold 1 stands for all; data.fold = 2 says another");
  return remarks;
}

Result<Splits> SplitSamples(int64_t size, const SplitKeys& keys, const Recipe::Data& data,
                            bool has_test) {
  const auto seed = static_cast<uint64_t>(data.split_seed);
  const Share validation = ShareOf(data.validation);
  if (data.folds > 0) {
    return Under(WhereOf(keys, data), FoldSplit(size, keys,
                                                {.folds = data.folds,
                                                 .fold = std::max<int64_t>(1, data.fold),
                                                 .validation = validation,
                                                 .seed = seed}));
  }
  return Under(WhereOf(keys, data),
               SplitBy(size, keys,
                       {.validation = validation,
                        .test = has_test ? Share::Count(0) : ShareOf(data.test),
                        .seed = seed}));
}

Result<std::vector<std::string>> RepeatedRowRemarks(const RecipeData& data) {
  std::vector<std::string> remarks;
  const DatasetInfo& info = data.train.dataset->info();
  if (info.x_dtype != DType::kF32 || info.x_shape.rank() != 1 || data.train.empty()) return remarks;
  LOCKSTEP_TRY_ASSIGN(const RowFinder trained,
                      RowFinder::Make(data.train_unchanged.dataset, data.train_unchanged.indices));
  const std::string of_sample =
      trained.complete() ? "" : " (looked for among " + Counted(trained.samples(), "row") + ")";
  const bool classes = ClassCount(info) > 0;
  const std::pair<const char*, const Subset*> held_back[] = {{"test", &data.test},
                                                             {"validation", &data.validation}};
  for (const auto& [name, subset] : held_back) {
    if (subset->empty()) continue;
    LOCKSTEP_TRY_ASSIGN(const RepeatedRows rows, trained.Find(*subset->dataset, subset->indices));
    if (rows.found == 0) continue;
    std::string text = std::to_string(rows.found) + " of " +
                       Counted(rows.of, name + std::string(" row")) +
                       " also stand in the training data" + of_sample + Examples(rows);
    if (classes && rows.contradicts > 0)
      text += "; " + std::to_string(rows.contradicts) + " of them with another label";
    remarks.push_back(std::move(text));
  }
  if (!classes) return remarks;
  LOCKSTEP_TRY_ASSIGN(const RepeatedRows among, trained.FindAmongThem());
  if (among.contradicts > 0) {
    remarks.push_back(std::to_string(among.contradicts) + " of " +
                      Counted(among.of, "training row") +
                      " have the features of an earlier one and another label" +
                      Examples({.found = among.contradicts, .examples = among.examples}));
  }
  return remarks;
}

Result<std::string> BalanceClasses(const RecipeData& data, Recipe::Loss& loss) {
  if (!loss.balanced) return std::string();
  const Subset& train = data.train_unchanged;
  const DatasetInfo& info = train.dataset->info();
  LOCKSTEP_TRY_ASSIGN(const std::vector<int64_t> counts, ClassCounts(train));
  if (counts.empty()) {
    return Status::Invalid("loss.balanced is for samples with a class each; " + info.name +
                           " has none: leave it at false");
  }
  const auto name = [&](size_t c) {
    const std::string its = ClassNameOf(info.class_names, static_cast<int64_t>(c));
    return info.class_names.empty() ? its : "\"" + its + "\"";
  };
  int64_t all = 0;
  for (size_t c = 0; c < counts.size(); ++c) {
    all += counts[c];
    if (counts[c] > 0) continue;
    return Status::Invalid(
        "loss.balanced: class " + name(c) +
        " has no training sample to weigh; leave it at false, or hold back less");
  }
  const std::vector<double> before = loss.class_weights;
  const double positive_before = loss.pos_weight;
  std::string text = "loss.balanced: ";
  std::string given;
  if (info.task == Task::kBinary) {
    loss.pos_weight = static_cast<double>(counts[0]) / static_cast<double>(counts[1]);
    text += "loss.pos_weight = " + Shown(loss.pos_weight) + ", for " + std::to_string(counts[1]) +
            " training samples of " + name(1) + " and " + std::to_string(counts[0]) + " of " +
            name(0);
    if (positive_before != 1.0 && positive_before != loss.pos_weight)
      given = "loss.pos_weight = " + Shown(positive_before);
  } else {
    loss.class_weights.clear();
    for (const int64_t count : counts) {
      loss.class_weights.push_back(static_cast<double>(all) /
                                   static_cast<double>(std::ssize(counts) * count));
    }
    constexpr size_t kShown = 10;
    text += "loss.class_weights are ";
    for (size_t c = 0; c < std::min(counts.size(), kShown); ++c) {
      text += (c > 0 ? ", " : "") + Shown(loss.class_weights[c]) + " (" + name(c) + ", " +
              Counted(counts[c], "training sample") + ")";
    }
    if (counts.size() > kShown) text += ", ...";
    if (!before.empty() && before != loss.class_weights) given = "loss.class_weights";
  }
  return given.empty() ? text : text + "; that replaces the " + given + " of the recipe";
}

}  // namespace lockstep
