// Files that are no text, known by their first bytes.
#ifndef LOCKSTEP_ENGINE_DATA_TABLE_FILE_KIND_H_
#define LOCKSTEP_ENGINE_DATA_TABLE_FILE_KIND_H_

#include <string>
#include <string_view>

#include "engine/base/status.h"

namespace lockstep::inline v0_1 {

// An error that calls the kind of the file by its name and says how to make a table of it, where
// `beginning` is that of a file of another kind that is known.
Status MayBeTable(std::string_view beginning, const std::string& name);

}  // namespace lockstep

#endif  // LOCKSTEP_ENGINE_DATA_TABLE_FILE_KIND_H_
