// Files that are no table in text, and what makes one of them.
#ifndef LOCKSTEP_ENGINE_DATA_TABLE_MAY_BE_TABLE_H_
#define LOCKSTEP_ENGINE_DATA_TABLE_MAY_BE_TABLE_H_

#include <string>
#include <string_view>

#include "engine/base/status.h"

namespace lockstep {

// An error that calls the kind of the file by its name and says how to make a table of it, where
// `beginning` is that of a file of another kind that is known.
Status MayBeTable(std::string_view beginning, const std::string& name);

}  // namespace lockstep

#endif  // LOCKSTEP_ENGINE_DATA_TABLE_MAY_BE_TABLE_H_
