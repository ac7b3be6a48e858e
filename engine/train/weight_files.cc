#include "engine/train/weight_files.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstring>
#include <map>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "engine/base/check.h"
#include "engine/checkpoint/checkpoint.h"
#include "engine/io/file.h"
#include "engine/io/nearest_name.h"
#include "engine/io/safetensors.h"
#include "engine/io/text.h"
#include "engine/train/checkpointing.h"

namespace lockstep::inline v0_1 {
namespace {

// visit(place in the file's order, place in memory) for each element, in the file's order.
template <class Visit>
void ForEachPlace(const FileLayout& layout, const Visit& visit) {
  const int rank = layout.view.rank();
  LOCKSTEP_CHECK_EQ(static_cast<int>(layout.order.size()), rank);
  LOCKSTEP_CHECK_EQ(layout.view.size(), layout.file.size());
  std::array<int64_t, Shape::kMaxRank> strides{}, extents{}, steps{}, at{};
  int64_t stride = 1;
  for (int i = rank - 1; i >= 0; --i) {
    strides[static_cast<size_t>(i)] = stride;
    stride *= layout.view[i];
  }
  for (size_t i = 0; i < layout.order.size(); ++i) {
    extents[i] = layout.view[layout.order[i]];
    steps[i] = strides[static_cast<size_t>(layout.order[i])];
  }
  int64_t memory = 0;
  const int64_t size = layout.view.size();
  for (int64_t file = 0; file < size; ++file) {
    visit(static_cast<size_t>(file), static_cast<size_t>(memory));
    for (auto i = static_cast<size_t>(rank); i-- > 0;) {
      memory += steps[i];
      if (++at[i] < extents[i]) break;
      memory -= steps[i] * extents[i];
      at[i] = 0;
    }
  }
}

// A parameter or state of the network, and what files hold of it.
struct Wanted {
  std::string name;
  Tensor tensor;
  const FileLayout* layout;  // null: as it is
  Shape shape;               // in files
  bool unknown;              // FileLayout::unknown
  bool before_norm = false;  // a bias that a norm reads right behind

  Wanted(std::string its_name, const Tensor& memory, const FileLayout& in_files, const Shape& ours)
      : name(std::move(its_name)),
        tensor(memory),
        layout(in_files.plain() ? nullptr : &in_files),
        shape(in_files.plain() ? ours : in_files.file),
        unknown(in_files.unknown) {}

