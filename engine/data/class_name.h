// What a class is called.
#ifndef LOCKSTEP_ENGINE_DATA_CLASS_NAME_H_
#define LOCKSTEP_ENGINE_DATA_CLASS_NAME_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace lockstep::inline v0_1 {

// Of DatasetInfo::class_names; where there is no name, the class's number.
inline std::string ClassNameOf(const std::vector<std::string>& names, int64_t c) {
  const auto at = static_cast<size_t>(c);
  return at < names.size() ? names[at] : std::to_string(c);
}

}  // namespace lockstep

#endif  // LOCKSTEP_ENGINE_DATA_CLASS_NAME_H_
