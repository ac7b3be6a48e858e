// "Did you mean ...?"
#ifndef LOCKSTEP_ENGINE_IO_NEAREST_NAME_H_
#define LOCKSTEP_ENGINE_IO_NEAREST_NAME_H_

#include <span>
#include <string>
#include <string_view>

namespace lockstep::inline v0_1 {

// The known name with the smallest edit distance to `wanted`, the first among equals; empty if
// there is none. Bounded work: looks at no more than 128 characters of each name.
std::string NearestName(std::string_view wanted, std::span<const std::string> known);

}  // namespace lockstep

#endif  // LOCKSTEP_ENGINE_IO_NEAREST_NAME_H_
