// What a run leaves behind:
//   recipe.toml             the recipe as run, with every key
//   metrics.csv, .jsonl     a row for each epoch
//   last.safetensors        everything needed to go on
//   model.safetensors       the result: parameters by PyTorch's names, and how features were
//   standardised summary.json            final metrics, seconds, steps, parameter hash
#ifndef LOCKSTEP_TOOLS_RUN_FOLDER_H_
#define LOCKSTEP_TOOLS_RUN_FOLDER_H_

#include <string>

#include "engine/base/status.h"

namespace lockstep::tools {

struct RunFolder {
  std::string path;

  std::string recipe() const { return path + "/recipe.toml"; }
  std::string last() const { return path + "/last.safetensors"; }
  std::string model() const { return path + "/model.safetensors"; }
  std::string summary() const { return path + "/summary.json"; }

  // Makes the folder `wanted`, which must not hold a run already; or, where none is wanted,
  // runs/NAME, runs/NAME-2, ...
  static Result<RunFolder> Create(const std::string& wanted, const std::string& recipe_path);
};

}  // namespace lockstep::tools

#endif  // LOCKSTEP_TOOLS_RUN_FOLDER_H_
