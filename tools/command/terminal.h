// Where the program prints: what can be shown there, and whether all of it arrived. Nothing else
// asks for terminals, their size or TERM.
#ifndef LOCKSTEP_TOOLS_COMMAND_TERMINAL_H_
#define LOCKSTEP_TOOLS_COMMAND_TERMINAL_H_

#include <cstdio>
#include <string>

#include "engine/base/status.h"

namespace lockstep::inline v0_1::tools {

// A terminal that cannot move its cursor (TERM=dumb, or none named) is written to as a file is: no
// escape codes, whole lines only. NO_COLOR (no-color.org) is honoured.
struct Terminal {
  bool is_one = false;  // rather than a file or a pipe
  bool cursor = false;  // and it moves
  bool color = false;
  int columns = 80, rows = 24;  // now; of what is no terminal: these
};
Terminal TerminalOf(std::FILE* stream);

// Writes the text and brings it out. False where it is a closed pipe: nobody reads any more. Any
// other failure is passed over, for a run may outlive its terminal; OutputStatus tells of it.
bool Say(const std::string& text, std::FILE* out = stdout);

// Brings out what was printed. An error if any of it did not arrive, at whichever time.
Status OutputStatus();

// Where the program was started without standard input, output or error, the first files it opens
// would stand in their place and what is printed would end up in them: keeps the places. To be
// called first.
void KeepStandardStreams();

}  // namespace lockstep::tools

#endif  // LOCKSTEP_TOOLS_COMMAND_TERMINAL_H_
