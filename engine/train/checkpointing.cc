#include "engine/train/checkpointing.h"

#include <fnmatch.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstddef>
#include <cstring>
#include <utility>

#include "engine/base/check.h"
#include "engine/io/file.h"
#include "engine/io/hash.h"
#include "engine/io/text.h"
#include "engine/train/sample_description.h"

namespace lockstep::inline v0_1 {
namespace {

constexpr std::string_view kMean = "data.mean", kSd = "data.sd";
// Keys of the metadata.
constexpr char kOptimizerKind[] = "optimizer.kind", kOptimizerSteps[] = "optimizer.steps";
constexpr char kAverageUpdates[] = "average.updates";
constexpr char kParameterHash[] = "parameter_hash";  // for people: the checksum holds the file

template <class Named>
void AddPrefixed(std::string_view prefix, const std::vector<Named>& tensors,
                 std::vector<NamedTensor>& to) {
  for (const Named& named : tensors) to.push_back({std::string(prefix) + named.name, named.tensor});
}

// Those in the network, or `instead` of them.
std::vector<NamedTensor> WeightsOf(const Network& network, const ModelCopy* instead) {
  return instead != nullptr ? instead->tensors() : ModelTensors(network);
}

// Everything that is both written and read, by the names in the file: whole, but for what the
// optimizer holds in part.
std::vector<TensorPiece> TensorsOf(const CheckpointParts& parts) {
  std::vector<NamedTensor> tensors;
  if (parts.network != nullptr) tensors = WeightsOf(*parts.network, parts.weights);
  if (parts.best != nullptr) AddPrefixed(kBestPrefix, parts.best->tensors(), tensors);
  if (parts.ema != nullptr) AddPrefixed(kAveragePrefix, parts.ema->states(), tensors);
  std::vector<TensorPiece> pieces(tensors.begin(), tensors.end());
  if (parts.optimizer != nullptr) {
    for (const OptimizerState& state : parts.optimizer->states()) {
      // Optimizers that hold everything need not say what the whole is.
      const bool says = state.whole.rank() > 0 || state.tensor.size() == 0;
      pieces.emplace_back(std::string(kOptimizerPrefix) + state.parameter + "." + state.name,
                          state.tensor, says ? state.whole : state.tensor.shape(), state.begin);
    }
  }
  return pieces;
}

StoredPiece Stored(const TensorPiece& piece) {
  StoredPiece stored;
  stored.name = piece.name;
  stored.type = StoredTypeOf(piece.tensor.dtype());
  stored.shape = piece.whole;
  stored.begin = piece.begin;
  stored.data = {static_cast<const std::byte*>(piece.tensor.data()), piece.tensor.bytes()};
  return stored;
}

Result<int64_t> CountIn(const Metadata& meta, const std::string& key) {
  const auto found = meta.find(key);
  if (found == meta.end()) {
    return Status::NotFound("metadata " + Quoted(key) +
                            " is missing; was the file saved by a run of another kind?");
  }
  const std::string& text = found->second;
  int64_t count = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), count);
  if (error != std::errc() || end != text.data() + text.size() || count < 0) {
    return Status::Corrupt("metadata " + Quoted(key) + " is " + Quoted(text) +
                           ", expected a whole number of at least 0");
  }
  return count;
}

Status CheckOptimizer(const Metadata& meta, const Optimizer& optimizer) {
  const auto kind = meta.find(kOptimizerKind);
  if (kind == meta.end()) {
    return Status::NotFound("it holds a model without an optimizer: a run cannot go on from it");
  }
  if (kind->second == optimizer.kind()) return Status::Ok();
  return Status::Invalid("it was trained by " + Quoted(kind->second) + ", this run uses " +
                         optimizer.kind());
}

// So that no moments are left behind in the file.
Status BindForReading(Optimizer& optimizer, Network* network) {
  if (network == nullptr) {
    if (optimizer.bound()) return Status::Ok();
    return Status::Invalid(optimizer.kind() +
                           " is bound to no network, so that it has no states to read into: give "
                           "CheckpointParts::network, too");
  }
  const ParameterSet parameters = network->store().ParametersToWrite();
  if (optimizer.bound()) return optimizer.CheckUpdate(parameters, optimizer.learning_rate());
  if (network->communicator() != nullptr && network->communicator()->size() > 1) {
    return Status::Invalid(optimizer.kind() +
                           " is not bound yet, and each of several ranks holds a share of its "
                           "states: TrainingStep::BindOptimizer or Trainer::Make comes first");
  }
  return optimizer.Bind(network->context(), parameters);
}

const StoredTensor* Find(std::span<const StoredTensor> tensors, std::string_view name) {
  const auto found = std::find_if(tensors.begin(), tensors.end(),
                                  [&](const StoredTensor& tensor) { return tensor.name == name; });
  return found == tensors.end() ? nullptr : &*found;
}

