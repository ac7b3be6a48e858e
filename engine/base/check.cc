#include "engine/base/check.h"

namespace lockstep::inline v0_1 {

void FailCheck(const char* file, int line, const char* condition, const std::string& detail) {
  std::ostringstream text;
  text << file << ":" << line << ": " << condition << " does not hold: " << detail;
  throw CheckFailure(text.str());
}

}  // namespace lockstep
