#include "engine/data/image/class_numbers.h"

#include <algorithm>
#include <charconv>
#include <numeric>

namespace lockstep::inline v0_1 {
namespace {

constexpr size_t kMostClasses = 65536;

std::vector<int32_t> CountedFromZero(int64_t classes) {
  std::vector<int32_t> numbers(static_cast<size_t>(classes));
  std::iota(numbers.begin(), numbers.end(), 0);
  return numbers;
}

// Of a few numbers all, of many the first and the last.
std::string Shown(std::span<const int32_t> numbers) {
  constexpr size_t kFew = 8;
  const bool gaps = static_cast<size_t>(numbers.back() - numbers.front()) + 1 != numbers.size();
  if (numbers.size() > kFew || !gaps) {
    return "from " + std::to_string(numbers.front()) + " to " + std::to_string(numbers.back()) +
           (gaps ? ", with gaps" : "");
  }
  std::string text;
  for (const int32_t number : numbers) text += (text.empty() ? "" : ", ") + std::to_string(number);
  return text;
}

}  // namespace

Result<std::vector<int32_t>> ClassNumbers(std::span<const int32_t> labels,
                                          const std::string& path) {
  const auto negative =
      std::find_if(labels.begin(), labels.end(), [](int32_t label) { return label < 0; });
  if (negative != labels.end()) {
    return Status::Corrupt(path + ": label " + std::to_string(negative - labels.begin()) + " is " +
                           std::to_string(*negative) + ", and labels are 0 or more");
  }
  std::vector<int32_t> numbers(labels.begin(), labels.end());
  std::sort(numbers.begin(), numbers.end());
  numbers.erase(std::unique(numbers.begin(), numbers.end()), numbers.end());
  if (numbers.size() <= kMostClasses) return numbers;
  return Status::Invalid(path + ": has " + std::to_string(numbers.size()) +
                         " different labels, and there can be " + std::to_string(kMostClasses) +
                         " classes at most; are these labels?");
}

Status ToPlaces(std::span<const int32_t> numbers, const std::string& path,
                std::span<int32_t> labels) {
  for (int32_t& label : labels) {
    const auto found = std::lower_bound(numbers.begin(), numbers.end(), label);
    if (found == numbers.end() || *found != label) {
      return Status::Corrupt(path + ": holds the label " + std::to_string(label) +
                             ", and the classes are " + Shown(numbers));
    }
    label = static_cast<int32_t>(found - numbers.begin());
  }
  return Status::Ok();
}

std::vector<std::string> ClassNamesOf(std::span<const int32_t> numbers) {
  std::vector<std::string> names;
  for (const int32_t number : numbers) names.push_back(std::to_string(number));
  return names;
}

std::vector<int32_t> ClassNumbersOf(std::span<const std::string> names, int64_t classes) {
  std::vector<int32_t> numbers;
  for (const std::string& name : names) {
    int32_t number = -1;
    const char* const end = name.data() + name.size();
    const auto read = std::from_chars(name.data(), end, number);
    const bool rises = numbers.empty() || numbers.back() < number;
    if (read.ec != std::errc() || read.ptr != end || number < 0 || !rises) break;
    numbers.push_back(number);
  }
  return !numbers.empty() && static_cast<int64_t>(numbers.size()) == classes
             ? numbers
             : CountedFromZero(classes);
}

std::string ClassNumbersRemark(std::span<const std::string> names, const std::string& path) {
  const auto classes = static_cast<int64_t>(names.size());
  const std::vector<int32_t> numbers = ClassNumbersOf(names, classes);
  if (numbers == CountedFromZero(classes)) return "";
  return path + ": labels " + Shown(numbers) + ", which are " + std::to_string(classes) +
         " classes of these names";
}

}  // namespace lockstep
