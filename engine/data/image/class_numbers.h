// Classes of pictures whose labels are numbers, whichever numbers they are: EMNIST's letters count
// from 1, and a part of a larger set has gaps. The classes are the numbers that occur.
#ifndef LOCKSTEP_ENGINE_DATA_IMAGE_CLASS_NUMBERS_H_
#define LOCKSTEP_ENGINE_DATA_IMAGE_CLASS_NUMBERS_H_

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "engine/base/status.h"

namespace lockstep::inline v0_1 {

// The different labels, rising. Errors name `path`, and the label: one below 0, or more different
// ones than there can be classes (65536).
Result<std::vector<int32_t>> ClassNumbers(std::span<const int32_t> labels, const std::string& path);

// Each label becomes its place among `numbers`, which rise. An error names the first that is none
// of them, and then some labels are changed already.
Status ToPlaces(std::span<const int32_t> numbers, const std::string& path,
                std::span<int32_t> labels);

std::vector<std::string> ClassNamesOf(std::span<const int32_t> numbers);
// The numbers that the names of `classes` classes say; 0, 1, ... where they say none.
std::vector<int32_t> ClassNumbersOf(std::span<const std::string> names, int64_t classes);

// "PATH: labels from 1 to 26, ..." where they are not 0, 1, ...; else nothing.
std::string ClassNumbersRemark(std::span<const std::string> names, const std::string& path);

}  // namespace lockstep

#endif  // LOCKSTEP_ENGINE_DATA_IMAGE_CLASS_NUMBERS_H_