// As RestoreTensors, but counts may have been stored as another type: version 1 had them as F32
// where they were averages.
Status RestoreAnyCount(std::span<const StoredTensor> from, std::vector<TensorPiece> into) {
  struct Converted {
    Tensor into;
    int64_t count;
  };
  std::vector<Converted> converted;
  for (size_t i = 0; i < into.size();) {
    const StoredTensor* stored =
        into[i].tensor.dtype() == DType::kI64 ? Find(from, into[i].name) : nullptr;
    if (stored == nullptr || stored->type == StoredType::kI64 || stored->shape.size() != 1 ||
        into[i].tensor.size() != 1) {
      ++i;
      continue;
    }
    double value = 0.0;
    LOCKSTEP_TRY(ConvertInto(*stored, Tensor(&value, Shape{})));
    if (!(value >= 0.0 && value < 9e15))
      return Status::Corrupt("tensor " + Quoted(stored->name) + " is no count");
    converted.push_back({into[i].tensor, static_cast<int64_t>(std::llround(value))});
    into.erase(into.begin() + static_cast<std::ptrdiff_t>(i));
  }
  LOCKSTEP_TRY(RestoreTensors(from, into));
  for (const Converted& counter : converted) *counter.into.as<int64_t>() = counter.count;
  return Status::Ok();
}

uint64_t HashOf(const std::vector<NamedTensor>& tensors) {
  return HashTensors(std::vector<NamedConstTensor>(tensors.begin(), tensors.end()));
}

// Under which names a checkpoint has the weights that are for use: the best ones where there are
// any, else the averaged, else the last.
Result<std::string_view> BestPrefix(const Checkpoint& checkpoint) {
  const bool has_best =
      std::any_of(checkpoint.tensors.begin(), checkpoint.tensors.end(),
                  [](const StoredTensor& tensor) { return tensor.name.starts_with(kBestPrefix); });
  if (has_best) return kBestPrefix;
  if (checkpoint.meta.contains(kAverageUpdates)) {
    LOCKSTEP_TRY_ASSIGN(const int64_t updates, CountIn(checkpoint.meta, kAverageUpdates));
    if (updates > 0) return kAveragePrefix;
  }
  return std::string_view();
}

// `wants(path)`: whether the layer of this path counts.
template <class Wants>
Status CheckTraits(const TrainingState& state, const Network& network, const Wants& wants) {
  for (const auto& [layer, wanted] : network.layer_traits()) {
    if (!wants(layer.substr(layer.find('.') + 1))) continue;
    const auto found = state.layer_traits.find(layer);
    if (found == state.layer_traits.end()) {
      return Status::Invalid("it does not say how " + layer +
                             " computes; was it saved from another model?");
    }
    if (found->second != wanted) {
      return Status::Invalid(layer + " was trained as " + Quoted(found->second) +
                             ", the network has it as " + Quoted(wanted) +
                             "; bind it as it was trained");
    }
  }
  return Status::Ok();
}

Status CheckTraits(const TrainingState& state, const Network& network) {
  return CheckTraits(state, network, [](const std::string&) { return true; });
}

Result<std::vector<float>> FloatsOf(const StoredTensor& stored) {
  if (stored.shape.rank() != 1 || stored.type != StoredType::kF32) {
    return Status::Corrupt("tensor " + Quoted(stored.name) + " is " + stored.Describe() +
                           ", expected one F32 for each feature");
  }
  const std::span<const float> values = stored.view().span<float>();
  return std::vector<float>(values.begin(), values.end());
}

}  // namespace

std::vector<NamedTensor> ModelTensors(const Network& network) {
  std::vector<NamedTensor> tensors;
  const ParameterStore& store = network.store();
  const ParameterSet parameters = store.ParametersToWrite();
  for (size_t i = 0; i < parameters.infos.size(); ++i)
    tensors.push_back({parameters.infos[i].name, parameters.value(i)});
  for (size_t i = 0; i < store.states().size(); ++i)
    tensors.push_back({store.states()[i].name, store.StateToWrite(i)});
  return tensors;
}

uint64_t ModelHash(const Network& network) { return HashOf(ModelTensors(network)); }

ModelCopy::ModelCopy(const Network& network) : tensors_(ModelTensors(network)) {
  size_t bytes = 0;
  for (const NamedTensor& named : tensors_) bytes += (named.tensor.bytes() + 7) / 8 * 8;
  bytes_.resize(bytes);
  std::byte* next = bytes_.data();
  for (NamedTensor& named : tensors_) {
    named.tensor = Tensor(next, named.tensor.dtype(), named.tensor.shape());
    next += (named.tensor.bytes() + 7) / 8 * 8;
  }
}

