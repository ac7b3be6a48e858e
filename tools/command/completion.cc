#include <fmt/format.h>
#include <fmt/ranges.h>

#include "models/recipe_keys.h"
#include "tools/command/commands.h"

namespace lockstep::inline v0_1::tools {

std::string BashCompletion(const std::vector<CommandWords>& commands) {
  std::string keys;
  for (const std::string& key : AllRecipeKeys()) keys += (keys.empty() ? "" : " ") + key + "=";
  std::string names, cases;
  for (const CommandWords& command : commands) {
    names += (names.empty() ? "" : " ") + command.name;
    cases +=
        fmt::format("    {}) options=\"{}\"{} ;;\n", command.name, fmt::join(command.options, " "),
                    command.takes_overrides ? " keys=$recipe_keys" : "");
  }
  return fmt::format(R"(# Completion of lockstep for bash: source <(lockstep completion)
_lockstep() {{
  local cur=${{COMP_WORDS[COMP_CWORD]}} options="" keys=""
  local recipe_keys="{}"
  if ((COMP_CWORD == 1)); then
    COMPREPLY=($(compgen -W "{} --help --version" -- "$cur"))
    return
  fi
  case ${{COMP_WORDS[1]}} in
{}  esac
  # Overrides come behind the file, and the value right behind their "=".
  [[ $cur != -* ]] || keys=""
  [[ $cur == -* ]] || options=""
  ((COMP_CWORD > 2)) && [[ -n $cur && ! -e $cur ]] || keys=""
  COMPREPLY=($(compgen -W "$options $keys" -- "$cur"))
  if ((${{#COMPREPLY[@]}} == 0)); then
    compopt -o filenames
    COMPREPLY=($(compgen -f -- "$cur"))
  elif [[ ${{COMPREPLY[0]}} == *= ]]; then
    compopt -o nospace
  fi
}}
complete -F _lockstep lockstep
)",
                     keys, names, cases);
}

}  // namespace lockstep::tools
