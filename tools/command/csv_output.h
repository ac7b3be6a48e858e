// One field of a CSV file that is written (RFC 4180).
#ifndef LOCKSTEP_TOOLS_COMMAND_CSV_FIELD_H_
#define LOCKSTEP_TOOLS_COMMAND_CSV_FIELD_H_

#include <string>

namespace lockstep::tools {

// In quotes where it must be.
inline std::string CsvField(const std::string& text, char delimiter) {
  if (text.find_first_of(std::string("\"\r\n") + delimiter) == std::string::npos) return text;
  std::string quoted = "\"";
  for (const char c : text) quoted += c == '"' ? std::string("\"\"") : std::string(1, c);
  return quoted + "\"";
}

}  // namespace lockstep::tools

#endif  // LOCKSTEP_TOOLS_COMMAND_CSV_FIELD_H_