namespace {

// copy(of the copy, of the network) for each tensor, once it is known that all fit.
template <class Copy>
Status ForEachPair(const std::vector<NamedTensor>& tensors, const ParameterStore& store,
                   const Copy& copy) {
  const ParameterSet parameters = store.ParametersToWrite();
  const size_t count = parameters.infos.size();
  if (tensors.size() != count + store.states().size()) {
    return Status::Invalid("the copy is of a network with " + std::to_string(tensors.size()) +
                           " parameters and states, this one has " +
                           std::to_string(count + store.states().size()));
  }
  const auto live = [&](size_t i) {
    return i < count ? parameters.value(i) : store.StateToWrite(i - count);
  };
  for (size_t i = 0; i < tensors.size(); ++i) {
    const std::string& name = i < count ? parameters.infos[i].name : store.states()[i - count].name;
    const Tensor &of_copy = tensors[i].tensor, here = live(i);
    if (tensors[i].name == name && of_copy.shape() == here.shape() &&
        of_copy.dtype() == here.dtype()) {
      continue;
    }
    return Status::Invalid("the copy is of another network: it has " + tensors[i].name + " as " +
                           NameOf(of_copy.dtype()) + " " + of_copy.shape().ToString() +
                           " where this one has " + name + " as " + NameOf(here.dtype()) + " " +
                           here.shape().ToString());
  }
  for (size_t i = 0; i < tensors.size(); ++i) copy(tensors[i].tensor, live(i));
  return Status::Ok();
}

}  // namespace

Status ModelCopy::TakeFrom(const Network& network) {
  return ForEachPair(tensors_, network.store(), [](const Tensor& copy, const Tensor& live) {
    if (live.size() > 0) std::memcpy(copy.data(), live.data(), live.bytes());
  });
}

Status ModelCopy::ApplyTo(Network& network) const {
  LOCKSTEP_TRY(ForEachPair(tensors_, network.store(), [](const Tensor& copy, const Tensor& live) {
    if (live.size() > 0) std::memcpy(live.data(), copy.data(), live.bytes());
  }));
  network.store().Changed();
  return Status::Ok();
}

Status WriteCheckpoint(const std::string& path, const CheckpointParts& parts, TrainingState state,
                       const Metadata& more, Communicator* ranks) {
  if (parts.network != nullptr && parts.weights == nullptr && parts.network->store().torn()) {
    return Status::Io(path +
                      ": the network's weights are of no step, since the ranks lost each other; "
                      "go on from an earlier checkpoint");
  }
  std::vector<StoredPiece> all;
  for (const TensorPiece& piece : TensorsOf(parts)) all.push_back(Stored(piece));
  if (parts.standardizer != nullptr) {
    const Shape shape{parts.standardizer->channels()};
    for (const auto& [name, values] : {std::pair(kMean, &parts.standardizer->mean()),
                                       std::pair(kSd, &parts.standardizer->sd())}) {
      all.emplace_back(
          StoredTensor(NamedConstTensor(std::string(name), ConstTensor(values->data(), shape))));
    }
  }
  if (parts.network != nullptr) state.layer_traits = parts.network->layer_traits();
  Metadata meta = MetadataOf(state);
  if (parts.network != nullptr)
    meta[kParameterHash] = HexOf(HashOf(WeightsOf(*parts.network, parts.weights)));
  if (parts.optimizer != nullptr) {
    meta[kOptimizerKind] = parts.optimizer->kind();
    meta[kOptimizerSteps] = std::to_string(parts.optimizer->step_count());
  }
  if (parts.ema != nullptr) meta[kAverageUpdates] = std::to_string(parts.ema->update_count());
  if (parts.samples != nullptr) meta.merge(MetadataOf(*parts.samples));
  for (const auto& [key, value] : more)
    LOCKSTEP_CHECK(meta.emplace(key, value).second, "metadata key given twice: " + key);
  return SaveCheckpoint(path, all, meta, ranks);
}

Result<TrainingState> ReadInto(const Checkpoint& checkpoint, const CheckpointParts& parts) {
  LOCKSTEP_TRY_ASSIGN(TrainingState state, TrainingStateFrom(checkpoint.meta));
  if (parts.network != nullptr) LOCKSTEP_TRY(CheckTraits(state, *parts.network));
  int64_t optimizer_steps = 0, average_updates = 0;
  if (parts.optimizer != nullptr) {
    LOCKSTEP_TRY(CheckOptimizer(checkpoint.meta, *parts.optimizer));
    LOCKSTEP_TRY(BindForReading(*parts.optimizer, parts.network));
    LOCKSTEP_TRY_ASSIGN(optimizer_steps, CountIn(checkpoint.meta, kOptimizerSteps));
  }
  if (parts.ema != nullptr) {
    LOCKSTEP_TRY_ASSIGN(average_updates, CountIn(checkpoint.meta, kAverageUpdates));
  }
  LOCKSTEP_TRY(RestoreAnyCount(checkpoint.tensors, TensorsOf(parts)));
  if (parts.network != nullptr) parts.network->store().Changed();
  if (parts.optimizer != nullptr) parts.optimizer->set_step_count(optimizer_steps);
  if (parts.ema != nullptr) parts.ema->set_update_count(average_updates);
  return state;
}

