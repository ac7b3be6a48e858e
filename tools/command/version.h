// What this program was made of, and what it runs on.
#ifndef LOCKSTEP_TOOLS_COMMAND_VERSION_H_
#define LOCKSTEP_TOOLS_COMMAND_VERSION_H_

#include <string>

namespace lockstep::inline v0_1::tools {

std::string Commit();    // the commit it was built from, "+" if the tree had changes, or "unknown"
std::string Compiler();  // "g++ 12.2.0"
std::string VersionText();  // all of it, for --version: a few lines

}  // namespace lockstep::tools

#endif  // LOCKSTEP_TOOLS_COMMAND_VERSION_H_
