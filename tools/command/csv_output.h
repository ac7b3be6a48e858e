// What `predict` writes: CSV (RFC 4180), into a file or on standard output.
#ifndef LOCKSTEP_TOOLS_COMMAND_CSV_OUTPUT_H_
#define LOCKSTEP_TOOLS_COMMAND_CSV_OUTPUT_H_

#include <string>
#include <vector>

#include "engine/base/status.h"
#include "models/recipe_saved.h"

namespace lockstep::inline v0_1::tools {

// A field, in quotes where it must be.
std::string CsvField(const std::string& text, char delimiter);
// As the table that the model was trained on has it.
char OutputDelimiter(const SavedModel& model);
// Into the file `output`, or on standard output where that is empty. `what` it is, for an error.
Status WriteOrPrint(const std::string& output, const std::string& text, const char* what);
// What was guessed of the table in the file `path`, on standard error.
void SayRemarks(const std::string& path, const std::vector<std::string>& remarks);

}  // namespace lockstep::tools

#endif  // LOCKSTEP_TOOLS_COMMAND_CSV_OUTPUT_H_
