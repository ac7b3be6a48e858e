#include "engine/checkpoint/training_state.h"

#include <charconv>
#include <string_view>

#include "engine/io/file.h"
#include "engine/io/text.h"

namespace lockstep::inline v0_1 {
namespace {

constexpr std::string_view kLayerPrefix = "layer.";
constexpr std::string_view kVersion1Prefix = "batch_norm.";  // without the one above

template <class T>
bool ReadNumber(std::string_view text, T& number) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return error == std::errc() && end == text.data() + text.size();
}

Status Damaged(const std::string& key, const std::string& text, const char* expected) {
  return Status::Corrupt("metadata " + Quoted(key) + " is " + Quoted(text) + ", expected " +
                         expected + "; use another checkpoint");
}

template <class T>
Status ReadNumberOf(const Metadata& metadata, const std::string& key, T& number) {
  const auto found = metadata.find(key);
  if (found == metadata.end()) {
    return Status::NotFound("metadata " + Quoted(key) +
                            " is missing; the file is no checkpoint of a training run");
  }
  if (!ReadNumber(found->second, number) || (std::is_signed_v<T> && number < T{0})) {
    return Damaged(key, found->second, "a whole number of at least 0");
  }
  return Status::Ok();
}

}  // namespace

Metadata MetadataOf(const TrainingState& state) {
  Metadata metadata = {
      {"step", std::to_string(state.step)},
      {"epoch", std::to_string(state.epoch)},
      {"batch_in_epoch", std::to_string(state.batch_in_epoch)},
      {"seed", std::to_string(state.seed)},
      {"shards", std::to_string(state.shards)},
      {"recipe", state.recipe},
  };
  if (state.best_metric) metadata["best_metric"] = TextOf(*state.best_metric);
  for (const auto& [layer, text] : state.layer_traits)
    metadata[std::string(kLayerPrefix) + layer] = text;
  return metadata;
}

Result<TrainingState> TrainingStateFrom(const Metadata& metadata) {
  TrainingState state;
  LOCKSTEP_TRY(ReadNumberOf(metadata, "step", state.step));
  LOCKSTEP_TRY(ReadNumberOf(metadata, "epoch", state.epoch));
  LOCKSTEP_TRY(ReadNumberOf(metadata, "batch_in_epoch", state.batch_in_epoch));
  LOCKSTEP_TRY(ReadNumberOf(metadata, "seed", state.seed));
  LOCKSTEP_TRY(ReadNumberOf(metadata, "shards", state.shards));
  if (state.shards < 1) return Damaged("shards", metadata.at("shards"), "at least 1");
  if (const auto recipe = metadata.find("recipe"); recipe != metadata.end()) {
    state.recipe = recipe->second;
  }
  if (const auto best = metadata.find("best_metric"); best != metadata.end()) {
    double value;
    if (!ReadNumber(best->second, value)) return Damaged(best->first, best->second, "a number");
    state.best_metric = value;
  }
  for (const auto& [key, text] : metadata) {
    if (key.starts_with(kLayerPrefix)) state.layer_traits[key.substr(kLayerPrefix.size())] = text;
    if (key.starts_with(kVersion1Prefix)) state.layer_traits[key] = text;
  }
  return state;
}

}  // namespace lockstep
