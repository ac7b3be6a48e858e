#include "tools/command/machine.h"

#include <fmt/format.h>

#include "tools/command/version.h"
#include "tools/scale/machine.h"

namespace lockstep::inline v0_1::tools {

std::vector<std::vector<std::string>> MachineFacts(int threads) {
  const std::vector<scale::Fact> facts = scale::MachineFacts();
  const auto row = [&](const char* name) {
    return std::vector<std::string>{name, scale::ValueOf(facts, name)};
  };
  return {
      row("processor"),
      row("cores"),
      {"threads of the run", fmt::format("{}", threads)},
      row("instruction set"),
      row("memory"),
      row("system"),
      {"program", fmt::format("commit {}, {}", Commit(), Compiler())},
  };
}

}  // namespace lockstep::tools
