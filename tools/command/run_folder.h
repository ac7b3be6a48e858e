// What a run leaves behind:
//   recipe.toml                  the recipe as run, with every key
//   metrics.csv, .jsonl          a row for each epoch
//   events.out.tfevents.*        the same for TensorBoard; histograms on request
//   last.safetensors             everything needed to go on
//   step-000001200.safetensors   the same, from earlier: output.keep_checkpoints says how many
//   model.safetensors            the result: parameters by PyTorch's names, and how features were
//                                standardised; while the run goes on, the best so far
//   summary.json                 final metrics, seconds, steps, parameter hash
//   report.html                  all of it for people, with plots
#ifndef LOCKSTEP_TOOLS_COMMAND_RUN_FOLDER_H_
#define LOCKSTEP_TOOLS_COMMAND_RUN_FOLDER_H_

#include <cstdint>
#include <string>
#include <vector>

#include "engine/base/status.h"

namespace lockstep::tools {

struct RunFolder {
  std::string path;

  std::string recipe() const { return path + "/recipe.toml"; }
  std::string metrics() const { return path + "/metrics.csv"; }
  std::string last() const { return path + "/last.safetensors"; }
  std::string checkpoint(int64_t step) const;  // an older one
  std::string model() const { return path + "/model.safetensors"; }
  std::string summary() const { return path + "/summary.json"; }
  std::string report() const { return path + "/report.html"; }

  // Their steps, rising.
  Result<std::vector<int64_t>> OlderCheckpoints() const;

  // Makes the folder `wanted`, which must not hold a run already; or, where none is wanted,
  // runs/NAME, runs/NAME-2, ...
  static Result<RunFolder> Create(const std::string& wanted, const std::string& recipe_path);
};

// Commands take a run folder for the model in it: the file that is meant.
std::string ModelFile(const std::string& run_folder_or_file);

}  // namespace lockstep::tools

#endif  // LOCKSTEP_TOOLS_COMMAND_RUN_FOLDER_H_
