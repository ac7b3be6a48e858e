// What a run was done on, for people who compare runs.
#ifndef LOCKSTEP_TOOLS_COMMAND_MACHINE_H_
#define LOCKSTEP_TOOLS_COMMAND_MACHINE_H_

#include <string>
#include <vector>

namespace lockstep::inline v0_1::tools {

// Rows of two: "processor" and its name, and so on. `threads` is what the run used.
std::vector<std::vector<std::string>> MachineFacts(int threads);

}  // namespace lockstep::tools

#endif  // LOCKSTEP_TOOLS_COMMAND_MACHINE_H_
