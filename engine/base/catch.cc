#include "engine/base/catch.h"

#include <exception>
#include <new>

namespace lockstep::inline v0_1 {

Status StatusOfException() {
  try {
    try {
      throw;
    } catch (const std::bad_alloc&) {
      return {Code::kOutOfMemory, "out of memory; a smaller batch or model needs less"};
    } catch (const ArgumentFailure& failure) {
      return Status::Invalid(failure.what());
    } catch (const std::exception& failure) {
      return {Code::kInternal, failure.what()};
    } catch (...) {
      return {Code::kInternal, "an exception of unknown type"};
    }
  } catch (const std::bad_alloc&) {  // there is none for the text either
    return {Code::kOutOfMemory, "out of memory"};
  }
}

}  // namespace lockstep
