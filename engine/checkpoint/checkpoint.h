// Checkpoints: safetensors files with the parameters and states by their PyTorch names
// ("0.weight", "1.running_mean"), what an optimizer remembers ("optimizer.0.weight.exp_avg"), how
// data were standardised ("data.mean", "data.sd"), and in the metadata the rest that is needed to
// go on (see TrainingState) and a checksum of the whole file.
//
// Several ranks write one file together, each the pieces that it alone holds and a share of what
// all hold. It has the same bytes as the file that one process writes of the same tensors.
#ifndef LOCKSTEP_ENGINE_CHECKPOINT_CHECKPOINT_H_
#define LOCKSTEP_ENGINE_CHECKPOINT_CHECKPOINT_H_

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/base/status.h"
#include "engine/comm/communicator.h"
#include "engine/io/safetensors.h"
#include "engine/io/stored_tensor.h"

namespace lockstep::inline v0_1 {

// Names of tensors that begin so belong to the optimizer and to the moving average of the weights.
inline constexpr std::string_view kOptimizerPrefix = "optimizer.";
inline constexpr std::string_view kAveragePrefix = "average.";

// Keys of the metadata that SaveCheckpoint adds itself. "format" = "pt" is what other programs look
// for.
inline constexpr std::string_view kFormatKey = "format";
inline constexpr std::string_view kVersionKey = "lockstep.format_version";
inline constexpr std::string_view kChecksumKey = "lockstep.checksum";
// The checksum of version 3 is XXH64 over the first 8 bytes of the file and its header, with sixteen
// zeros where the digits of the checksum stand, followed by the XXH64 of each block of 1 MiB of the
// data (all that stands behind the header) as 8 bytes, little endian; the last block is as short as
// it comes out. So it can be computed in parts.
// Version 2 had the data themselves behind the header there. Version 1 as well; and it named what
// layers compute by "batch_norm.1" alone, where it now is "layer.batch_norm.1", and could hold
// counts of batches as F32. Both are still read.
inline constexpr int kCheckpointVersion = 3;

// A loaded checkpoint; owns the memory that `tensors` point into. Movable.
struct Checkpoint {
  std::vector<StoredTensor> tensors;
  Metadata meta;
  AlignedBytes memory;

  const StoredTensor* Find(std::string_view name) const;  // null if there is none
};

// A tensor of a checkpoint, or the part of one that this rank holds.
struct StoredPiece {
  std::string name;
  StoredType type = StoredType::kF32;
  Shape shape;        // of the whole tensor
  int64_t begin = 0;  // of the first element held here
  std::span<const std::byte> data;

  StoredPiece() = default;
  StoredPiece(const StoredTensor& whole)  // NOLINT: a tensor is the largest piece of itself
      : name(whole.name), type(whole.type), shape(whole.shape), data(whole.data) {}
};

// Atomic and deterministic: the same tensors and metadata give the same bytes. Keys of `meta` must
// not be the three above.
//
// With several ranks collective: all name the same tensors in the same order, where a piece may be
// empty and one name occur several times; a tensor is either held whole by all, or its pieces
// are held once. `path` is a file on a file system that all ranks share. A failure of any rank (a
// full disk) is the error of all, and leaves what was at `path`.
Status SaveCheckpoint(const std::string& path, std::span<const StoredPiece> pieces,
                      const Metadata& meta, Communicator* ranks = nullptr);
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
// The same for parts of tensors: `tensor` takes its elements from `begin` on of one of shape
// `whole`.
struct TensorPiece {
  std::string name;
  Tensor tensor;
  Shape whole;
  int64_t begin = 0;

  TensorPiece(std::string name_of, Tensor part, Shape shape, int64_t from)
      : name(std::move(name_of)), tensor(part), whole(shape), begin(from) {}
  TensorPiece(const NamedTensor& all)  // NOLINT: as StoredPiece
      : name(all.name), tensor(all.tensor), whole(all.tensor.shape()) {}
};
Status RestoreTensors(std::span<const StoredTensor> from, std::span<const TensorPiece> into);
Status RestoreTensors(const Checkpoint& from, std::span<const NamedTensor> into);

}  // namespace lockstep

#endif  // LOCKSTEP_ENGINE_CHECKPOINT_CHECKPOINT_H_
