// What checks of code from outside found.
#ifndef LOCKSTEP_MODELS_TESTING_REPORT_H_
#define LOCKSTEP_MODELS_TESTING_REPORT_H_

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "engine/base/status.h"

namespace lockstep::inline v0_1::checks {

// Thread-compatible.
struct CheckReport {
  struct Finding {
    std::string check;  // "gradients"
    std::string what;   // where, and what was found in place of what
  };
  std::vector<std::string> done{};  // the checks that were made, failed ones among them
  std::vector<Finding> findings{};

  bool ok() const { return findings.empty(); }
  bool Failed(const std::string& check) const;
  // One line each: "gradients: alone: ..."; empty where nothing was found.
  std::string ToString() const;
  // The same as an error, kInvalid.
  Status status() const;
};

// What all checks take. Data are normal draws unless said otherwise.
struct CheckOptions {
  uint64_t seed = 1;  // of data and initial parameters
  // How often the program has taken memory from the heap: HeapCalls() of <lockstep/count_heap.h>.
  // Null: whether a step allocates is not checked.
  std::function<int64_t()> heap_calls{};
  std::string folder{};                  // for files; empty: the system's for temporary ones
  std::vector<std::string> leave_out{};  // checks by name that are not to be made
};

// Where checks put what they find.
class CheckLog {
 public:
  explicit CheckLog(const CheckOptions& options) : options_(options) {}
  // Makes a check, unless it is left out: what it returns is what was found, or is empty.
  void Make(const std::string& check, const std::string& where,
            const std::function<std::string()>& body);
  const CheckReport& report() const { return report_; }

 private:
  const CheckOptions& options_;
  CheckReport report_;
};

// What a check found, or the error that ended it: empty where all is well.
std::string TextOf(const Result<std::string>& result);

}  // namespace lockstep::checks

#endif  // LOCKSTEP_MODELS_TESTING_REPORT_H_
