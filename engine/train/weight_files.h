// Weights as other programs keep them: safetensors files with PyTorch's names and PyTorch's order
// of dimensions (FileLayout in engine/plan/parameters.h). Lockstep's own checkpoints hold memory as
// it lies and are none of these; ExportWeights makes one of a network that was read from them.
#ifndef LOCKSTEP_ENGINE_TRAIN_WEIGHT_FILES_H_
#define LOCKSTEP_ENGINE_TRAIN_WEIGHT_FILES_H_

#include <span>
#include <string>
#include <vector>

#include "engine/base/status.h"
#include "engine/io/stored_tensor.h"
#include "engine/plan/parameters.h"
#include "engine/train/network.h"

namespace lockstep::inline v0_1 {

// The same elements in the order of files, and back. Each array has layout.view.size() elements;
// REQUIRES: a layout that is not plain, and arrays that do not overlap.
void ToFileOrder(const FileLayout& layout, std::span<const float> memory, std::span<float> file);
void FromFileOrder(const FileLayout& layout, std::span<const float> file, std::span<float> memory);

// Parameters and states alone, as a safetensors file that other programs read; PyTorch loads it
// strictly into the same network, which has BatchNorm2d, or 1d, where this one has BatchNorm.
Status ExportWeights(const std::string& path, const Network& network);

// What came of weights beside what was asked for.
struct ImportedWeights {
  // The path of the last layer ("fc") where that has another number of outputs in the file and
  // stays as it was initialised: by ImportForNewTask alone.
  std::string fresh_layer{};
  std::vector<std::string> remarks{};  // what the user should be told, a line for each kind
};

// Such a file, of another program: exactly the parameters and states of `network` by name and
// shape, nothing missing and nothing more. Each of these is made good and told in a remark:
//   what all names begin with ("module.", "_orig_mod.", "model.") is left away where the names fit
//   better without; F64, F16 and BF16 become f32, and counts may have been stored as any number;
//   num_batches_tracked, which PyTorch did not always keep, may be missing and is 0 then; so may
//   the bias of what a norm reads right behind, as of layers with bias=False.
// An error names the first tensor that differs or holds a NaN or an infinity, and then nothing is
// changed.
Result<ImportedWeights> ImportWeights(const std::string& path, Network& network);

// The same of tensors in memory, with the names that the network has.
Result<ImportedWeights> ImportTensors(std::span<const StoredTensor> tensors, Network& network);

// To begin a new task with: a file as ImportWeights takes it, or a model of Lockstep's as LoadModel
// does. Where only the last layer has another number of outputs in the file, that layer stays as
// it was initialised.
Result<ImportedWeights> ImportForNewTask(const std::string& path, Network& network);

}  // namespace lockstep

#endif  // LOCKSTEP_ENGINE_TRAIN_WEIGHT_FILES_H_
