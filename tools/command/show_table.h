// A table as it was understood, on a page of text.
#ifndef LOCKSTEP_TOOLS_COMMAND_SHOW_TABLE_H_
#define LOCKSTEP_TOOLS_COMMAND_SHOW_TABLE_H_

#include <string>

#include "engine/data/table/table.h"

namespace lockstep::inline v0_1::tools {

// How the text is written, what each column holds and is taken for, what is strange about it, how
// the classes are spread, and the table's remarks. Lines have at most `width` characters (80 at
// least) where words allow it.
std::string ShowTable(const Table& table, int width);

}  // namespace lockstep::tools

#endif  // LOCKSTEP_TOOLS_COMMAND_SHOW_TABLE_H_
