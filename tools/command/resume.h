// What a run must have in common with its beginning to go on, what may change, and how it ends when
// its loss leaves the finite numbers.
//
// A resumed run that changes nothing ends in the same bits as one that was never stopped. So:
//   changes no bit   output.* (but not the folder), train.threads, train.give_up_after,
//                    data.cache_mb, data.prefetch, model.weights; data.path, data.test_path, data.label_path (the data are
//                    compared with those the run began with)
//   may change       how long and how fast it trains: train.epochs, train.patience,
//                    train.evaluate_every, optimizer.learning_rate, optimizer.weight_decay,
//                    optimizer.clip_norm, schedule.*
//   may not          what the model is and learns from: every other key of data, model, loss,
//                    optimizer and train, seeds among them. The error names the key.
// What does change is said, and stands in recipe.toml and log.txt.
#ifndef LOCKSTEP_TOOLS_COMMAND_RESUME_H_
#define LOCKSTEP_TOOLS_COMMAND_RESUME_H_

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/status.h"
#include "engine/checkpoint/checkpoint.h"
#include "models/recipe.h"
#include "tools/command/run_folder.h"

namespace lockstep::inline v0_1::tools {

// Whether results are the same with any value of this key of a recipe.
bool ChangesNoBit(std::string_view key);

// "train.epochs 20 -> 40", a text for each key; an error for one that may not change.
Result<std::vector<std::string>> ChangesSince(const Recipe& before, const Recipe& now,
                                              const RunFolder& folder);

// Whether the data are those that the run began with, as far as the checkpoint can tell.
Status CheckSameData(const RunFolder& folder, const RecipeData& data, const Checkpoint& last);

// Marks the run as one whose loss or gradient was not finite, in summary.json.
Status MarkNotFinite(const RunFolder& folder, const Recipe& recipe, int64_t step,
                     const Status& why);
// The same data and settings would lead a run so marked to the same end: an error that gives a
// command line to go on with, unless something that matters has changed or `overrides` name a key
// of the optimizer.
Status CheckMayGoOn(const RunFolder& folder, const Recipe& recipe,
                    std::span<const std::string> overrides);
// For a run that does go on.
Status RemoveMark(const RunFolder& folder);
bool IsMarkedNotFinite(const RunFolder& folder);

// "lockstep train --resume RUN", with a tenth of the learning rate where that is to be lowered.
std::string ResumeCommand(const RunFolder& folder);
std::string ResumeSlowerCommand(const RunFolder& folder, const Recipe& recipe);

}  // namespace lockstep::tools

#endif  // LOCKSTEP_TOOLS_COMMAND_RESUME_H_