  std::string Describe() const {
    return std::string(NameOf(StoredTypeOf(tensor.dtype()))) + " " + shape.ToString();
  }
};

std::vector<Wanted> WantedBy(const Network& network) {
  std::vector<Wanted> all;
  const ParameterStore& store = network.store();
  const ParameterSet parameters = store.ParametersToWrite();
  for (size_t i = 0; i < parameters.infos.size(); ++i) {
    const ParameterInfo& info = parameters.infos[i];
    all.push_back({info.name, parameters.value(i), info.layout, info.shape});
  }
  for (size_t i = 0; i < store.states().size(); ++i) {
    const StateInfo& info = store.states()[i];
    all.push_back({info.name, store.StateToWrite(i), info.layout, info.shape});
  }
  for (const LayerReport& row : network.evaluation_program().graph().report()) {
    if (row.bias_before_norm >= 0)
      all[static_cast<size_t>(row.bias_before_norm)].before_norm = true;
  }
  return all;
}

Status CheckOrders(const std::vector<Wanted>& wanted) {
  for (const Wanted& one : wanted) {
    if (!one.unknown) continue;
    return Status::Invalid(
        Quoted(one.name) +
        " is over features of flattened pictures that were concatenated or normalised in groups, "
        "which other programs, with the channels in front, have in an order that this file cannot "
        "say; give them one pixel each (AdaptiveAvgPool2d(1)) before they are flattened, or keep "
        "to model files of Lockstep's own");
  }
  return Status::Ok();
}

using ByName = std::unordered_map<std::string_view, const StoredTensor*>;

// "a, b, c and 4 more"
std::string Some(const std::vector<std::string>& names) {
  constexpr size_t kShown = 3;
  std::string text;
  for (size_t i = 0; i < std::min(names.size(), kShown); ++i)
    text += (i == 0 ? "" : ", ") + names[i];
  if (names.size() > kShown) text += " and " + std::to_string(names.size() - kShown) + " more";
  return text;
}

// How many names are known without their first `length` letters, which all of them have.
size_t KnownWithout(size_t length, std::span<const StoredTensor> tensors,
                    const std::unordered_set<std::string_view>& known) {
  return static_cast<size_t>(std::count_if(tensors.begin(), tensors.end(), [&](const auto& tensor) {
    return known.contains(std::string_view(tensor.name).substr(length));
  }));
}

// What all names begin with and that is best left away: of the beginnings that end in a dot and
// that all have in common, the one without which most are known; the shortest of several, which
// most often is none.
std::string PrefixToDrop(std::span<const StoredTensor> tensors, const std::vector<Wanted>& wanted) {
  if (tensors.empty()) return "";
  std::string_view common = tensors.front().name;
  for (const StoredTensor& tensor : tensors) {
    size_t same = 0;
    while (same < common.size() && same < tensor.name.size() && common[same] == tensor.name[same])
      ++same;
    common = common.substr(0, same);
  }
  std::unordered_set<std::string_view> known;
  for (const Wanted& one : wanted) known.insert(one.name);
  constexpr int kMostLevels = 16;  // of an untrusted file
  std::string_view best;
  size_t best_known = KnownWithout(0, tensors, known), length = 0;
  for (int level = 0; level < kMostLevels; ++level) {
    const size_t dot = common.find('.', length);
    if (dot == std::string_view::npos) break;
    length = dot + 1;
    if (const size_t count = KnownWithout(length, tensors, known); count > best_known) {
      best = common.substr(0, length);
      best_known = count;
    }
  }
  return std::string(best);
}

bool IsFloat(StoredType type) {
  return type == StoredType::kF64 || type == StoredType::kF32 || type == StoredType::kF16 ||
         type == StoredType::kBF16;
}

bool IsCounter(const Wanted& wanted) {
  return wanted.tensor.dtype() == DType::kI64 && wanted.tensor.size() == 1;
}

// Whether `stored` can become `wanted`; a tensor of floats of any width does, and a count of any
// number. The number itself is looked at by Convert.
Status CheckFits(const StoredTensor& stored, const Wanted& wanted) {
  const bool counter = IsCounter(wanted);
  const bool shape = counter ? stored.shape.size() == 1 : stored.shape == wanted.shape;
  const bool type = counter || (wanted.tensor.dtype() == DType::kF32
                                    ? IsFloat(stored.type)
                                    : stored.type == StoredTypeOf(wanted.tensor.dtype()));
  if (shape && type) return Status::Ok();
  return Status::Invalid("tensor " + Quoted(stored.name) + " is " + stored.Describe() +
                         " in the file, the model needs " + wanted.Describe() +
                         "; was it saved from another model?");
}

Status Convert(const StoredTensor& stored, const Wanted& wanted, Tensor into) {
  if (IsCounter(wanted)) {
    double value = 0.0;
    LOCKSTEP_TRY(ConvertInto(stored, Tensor(&value, Shape{})));
    if (!(value >= 0.0 && value < 9e15))
      return Status::Corrupt("tensor " + Quoted(stored.name) + " is no count");
    *into.as<int64_t>() = static_cast<int64_t>(std::llround(value));
    return Status::Ok();
  }
  if (stored.type == StoredTypeOf(into.dtype())) {
    if (!stored.data.empty()) std::memcpy(into.data(), stored.data.data(), stored.data.size());
    return Status::Ok();
  }
  return ConvertInto(stored, into);
}

// Weights that are not finite come of a run that failed, or of numbers too large for a float.
Status CheckFinite(const StoredTensor& stored, ConstTensor converted) {
  if (converted.dtype() != DType::kF32) return Status::Ok();
  const float* const values = converted.f32();
  const float* const end = values + converted.size();
  const float* const bad = std::find_if(values, end, [](float v) { return !std::isfinite(v); });
  if (bad == end) return Status::Ok();
  const std::string place = "tensor " + Quoted(stored.name) + " holds ";
  const std::string at = " at element " + std::to_string(bad - values);
  if (stored.type == StoredType::kF64) {
    double wide = 0.0;
    std::memcpy(&wide, stored.data.data() + (bad - values) * std::ptrdiff_t{sizeof(wide)},
                sizeof(wide));
    if (std::isfinite(wide))
      return Status::Invalid(place + TextOf(wide) + at + ", which is no f32");
  }
  return Status::Corrupt(place + TextOf(static_cast<double>(*bad)) + at +
                         ", and weights are finite: was it saved after its training had failed?");
}

Status Missing(const Wanted& wanted, std::span<const StoredTensor> tensors) {
  std::vector<std::string> names;
  for (const StoredTensor& tensor : tensors) names.push_back(tensor.name);
  const std::string nearest = NearestName(wanted.name, names);
  return Status::NotFound(
      "tensor " + Quoted(wanted.name) + " " + wanted.Describe() + " is not in the file" +
      (nearest.empty() ? "" : "; the nearest name there is " + Quoted(nearest)) +
      "; was it saved from another model?");
}

Status Unknown(const StoredTensor& stored, const std::vector<Wanted>& wanted) {
  std::vector<std::string> names;
  for (const Wanted& one : wanted) names.push_back(one.name);
  return Status::Invalid("the network has no " + Quoted(stored.name) + "; its nearest is " +
                         Quoted(NearestName(stored.name, names)));
}

// The path of the layer with the last parameter, which is the head of networks that have one.
std::string HeadOf(const Network& network) {
  const std::vector<ParameterInfo>& infos = network.store().infos();
  if (infos.empty()) return "";
  const std::string& last = infos.back().name;
  const size_t dot = last.rfind('.');
  return dot == std::string::npos ? "" : last.substr(0, dot);
}

bool IsOf(const std::string& layer, const std::string& name) {
  return !layer.empty() && name.starts_with(layer + ".");
}

// The same but for the number of outputs, which comes first.
bool DiffersInOutputsAlone(const Shape& a, const Shape& b) {
  return a.rank() == b.rank() && a.rank() >= 1 && a[0] != b[0] && a.WithBatch(b[0]) == b;
}

// What became of tensors that were not there, or were of another type.
struct Filled {
  std::vector<std::string> counters, biases;
  std::map<StoredType, std::vector<std::string>> converted;

