// A network (and what trains it) to and from a checkpoint file.
//
//   "0.weight", "1.running_mean"   parameters and states, by their PyTorch names
//   "best.0.weight"                the best ones so far, where a run keeps them
//   "average.0.weight"             their moving average
//   "optimizer.0.weight.exp_avg"   what the optimizer remembers
//   "data.mean", "data.sd"         how the features were standardised
//
// and in the metadata what the samples look like (sample_description.h), and what is said of them
// (decision.h).
#ifndef LOCKSTEP_ENGINE_TRAIN_CHECKPOINTING_H_
#define LOCKSTEP_ENGINE_TRAIN_CHECKPOINTING_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/status.h"
#include "engine/checkpoint/checkpoint.h"
#include "engine/checkpoint/training_state.h"
#include "engine/data/dataset.h"
#include "engine/data/table/standardize.h"
#include "engine/optim/ema.h"
#include "engine/optim/optimizer.h"
#include "engine/train/decision.h"
#include "engine/train/network.h"

namespace lockstep::inline v0_1 {

inline constexpr std::string_view kBestPrefix = "best.";

// Views of all parameters, then of all states. For a checkpoint, RestoreTensors, or a hash. Who
// writes through them calls network.store().Changed().
std::vector<NamedTensor> ModelTensors(const Network& network);

// Of the names, shapes and bytes of all parameters and states: equal for runs that ended in the
// same bits. HexOf() prints it.
uint64_t ModelHash(const Network& network);

// A copy of all parameters and states, in memory.
class ModelCopy {
 public:
  ModelCopy() = default;
  explicit ModelCopy(const Network& network);  // books the memory; TakeFrom fills it
  ModelCopy(ModelCopy&&) = default;            // tensors() stay where they are
  ModelCopy& operator=(ModelCopy&&) = default;

  // An error that names what differs, and nothing is copied, unless the network has the same
  // parameters and states, by name, shape and type. Neither allocates unless it fails.
  Status TakeFrom(const Network& network);
  Status ApplyTo(Network& network) const;
  // Views, named as in ModelTensors().
  const std::vector<NamedTensor>& tensors() const { return tensors_; }

 private:
  std::vector<std::byte> bytes_;
  std::vector<NamedTensor> tensors_;
};

// What a checkpoint holds; null members are left out. Borrowed.
struct CheckpointParts {
  Network* network = nullptr;
  Optimizer* optimizer = nullptr;
  Ema* ema = nullptr;
  ModelCopy* best = nullptr;
  const Standardizer* standardizer = nullptr;  // written only: ReadStandardizer reads
  const DatasetInfo* samples = nullptr;        // written only: DatasetInfoFrom reads
  const ModelCopy* weights = nullptr;          // written only: instead of those the network holds
};

// `state.layer_traits` is filled in from the network; the optimizer's kind and step count and the
// average's number of updates go into the metadata by themselves, `more` as well. With several
// ranks collective (SaveCheckpoint): the optimizer of each may hold a part of the states.
Status WriteCheckpoint(const std::string& path, const CheckpointParts& parts, TrainingState state,
                       const Metadata& more = {}, Communicator* ranks = nullptr);
// Everything that parts ask for is copied from the file, or nothing is: the error names the first
// tensor that is missing or differs. A layer that computes otherwise than the network's (a batch
// norm of another convention), or another kind of optimizer, is an error that names both. An
// optimizer that is not bound yet is bound to the network first (and stays bound); with several
// ranks, whose shares only a training step knows, that is an error instead.
Result<TrainingState> ReadInto(const Checkpoint& checkpoint, const CheckpointParts& parts);

// Empty where the file has none.
Result<std::optional<Standardizer>> ReadStandardizer(const Checkpoint& checkpoint);

// A trained model alone, for use: parameters, states and how its features were standardised.
struct LoadedModel {
  TrainingState state;
  std::optional<Standardizer> standardizer;
};
Status SaveModel(const std::string& path, Network& network, const TrainingState& state,
                 const Standardizer* standardizer = nullptr, const DatasetInfo* samples = nullptr,
                 const Decision& decision = {});
// Reads files of SaveModel and of Trainer::Save: from those the best weights where there are any,
// else the averaged, else the last. A failed read changes nothing.
Result<LoadedModel> LoadModel(const Checkpoint& checkpoint, Network& network);
Result<LoadedModel> LoadModel(const std::string& path, Network& network);

// Of such a file only the parameters and states whose names match one of `patterns` (of a shell:
// "body.*"), for a network that has a part in common with another. What does not match stays as it
// is in the network, and may be anything in the file. An error if a pattern matches nothing in the
// network; a failed read changes nothing.
Status LoadPart(const Checkpoint& checkpoint, std::span<const std::string> patterns,
                Network& network);
Status LoadPart(const std::string& path, std::span<const std::string> patterns, Network& network);

}  // namespace lockstep

#endif  // LOCKSTEP_ENGINE_TRAIN_CHECKPOINTING_H_