Result<std::optional<Standardizer>> ReadStandardizer(const Checkpoint& checkpoint) {
  const StoredTensor* mean = checkpoint.Find(kMean);
  const StoredTensor* sd = checkpoint.Find(kSd);
  if (mean == nullptr && sd == nullptr) return std::optional<Standardizer>();
  if (mean == nullptr || sd == nullptr)
    return Status::Corrupt("of data.mean and data.sd only one is in the file");
  LOCKSTEP_TRY_ASSIGN(std::vector<float> means, FloatsOf(*mean));
  LOCKSTEP_TRY_ASSIGN(std::vector<float> sds, FloatsOf(*sd));
  LOCKSTEP_TRY_ASSIGN(Standardizer standardizer,
                      Standardizer::FromVectors(std::move(means), std::move(sds)));
  return std::optional<Standardizer>(std::move(standardizer));
}

Status SaveModel(const std::string& path, Network& network, const TrainingState& state,
                 const Standardizer* standardizer, const DatasetInfo* samples,
                 const Decision& decision) {
  return WriteCheckpoint(path,
                         {.network = &network, .standardizer = standardizer, .samples = samples},
                         state, MetadataOf(decision));
}

Result<LoadedModel> LoadModel(const Checkpoint& checkpoint, Network& network) {
  LoadedModel model;
  LOCKSTEP_TRY_ASSIGN(model.state, TrainingStateFrom(checkpoint.meta));
  LOCKSTEP_TRY(CheckTraits(model.state, network));
  LOCKSTEP_TRY_ASSIGN(model.standardizer, ReadStandardizer(checkpoint));
  LOCKSTEP_TRY_ASSIGN(const std::string_view prefix, BestPrefix(checkpoint));
  std::vector<NamedTensor> tensors;
  AddPrefixed(prefix, ModelTensors(network), tensors);
  LOCKSTEP_TRY(RestoreAnyCount(checkpoint.tensors, {tensors.begin(), tensors.end()}));
  network.store().Changed();
  return model;
}

Result<LoadedModel> LoadModel(const std::string& path, Network& network) {
  LOCKSTEP_TRY_ASSIGN(const Checkpoint checkpoint, LoadCheckpoint(path));
  Result<LoadedModel> model = LoadModel(checkpoint, network);
  if (!model.ok()) return model.status().At(path);
  return model;
}

Status LoadPart(const Checkpoint& checkpoint, std::span<const std::string> patterns,
                Network& network) {
  const auto matches = [](const std::string& pattern, const std::string& name) {
    return fnmatch(pattern.c_str(), name.c_str(), 0) == 0;
  };
  std::vector<NamedTensor> part;
  std::vector<char> used(patterns.size(), false);
  for (const NamedTensor& tensor : ModelTensors(network)) {
    bool wanted = false;
    for (size_t i = 0; i < patterns.size(); ++i) {
      if (!matches(patterns[i], tensor.name)) continue;
      wanted = true;
      used[i] = true;
    }
    if (wanted) part.push_back(tensor);
  }
  for (size_t i = 0; i < patterns.size(); ++i) {
    if (!used[i])
      return Status::Invalid("no parameter and no state matches " + Quoted(patterns[i]) +
                             ", to be loaded");
  }
  // A layer counts where any of its tensors is loaded.
  LOCKSTEP_TRY_ASSIGN(const TrainingState state, TrainingStateFrom(checkpoint.meta));
  LOCKSTEP_TRY(CheckTraits(state, network, [&](const std::string& path) {
    return std::any_of(part.begin(), part.end(), [&](const NamedTensor& tensor) {
      return tensor.name.starts_with(path + ".");
    });
  }));
  LOCKSTEP_TRY_ASSIGN(const std::string_view prefix, BestPrefix(checkpoint));
  std::vector<NamedTensor> tensors;
  AddPrefixed(prefix, part, tensors);
  LOCKSTEP_TRY(RestoreAnyCount(checkpoint.tensors, {tensors.begin(), tensors.end()}));
  network.store().Changed();
  return Status::Ok();
}

Status LoadPart(const std::string& path, std::span<const std::string> patterns, Network& network) {
  LOCKSTEP_TRY_ASSIGN(const Checkpoint checkpoint, LoadCheckpoint(path));
  return LoadPart(checkpoint, patterns, network).At(path);
}

}  // namespace lockstep
