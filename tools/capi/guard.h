// How calls of the C interface fail: nothing is thrown out of them, and a text says why.
#ifndef LOCKSTEP_TOOLS_CAPI_GUARD_H_
#define LOCKSTEP_TOOLS_CAPI_GUARD_H_

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <string>

#include "engine/base/catch.h"
#include "engine/base/status.h"
#include "tools/capi/lockstep.h"

namespace lockstep::inline v0_1::capi {

inline lockstep_code CodeOf(Code code) {
  switch (code) {
    case Code::kOk:
      return LOCKSTEP_OK;
    case Code::kInvalid:
    case Code::kInterrupted:  // nothing here waits for anyone
      return LOCKSTEP_INVALID;
    case Code::kNotFound:
      return LOCKSTEP_NOT_FOUND;
    case Code::kCorrupt:
      return LOCKSTEP_CORRUPT;
    case Code::kIo:
      return LOCKSTEP_IO;
    case Code::kNonFinite:
      return LOCKSTEP_NON_FINITE;
    case Code::kOutOfMemory:
      return LOCKSTEP_OUT_OF_MEMORY;
    case Code::kInternal:
      break;
  }
  return LOCKSTEP_INTERNAL;
}

// Runs body, which returns a Status: no exception comes out, and `error` holds why it failed.
template <class Body>
lockstep_code Guarded(char* error, size_t size, Body&& body) noexcept {
  const Status status = StatusOf(body);
  if (error != nullptr && size > 0) std::snprintf(error, size, "%s", status.message().c_str());
  return CodeOf(status.code());
}

inline Status Needs(bool given, const char* what) {
  if (given) return Status::Ok();
  return Status::Invalid(std::string(what) + " is NULL");
}

inline Status InRange(const char* what, int64_t value, int64_t least, int64_t most) {
  if (value >= least && value <= most) return Status::Ok();
  return Status::Invalid(std::string(what) + " is " + std::to_string(value) + ", it must be from " +
                         std::to_string(least) + " to " + std::to_string(most));
}

}  // namespace lockstep::capi

#endif  // LOCKSTEP_TOOLS_CAPI_GUARD_H_
