// Why a model says what it says of the rows of a table, column by column.
#ifndef LOCKSTEP_TOOLS_COMMAND_EXPLAIN_H_
#define LOCKSTEP_TOOLS_COMMAND_EXPLAIN_H_

#include "engine/base/status.h"
#include "models/recipe_saved.h"
#include "tools/command/commands.h"

namespace lockstep::inline v0_1::tools {

// `lockstep predict --explain`, for a model of a table in the file `path`: a page about one row, or
// CSV of that row or of all.
Status ExplainRows(const PredictArgs& args, const std::string& path, const SavedModel& model);

}  // namespace lockstep::tools

#endif  // LOCKSTEP_TOOLS_COMMAND_EXPLAIN_H_
