// Checkpoints: safetensors files with the parameters and states by their PyTorch names
// ("0.weight", "1.running_mean"), what an optimizer remembers ("optimizer.0.weight.exp_avg"), how
// data were standardised ("data.mean", "data.sd"), and in the metadata the rest that is needed to
// go on (see TrainingState) and a checksum of the whole file.
#ifndef LOCKSTEP_ENGINE_CHECKPOINT_CHECKPOINT_H_
#define LOCKSTEP_ENGINE_CHECKPOINT_CHECKPOINT_H_

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/status.h"
#include "engine/io/safetensors.h"
#include "engine/io/stored_tensor.h"

namespace lockstep {

// Names of tensors that begin so belong to the optimizer and to the moving average of the weights.
inline constexpr std::string_view kOptimizerPrefix = "optimizer.";
inline constexpr std::string_view kAveragePrefix = "average.";

// Keys of the metadata that SaveCheckpoint adds itself. "format" = "pt" is what other programs look
// for.
inline constexpr std::string_view kFormatKey = "format";
inline constexpr std::string_view kVersionKey = "lockstep.format_version";
inline constexpr std::string_view kChecksumKey = "lockstep.checksum";
// Version 1 named what layers compute by "batch_norm.1" alone, where it now is
// "layer.batch_norm.1", and could hold counts of batches as F32. It is still read.
inline constexpr int kCheckpointVersion = 2;

// A loaded checkpoint; owns the memory that `tensors` point into. Movable.
struct Checkpoint {
  std::vector<StoredTensor> tensors;
  Metadata meta;
  AlignedBytes memory;

  const StoredTensor* Find(std::string_view name) const;  // null if there is none
};

// Atomic and deterministic: the same tensors and metadata give the same bytes. Keys of `meta` must
// not be the three above.
Status SaveCheckpoint(const std::string& path, std::span<const StoredTensor> tensors,
                      const Metadata& meta);
Status SaveCheckpoint(const std::string& path, std::span<const NamedConstTensor> tensors,
                      const Metadata& meta);

// One changed byte anywhere in the file is an error. A safetensors file without our version and
// checksum is refused: ReadSafetensors reads those.
Result<Checkpoint> LoadCheckpoint(const std::string& path);

// Copies into every tensor of `into` what `from` holds under its name with the same shape and type.
// If one is missing or differs, the Status names the first such, both shapes and the nearest known
// name, and nothing is changed at all. Tensors of `from` that nobody asked for are left alone.
Status RestoreTensors(std::span<const StoredTensor> from, std::span<const NamedTensor> into);
Status RestoreTensors(const Checkpoint& from, std::span<const NamedTensor> into);

}  // namespace lockstep

#endif  // LOCKSTEP_ENGINE_CHECKPOINT_CHECKPOINT_H_
