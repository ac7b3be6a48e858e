// What a fuzz target promises: libFuzzer reports an abort with the input that led to it.
#ifndef LOCKSTEP_TESTS_FUZZ_REQUIRE_H_
#define LOCKSTEP_TESTS_FUZZ_REQUIRE_H_

#include <cstdlib>

namespace lockstep::inline v0_1 {

inline void Require(bool condition) {
  if (!condition) std::abort();
}

}  // namespace lockstep

#endif  // LOCKSTEP_TESTS_FUZZ_REQUIRE_H_
