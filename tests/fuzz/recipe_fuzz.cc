// A recipe: TOML text up to the first zero byte, then one override. What is accepted prints to a
// recipe that reads back to the same one.
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "models/recipe.h"
#include "tests/fuzz/require.h"

using namespace lockstep;  // NOLINT: a program of one file

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string input(reinterpret_cast<const char*>(data), size);
  const size_t zero = input.find('\0');
  std::vector<std::string> overrides;
  if (zero != std::string::npos) overrides.push_back(input.substr(zero + 1));
  const Result<Recipe> recipe = ParseRecipe(input.substr(0, zero), "fuzz.toml", overrides);
  if (!recipe.ok()) {
    Require(recipe.status().message().size() < 2000);
    Require(recipe.status().message().find('\n') == std::string::npos);
    return 0;
  }
  const Result<Recipe> again = ParseRecipe(PrintRecipe(*recipe), "printed.toml");
  Require(again.ok());
  Require(Differences(*recipe, *again).empty());
  return 0;
}