  void Tell(std::vector<std::string>& remarks) const {
    for (const auto& [type, names] : converted)
      remarks.push_back(Some(names) + ": " + NameOf(type) + " in the file, F32 from here on");
    if (!counters.empty())
      remarks.push_back(Some(counters) + ": not in the file, and 0, as PyTorch reads such files");
    if (!biases.empty()) {
      remarks.push_back(Some(biases) +
                        ": not in the file, and 0, as of a layer that leaves its bias to the norm "
                        "behind it");
    }
  }
};

// Copies what fits: all of it, or nothing and an error. `spared`: a layer whose tensors stay.
Status CopyAll(std::span<const StoredTensor> tensors, const std::vector<Wanted>& wanted,
               const std::string& spared, std::vector<std::string>& remarks) {
  ByName by_name;
  for (const StoredTensor& tensor : tensors) {
    if (!by_name.emplace(tensor.name, &tensor).second)
      return Status::Invalid("two tensors of the file are " + Quoted(tensor.name));
  }
  std::unordered_map<std::string_view, int> known;
  for (const Wanted& one : wanted) known.emplace(one.name, 0);
  for (const StoredTensor& stored : tensors) {
    if (!known.contains(stored.name)) return Unknown(stored, wanted);
  }
  // Each is converted into memory of its own first: only when all could be does the network change.
  std::vector<std::vector<std::byte>> converted(wanted.size());
  Filled filled;
  for (size_t i = 0; i < wanted.size(); ++i) {
    const Wanted& one = wanted[i];
    if (IsOf(spared, one.name)) continue;
    const auto found = by_name.find(one.name);
    if (found == by_name.end()) {
      const bool counter = IsCounter(one) && one.name.ends_with("num_batches_tracked");
      if (!counter && !one.before_norm) return Missing(one, tensors);
      (counter ? filled.counters : filled.biases).push_back(one.name);
      converted[i].resize(one.tensor.bytes());  // zeros
      continue;
    }
    LOCKSTEP_TRY(CheckFits(*found->second, one));
    converted[i].resize(one.tensor.bytes());
    const StoredTensor& stored = *found->second;
    const Tensor into(converted[i].data(), one.tensor.dtype(), one.tensor.shape());
    LOCKSTEP_TRY(Convert(stored, one, into));
    LOCKSTEP_TRY(CheckFinite(stored, into));
    if (into.dtype() == DType::kF32 && stored.type != StoredType::kF32)
      filled.converted[stored.type].push_back(one.name);
  }
  for (size_t i = 0; i < wanted.size(); ++i) {
    if (converted[i].empty()) continue;
    const Tensor& into = wanted[i].tensor;
    if (wanted[i].layout == nullptr) {
      std::memcpy(into.data(), converted[i].data(), converted[i].size());
    } else {
      const ConstTensor file(reinterpret_cast<const float*>(converted[i].data()), into.shape());
      FromFileOrder(*wanted[i].layout, file.span<float>(), into.span<float>());
    }
  }
  filled.Tell(remarks);
  return Status::Ok();
}

// The head of `wanted` if only its number of outputs differs from the file's; else empty.
template <class Find>
std::string HeadOfOtherSize(const Network& network, const std::vector<Wanted>& wanted,
                            const Find& find) {
  const std::string head = HeadOf(network);
  bool differs = false;
  for (const Wanted& one : wanted) {
    const StoredTensor* stored = find(one.name);
    if (!IsOf(head, one.name)) continue;
    if (stored == nullptr || !DiffersInOutputsAlone(stored->shape, one.shape)) return "";
    differs = true;
  }
  return differs ? head : "";
}

Result<ImportedWeights> Import(const std::string& path, Network& network, bool new_task) {
  LOCKSTEP_TRY_ASSIGN(SafetensorsFile file, ReadSafetensors(path));
  const std::vector<Wanted> wanted = WantedBy(network);
  LOCKSTEP_TRY(CheckOrders(wanted).At(path));
  ImportedWeights imported;
  std::vector<std::string> remarks;
  if (const std::string prefix = PrefixToDrop(file.tensors, wanted); !prefix.empty()) {
    for (StoredTensor& tensor : file.tensors) tensor.name.erase(0, prefix.size());
    remarks.push_back("all names begin with " + Quoted(prefix) + ", which is left away");
  }
  if (new_task) {
    imported.fresh_layer =
        HeadOfOtherSize(network, wanted, [&](const std::string& name) { return file.Find(name); });
  }
  LOCKSTEP_TRY(CopyAll(file.tensors, wanted, imported.fresh_layer, remarks).At(path));
  network.store().Changed();
  for (const std::string& remark : remarks) imported.remarks.push_back(path + ": " + remark);
  return imported;
}

Result<ImportedWeights> LoadForNewTask(const std::string& path, Network& network) {
  LOCKSTEP_TRY_ASSIGN(const Checkpoint checkpoint, LoadCheckpoint(path));
  for (const StoredTensor& stored : checkpoint.tensors) {
    if (stored.type == StoredType::kF32 && !stored.name.starts_with(kOptimizerPrefix))
      LOCKSTEP_TRY(CheckFinite(stored, stored.view()).At(path));
  }
  std::vector<Wanted> wanted = WantedBy(network);
  for (Wanted& one : wanted) one.shape = one.tensor.shape();  // as checkpoints hold it
  const std::string head = HeadOfOtherSize(
      network, wanted, [&](const std::string& name) { return checkpoint.Find(name); });
  if (head.empty()) {
    LOCKSTEP_TRY(LoadModel(checkpoint, network).status().At(path));
    return ImportedWeights{};
  }
  std::vector<std::string> body;  // names have no letters that mean something in patterns
  for (const Wanted& one : wanted) {
    if (!IsOf(head, one.name)) body.push_back(one.name);
  }
  LOCKSTEP_TRY(LoadPart(checkpoint, body, network).At(path));
  return ImportedWeights{.fresh_layer = head};
}

}  // namespace

void ToFileOrder(const FileLayout& layout, std::span<const float> memory, std::span<float> file) {
  LOCKSTEP_CHECK_EQ(memory.size(), static_cast<size_t>(layout.view.size()));
  LOCKSTEP_CHECK_EQ(file.size(), memory.size());
  ForEachPlace(layout,
               [&](size_t in_file, size_t in_memory) { file[in_file] = memory[in_memory]; });
}

void FromFileOrder(const FileLayout& layout, std::span<const float> file, std::span<float> memory) {
  LOCKSTEP_CHECK_EQ(memory.size(), static_cast<size_t>(layout.view.size()));
  LOCKSTEP_CHECK_EQ(file.size(), memory.size());
  ForEachPlace(layout,
               [&](size_t in_file, size_t in_memory) { memory[in_memory] = file[in_file]; });
}

Status ExportWeights(const std::string& path, const Network& network) {
  const std::vector<Wanted> all = WantedBy(network);
  LOCKSTEP_TRY(CheckOrders(all).At(path));
  std::vector<std::vector<float>> reordered;  // moves as it grows, its elements' memory does not
  std::vector<StoredTensor> stored;
  for (const Wanted& one : all) {
    if (one.layout == nullptr) {
      stored.emplace_back(NamedConstTensor(one.name, one.tensor));
      continue;
    }
    std::vector<float>& values = reordered.emplace_back(static_cast<size_t>(one.tensor.size()));
    ToFileOrder(*one.layout, ConstTensor(one.tensor).span<float>(), values);
    stored.emplace_back(NamedConstTensor(one.name, ConstTensor(values.data(), one.shape)));
  }
  return WriteSafetensors(path, stored, {{std::string(kFormatKey), "pt"}});
}

Result<ImportedWeights> ImportWeights(const std::string& path, Network& network) {
  return Import(path, network, /*new_task=*/false);
}

Result<ImportedWeights> ImportTensors(std::span<const StoredTensor> tensors, Network& network) {
  const std::vector<Wanted> wanted = WantedBy(network);
  LOCKSTEP_TRY(CheckOrders(wanted));
  ImportedWeights imported;
  LOCKSTEP_TRY(CopyAll(tensors, wanted, /*spared=*/"", imported.remarks));
  network.store().Changed();
  return imported;
}

Result<ImportedWeights> ImportForNewTask(const std::string& path, Network& network) {
  LOCKSTEP_TRY_ASSIGN(const SafetensorsHeader header, ReadSafetensorsHeader(path));
  if (header.metadata.contains(std::string(kChecksumKey))) return LoadForNewTask(path, network);
  return Import(path, network, /*new_task=*/true);
}

}  // namespace lockstep
