// What a run leaves behind:
//   recipe.toml                  the recipe as run, with every key
//   metrics.csv, .jsonl          a row for each epoch
//   samples.jsonl                of language models: how they went on after each epoch
//   events.out.tfevents.*        the same for TensorBoard; histograms on request
//   last.safetensors             everything needed to go on
//   step-000001200.safetensors   the same, from earlier: output.keep_checkpoints says how many
//   model.safetensors            the result: parameters by PyTorch's names, and how features were
//                                standardised; while the run goes on, the best so far
//   held_out.safetensors         of a run that holds back a fold: what it says of it (held_out.h)
//   summary.json                 final metrics, seconds, steps, parameter hash
//   report.html                  all of it for people, with plots
//   log.txt                      when the run began, went on and ended, and what was changed then
//   lock                         held by the process that writes here
#ifndef LOCKSTEP_TOOLS_COMMAND_RUN_FOLDER_H_
#define LOCKSTEP_TOOLS_COMMAND_RUN_FOLDER_H_

#include <cstdint>
#include <string>
#include <vector>

#include "engine/base/status.h"

namespace lockstep::inline v0_1::tools {

// A run folder belongs to one process: the one that has this. Whatever ends that process, kill -9
// and a power cut too, gives the folder free. On file systems without locks (some network ones)
// nobody is kept out.
class FolderLock {
 public:
  // An error that names the other process where there is one. The folder must exist.
  static Result<FolderLock> Take(const std::string& folder);
  FolderLock(FolderLock&& other) noexcept;
  FolderLock& operator=(FolderLock&& other) noexcept;
  ~FolderLock();

 private:
  explicit FolderLock(int fd) : fd_(fd) {}
  int fd_ = -1;
};

struct RunFolder {
  std::string path;

  std::string recipe() const { return path + "/recipe.toml"; }
  std::string metrics() const { return path + "/metrics.csv"; }
  std::string metrics_jsonl() const { return path + "/metrics.jsonl"; }
  std::string samples() const { return path + "/samples.jsonl"; }
  std::string last() const { return path + "/last.safetensors"; }
  std::string checkpoint(int64_t step) const;  // an older one
  std::string model() const { return path + "/model.safetensors"; }
  std::string held_out() const { return path + "/held_out.safetensors"; }
  std::string summary() const { return path + "/summary.json"; }
  std::string report() const { return path + "/report.html"; }
  std::string log() const { return path + "/log.txt"; }

  // Their steps, rising.
  Result<std::vector<int64_t>> OlderCheckpoints() const;
  // Adds a line to log.txt, behind the time (UTC).
  Status Log(const std::string& line) const;

  // Makes the folder `wanted`, which must not hold a run already; or, where none is wanted,
  // runs/NAME, runs/NAME-2, ...: the first that is not there yet. The recipe is written into it,
  // which makes it a run. Of several processes that do this at once each gets a folder of its own,
  // or an error.
  struct Made;
  static Result<Made> Create(const std::string& wanted, const std::string& recipe_path,
                             const std::string& recipe);
};

struct RunFolder::Made {
  RunFolder folder;
  FolderLock lock;
};

}  // namespace lockstep::tools

#endif  // LOCKSTEP_TOOLS_COMMAND_RUN_FOLDER_H_
