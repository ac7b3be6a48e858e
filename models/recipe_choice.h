// What a recipe's value may be, beside its type, and choices by name: one table for each, that
// checks what is written, is printed for the reader, and builds.
#ifndef LOCKSTEP_MODELS_RECIPE_CHOICE_H_
#define LOCKSTEP_MODELS_RECIPE_CHOICE_H_

#include <algorithm>
#include <cstddef>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "engine/base/status.h"
#include "engine/io/file.h"

namespace lockstep::inline v0_1 {

// Strings: one of `choices` where there are any. Numbers: in [least, most].
struct KeyLimits {
  std::vector<std::string> choices{};
  double least = -std::numeric_limits<double>::infinity();
  double most = std::numeric_limits<double>::infinity();
};
inline KeyLimits AtLeast(double least) { return {.least = least}; }
inline KeyLimits Between(double least, double most) { return {.least = least, .most = most}; }

// "none, batch, layer"
inline std::string Listed(const std::vector<std::string>& choices) {
  std::string text;
  for (const std::string& choice : choices) text += (text.empty() ? "" : ", ") + choice;
  return text;
}
inline Status UnknownChoice(const std::string& value, const std::vector<std::string>& choices) {
  return Status::Invalid("does not know " + Quoted(value) + "; choose one of " + Listed(choices));
}

// Of a recipe that a program filled in, whose names nobody has checked.
inline Status CheckChoice(const char* key, const std::string& value, const KeyLimits& limits) {
  if (std::find(limits.choices.begin(), limits.choices.end(), value) != limits.choices.end())
    return Status::Ok();
  return UnknownChoice(value, limits.choices).At(key);
}

// A name that recipes may write, and what it stands for: a value, or the function that builds it.
template <class T>
struct Choice {
  const char* name;
  T value;
};

template <class T, size_t kCount>
std::vector<std::string> NamesOf(const Choice<T> (&table)[kCount]) {
  std::vector<std::string> names;
  for (const Choice<T>& choice : table) names.emplace_back(choice.name);
  return names;
}
template <class T, size_t kCount>
KeyLimits OneOf(const Choice<T> (&table)[kCount]) {
  return {.choices = NamesOf(table)};
}

// What `name` stands for. A recipe that was read has been checked; one that a program filled in may
// hold anything, and gets the same error.
template <class T, size_t kCount>
Result<T> Chosen(const char* key, const Choice<T> (&table)[kCount], const std::string& name) {
  for (const Choice<T>& choice : table) {
    if (name == choice.name) return T(choice.value);
  }
  return UnknownChoice(name, NamesOf(table)).At(key);
}

}  // namespace lockstep

#endif  // LOCKSTEP_MODELS_RECIPE_CHOICE_H_
