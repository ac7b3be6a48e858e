#include "tools/command/resume.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <iterator>
#include <nlohmann/json.hpp>
#include <optional>
#include <string_view>

#include "engine/io/file.h"
#include "engine/train/checkpointing.h"
#include "engine/train/sample_description.h"

namespace lockstep::inline v0_1::tools {
namespace {

constexpr const char* kNotFinite = "not finite";

bool IsOneOf(std::string_view key, std::span<const std::string_view> keys) {
  return std::find(keys.begin(), keys.end(), key) != keys.end();
}

bool ChangesLengthOnly(std::string_view key) {
  constexpr std::string_view kKeys[] = {"train.epochs", "train.patience", "train.evaluate_every"};
  return IsOneOf(key, kKeys);
}

bool MayChange(std::string_view key) {
  constexpr std::string_view kKeys[] = {
      "optimizer.learning_rate", "optimizer.weight_decay", "optimizer.clip_norm",
      // What is done with the weights once they are found.
      "train.calibrate", "train.threshold", "train.false_negative_cost", "train.recall",
      "data.subgroups"};
  return ChangesNoBit(key) || ChangesLengthOnly(key) || key.starts_with("schedule.") ||
         IsOneOf(key, kKeys);
}

struct Mark {
  int64_t step = 0;
  std::string error{};
  Recipe recipe{};  // that led there
};

// Empty where the run is not marked, or its summary is not one of ours.
std::optional<Mark> ReadMark(const RunFolder& folder) {
  const Result<std::string> text = ReadFile(folder.summary(), int64_t{1} << 24);
  if (!text.ok()) return std::nullopt;
  const nlohmann::json json = nlohmann::json::parse(*text, nullptr, /*allow_exceptions=*/false);
  const auto has = [&](const char* key, auto is) {
    return json.is_object() && json.contains(key) && (json.at(key).*is)();
  };
  using Json = nlohmann::json;
  if (!has("status", &Json::is_string) || json.at("status") != kNotFinite ||
      !has("error", &Json::is_string) || !has("recipe", &Json::is_string) ||
      !has("steps", &Json::is_number_integer)) {
    return std::nullopt;
  }
  Result<Recipe> recipe = ParseRecipe(json.at("recipe").get<std::string>(), folder.summary());
  if (!recipe.ok()) return std::nullopt;
  return Mark{.step = json.at("steps").get<int64_t>(),
              .error = json.at("error").get<std::string>(),
              .recipe = std::move(*recipe)};
}

}  // namespace

bool ChangesNoBit(std::string_view key) {
  constexpr std::string_view kKeys[] = {"train.threads",  "train.give_up_after", "data.path",
                                        "data.test_path", "data.label_path",     "data.cache_mb",
                                        "data.prefetch",  "model.weights"};
  return key.starts_with("output.") || IsOneOf(key, kKeys);
}

Result<std::vector<std::string>> ChangesSince(const Recipe& before, const Recipe& now,
                                              const RunFolder& folder) {
  std::vector<std::string> changes;
  for (const RecipeDifference& one : Differences(before, now)) {
    if (one.key == "output.folder") continue;  // it may have been moved
    if (!MayChange(one.key)) {
      return Status::Invalid(folder.recipe() + ": " + one.key + " is " + one.right +
                             ", the run began with " + one.left +
                             ": put that back, or start a new run");
    }
    changes.push_back(one.key + " " + one.left + " -> " + one.right);
  }
  return changes;
}

Status CheckSameData(const RunFolder& folder, const RecipeData& data, const Checkpoint& last) {
  // A class folder that was renamed can change places with another one: its number would then mean
  // another class to the network.
  const DatasetInfo& info = data.train.dataset->info();
  for (const auto& [key, now] : MetadataOf(info)) {
    // Names of features and classes, and the content of the data, say it in fewer words.
    if (key == kTableMetadata) continue;
    const auto saved = last.meta.find(key);
    if (saved == last.meta.end() || saved->second == now) continue;
    return Status::Invalid(folder.path + ": the data are not those the run began with: " + key +
                           " of " + info.name + " is " + Quoted(now) + ", it was " +
                           Quoted(saved->second) + "; put that back, or start a new run");
  }
  LOCKSTEP_TRY_ASSIGN(const std::optional<Standardizer> standardizer, ReadStandardizer(last));
  if (standardizer && data.standardizer &&
      (standardizer->mean() != data.standardizer->mean() ||
       standardizer->sd() != data.standardizer->sd())) {
    return Status::Invalid(folder.path + ": the data are not those the run began with (" +
                           data.train.dataset->info().name + "): start a new run");
  }
  return Status::Ok();
}

Status MarkNotFinite(const RunFolder& folder, const Recipe& recipe, int64_t step,
                     const Status& why) {
  nlohmann::ordered_json json;
  json["status"] = kNotFinite;
  json["steps"] = step;
  json["error"] = why.message();
  json["recipe"] = PrintRecipe(recipe);
  using Json = nlohmann::ordered_json;
  return WriteFileAtomically(folder.summary(),
                             json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n");
}

Status CheckMayGoOn(const RunFolder& folder, const Recipe& recipe,
                    std::span<const std::string> overrides) {
  const std::optional<Mark> mark = ReadMark(folder);
  if (!mark) return Status::Ok();
  for (const std::string& one : overrides) {
    if (one.starts_with("optimizer.")) return Status::Ok();
  }
  for (const RecipeDifference& one : Differences(mark->recipe, recipe)) {
    const bool other_data = one.key == "data.path";
    if (other_data || !(ChangesNoBit(one.key) || ChangesLengthOnly(one.key))) return Status::Ok();
  }
  return Status::NonFinite(folder.path + " ended at step " + std::to_string(mark->step) + " (" +
                           mark->error + ") and would end so again; " +
                           ResumeSlowerCommand(folder, recipe) + " goes on at a lower rate");
}

Status RemoveMark(const RunFolder& folder) {
  if (!IsMarkedNotFinite(folder)) return Status::Ok();
  std::error_code error;
  if (!std::filesystem::remove(folder.summary(), error) && error)
    return FileError(folder.summary(), "remove", error.value());
  return Status::Ok();
}

bool IsMarkedNotFinite(const RunFolder& folder) { return ReadMark(folder).has_value(); }

std::string ResumeCommand(const RunFolder& folder) {
  return "lockstep train --resume " + folder.path;
}

std::string ResumeSlowerCommand(const RunFolder& folder, const Recipe& recipe) {
  return fmt::format("{} optimizer.learning_rate={:.3g}", ResumeCommand(folder),
                     recipe.optimizer.learning_rate / 10.0);
}

}  // namespace lockstep::tools
