// Text that comes a few bytes at a time, handed on in whole characters.
#ifndef LOCKSTEP_TOOLS_COMMAND_TEXT_STREAM_H_
#define LOCKSTEP_TOOLS_COMMAND_TEXT_STREAM_H_

#include <string>
#include <string_view>

namespace lockstep::inline v0_1::tools {

// Bytes that may still become a UTF-8 character are held back, at most three. What is none, and can
// become none, is handed on as it is: nothing is ever lost or replaced.
class TextStream {
 public:
  // Appends to `out` what can be handed on now.
  void Add(std::string_view bytes, std::string& out);
  // Nothing more comes: what was held back, as it is.
  void End(std::string& out);

 private:
  std::string held_;
};

}  // namespace lockstep::tools

#endif  // LOCKSTEP_TOOLS_COMMAND_TEXT_STREAM_H_
