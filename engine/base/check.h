// Broken invariants: bugs of the engine or of the code that calls it, never of the data a user
// brought. A failed check throws CheckFailure, whose text names the place, the condition and both
// values; it stays active in release builds. Calls that return a Status return it as one
// (kInternal, catch.h); from others a host program may catch it, and then drops the objects
// involved.
#ifndef LOCKSTEP_ENGINE_BASE_CHECK_H_
#define LOCKSTEP_ENGINE_BASE_CHECK_H_

#include <sstream>
#include <stdexcept>
#include <string>

namespace lockstep::inline v0_1 {

class CheckFailure : public std::logic_error {
 public:
  using std::logic_error::logic_error;
};

// An argument that makes no sense, thrown where no Status can be returned: by constructors (a shape
// with a negative extent).
class ArgumentFailure : public CheckFailure {
 public:
  using CheckFailure::CheckFailure;
};

[[noreturn]] void FailCheck(const char* file, int line, const char* condition,
                            const std::string& detail);

template <class A, class B>
[[noreturn]] void FailComparison(const char* file, int line, const char* condition, const A& a,
                                 const B& b) {
  std::ostringstream detail;
  detail << a << " against " << b;
  FailCheck(file, line, condition, detail.str());
}

}  // namespace lockstep

#define LOCKSTEP_CHECK(condition, detail) \
  (static_cast<bool>(condition) ? (void)0 \
                                : ::lockstep::FailCheck(__FILE__, __LINE__, #condition, detail))

#define LOCKSTEP_CHECK_COMPARE_(a, op, b)                                                  \
  do {                                                                                     \
    if (const auto& check_a = (a), &check_b = (b); !(check_a op check_b))                  \
      ::lockstep::FailComparison(__FILE__, __LINE__, #a " " #op " " #b, check_a, check_b); \
  } while (false)
#define LOCKSTEP_CHECK_EQ(a, b) LOCKSTEP_CHECK_COMPARE_(a, ==, b)
#define LOCKSTEP_CHECK_NE(a, b) LOCKSTEP_CHECK_COMPARE_(a, !=, b)
#define LOCKSTEP_CHECK_LT(a, b) LOCKSTEP_CHECK_COMPARE_(a, <, b)
#define LOCKSTEP_CHECK_LE(a, b) LOCKSTEP_CHECK_COMPARE_(a, <=, b)
#define LOCKSTEP_CHECK_GE(a, b) LOCKSTEP_CHECK_COMPARE_(a, >=, b)

#endif  // LOCKSTEP_ENGINE_BASE_CHECK_H_
