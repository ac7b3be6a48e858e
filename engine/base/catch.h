// Where the library ends and its caller begins. On this side a thread computes in the engine's mode
// (float_mode.h), on that one in its own. What somebody threw on the way (a layer, a loss, an
// optimizer, a dataset or a callback that is not ours, an allocator, a failed check) becomes a
// Status on the calling thread:
//
//   std::bad_alloc    kOutOfMemory
//   ArgumentFailure   kInvalid, its text
//   all else          kInternal, its what()
#ifndef LOCKSTEP_ENGINE_BASE_CATCH_H_
#define LOCKSTEP_ENGINE_BASE_CATCH_H_

#include <type_traits>
#include <utility>

#include "engine/base/float_mode.h"
#include "engine/base/status.h"

namespace lockstep::inline v0_1 {

// Of the exception that is being handled: to be called in a catch block.
Status StatusOfException();

// What body() returns, a Status or a Result, or what becomes of what it throws. Costs some
// nanoseconds.
template <class Body>
auto StatusOf(Body&& body) -> std::invoke_result_t<Body&> {
  const ScopedFloatMode mode;
  try {
    return body();
  } catch (...) {
    return StatusOfException();
  }
}

}  // namespace lockstep

#endif  // LOCKSTEP_ENGINE_BASE_CATCH_H_
