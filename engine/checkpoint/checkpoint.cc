#include "engine/checkpoint/checkpoint.h"

#include <cstring>
#include <unordered_map>
#include <utility>

#include "engine/io/file.h"
#include "engine/io/hash.h"
#include "engine/io/nearest_name.h"
#include "engine/io/text.h"

namespace lockstep {
namespace {

constexpr size_t kDigits = 16;

// The checksum covers the whole file, the header with zeros in its own place. That place is found
// by its key: a quote inside of other names or values is escaped, so this text occurs once.
std::string ChecksumMark() { return JsonString(kChecksumKey) + ":\""; }

uint64_t ChecksumOf(std::string header, size_t place,
                    std::span<const std::span<const std::byte>> data) {
  header.replace(place, kDigits, kDigits, '0');
  Hasher hasher;
  hasher.Add(header);
  for (const auto& part : data) hasher.Add(part);
  return hasher.Finish();
}

Status CheckVersion(const std::string& path, const Metadata& meta) {
  const auto version = meta.find(std::string(kVersionKey));
  if (version == meta.end() || !meta.contains(std::string(kChecksumKey))) {
    return Status::Invalid(path +
                           ": is a safetensors file but not a checkpoint of Lockstep (it has no "
                           "version or checksum); weights of other programs are imported, not "
                           "resumed from");
  }
  if (version->second != "1" && version->second != std::to_string(kCheckpointVersion)) {
    return Status::Invalid(path + ": is a checkpoint of format version " + Quoted(version->second) +
                           ", this program knows versions 1 to " +
                           std::to_string(kCheckpointVersion) + "; use the program that wrote it");
  }
  return Status::Ok();
}

Status CheckSum(const std::string& path, const SafetensorsFile& file) {
  const std::string mark = ChecksumMark();
  const size_t found = file.header.find(mark);
  const size_t place = found + mark.size();
  if (found == std::string::npos || place + kDigits > file.header.size()) {
    return Status::Corrupt(path +
                           ": the checksum cannot be found in the header; the file was "
                           "changed, use another checkpoint");
  }
  std::vector<std::span<const std::byte>> data;
  data.reserve(file.tensors.size());
  for (const auto& tensor : file.tensors) data.push_back(tensor.data);
  const std::string computed = HexOf(ChecksumOf(file.header, place, data));
  const std::string& stored = file.metadata.at(std::string(kChecksumKey));
  if (computed != stored) {
    return Status::Corrupt(path + ": the checksum is " + computed + " where the file says " +
                           Quoted(stored) +
                           "; its content was damaged or changed, use another checkpoint");
  }
  return Status::Ok();
}

}  // namespace

const StoredTensor* Checkpoint::Find(std::string_view name) const {
  for (const auto& tensor : tensors) {
    if (tensor.name == name) return &tensor;
  }
  return nullptr;
}

Status SaveCheckpoint(const std::string& path, std::span<const NamedConstTensor> tensors,
                      const Metadata& meta) {
  return SaveCheckpoint(path, std::vector<StoredTensor>(tensors.begin(), tensors.end()), meta);
}

Status SaveCheckpoint(const std::string& path, std::span<const StoredTensor> tensors,
                      const Metadata& meta) {
  Metadata full = meta;
  for (const auto& [key, value] : {std::pair(kFormatKey, std::string("pt")),
                                   std::pair(kVersionKey, std::to_string(kCheckpointVersion)),
                                   std::pair(kChecksumKey, std::string(kDigits, '0'))}) {
    if (!full.try_emplace(std::string(key), value).second) {
      return Status::Invalid(path + ": the metadata key " + Quoted(key) + " is reserved");
    }
  }
  Result<SafetensorsLayout> layout = LayOutSafetensors(tensors, full);
  if (!layout.ok()) return layout.status().At(path);

  const std::string mark = ChecksumMark();
  const size_t place = layout->header.find(mark) + mark.size();
  const uint64_t checksum = ChecksumOf(layout->header, place, layout->data);
  layout->header.replace(place, kDigits, HexOf(checksum));
  std::vector<std::span<const std::byte>> parts;
  parts.reserve(1 + layout->data.size());
  parts.push_back(std::as_bytes(std::span(layout->header)));
  for (const std::span<const std::byte> part : layout->data) parts.push_back(part);
  return WriteFileAtomically(path, parts);
}

Result<Checkpoint> LoadCheckpoint(const std::string& path) {
  LOCKSTEP_TRY_ASSIGN(SafetensorsFile file, ReadSafetensors(path));
  LOCKSTEP_TRY(CheckVersion(path, file.metadata));
  LOCKSTEP_TRY(CheckSum(path, file));
  Checkpoint checkpoint;
  checkpoint.tensors = std::move(file.tensors);
  checkpoint.meta = std::move(file.metadata);
  checkpoint.memory = std::move(file.memory);
  return checkpoint;
}

Status RestoreTensors(std::span<const StoredTensor> from, std::span<const NamedTensor> into) {
  std::unordered_map<std::string_view, const StoredTensor*> by_name;
  for (const auto& tensor : from) by_name.emplace(tensor.name, &tensor);
  std::vector<const StoredTensor*> sources;
  sources.reserve(into.size());
  for (const auto& [name, tensor] : into) {
    const auto found = by_name.find(name);
    const std::string wanted =
        StoredTensor(name, StoredTypeOf(tensor.dtype()), tensor.shape(),
                     {static_cast<const std::byte*>(tensor.data()), tensor.bytes()})
            .Describe();
    if (found == by_name.end()) {
      std::vector<std::string> names;
      for (const auto& known : from) names.push_back(known.name);
      const std::string nearest = NearestName(name, names);
      std::string message = "tensor " + Quoted(name) + " " + wanted + " is not in the file";
      if (!nearest.empty()) {
        message += "; the nearest name there is " + Quoted(nearest) + " " +
                   by_name.at(nearest)->Describe();
      }
      return Status::NotFound(message + "; was it saved from another model?");
    }
    const StoredTensor& source = *found->second;
    if (source.type != StoredTypeOf(tensor.dtype()) || source.shape != tensor.shape()) {
      return Status::Invalid("tensor " + Quoted(name) + " is " + source.Describe() +
                             " in the file, the model needs " + wanted +
                             "; was it saved from another model?");
    }
    sources.push_back(&source);
  }
  for (size_t i = 0; i < into.size(); ++i) {
    if (!sources[i]->data.empty()) {
      std::memcpy(into[i].tensor.data(), sources[i]->data.data(), sources[i]->data.size());
    }
  }
  return Status::Ok();
}

Status RestoreTensors(const Checkpoint& from, std::span<const NamedTensor> into) {
  return RestoreTensors(from.tensors, into);
}

}  // namespace lockstep
