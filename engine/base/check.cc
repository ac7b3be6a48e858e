#include "engine/base/check.h"

namespace lockstep {

void FailCheck(const char* file, int line, const char* condition, const std::string& detail) {
  std::ostringstream text;
  text << file << ":" << line << ": " << condition << " does not hold: " << detail;
  throw CheckFailure(text.str());
}

}  // namespace lockstep
