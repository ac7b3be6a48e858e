#include "engine/checkpoint/checkpoint.h"

#include <cstring>
#include <unordered_map>
#include <utility>

#include "engine/base/check.h"
#include "engine/checkpoint/block_hash.h"
#include "engine/checkpoint/checksum.h"
#include "engine/io/file.h"
#include "engine/io/hash.h"
#include "engine/io/nearest_name.h"

namespace lockstep::inline v0_1 {
namespace {

Status CheckVersion(const std::string& path, const Metadata& meta) {
  const auto version = meta.find(std::string(kVersionKey));
  if (version == meta.end() || !meta.contains(std::string(kChecksumKey))) {
    return Status::Invalid(path +
                           ": is a safetensors file but not a checkpoint of Lockstep (it has no "
                           "version or checksum); weights of other programs are imported, not "
                           "resumed from");
  }
  const std::string& number = version->second;
  if (number != "1" && number != "2" && number != std::to_string(kCheckpointVersion)) {
    return Status::Invalid(path + ": is a checkpoint of format version " + Quoted(number) +
                           ", this program knows versions 1 to " +
                           std::to_string(kCheckpointVersion) + "; use the program that wrote it");
  }
  return Status::Ok();
}

Status CheckSum(const std::string& path, const SafetensorsFile& file) {
  const size_t place = ChecksumPlace(file.header);
  if (place == std::string::npos) {
    return Status::Corrupt(path +
                           ": the checksum cannot be found in the header; the file was "
                           "changed, use another checkpoint");
  }
  std::vector<std::span<const std::byte>> data;
  data.reserve(file.tensors.size());
  int64_t bytes = 0;
  for (const auto& tensor : file.tensors) {
    data.push_back(tensor.data);
    bytes += static_cast<int64_t>(tensor.data.size());
  }
  uint64_t checksum = 0;
  if (file.metadata.at(std::string(kVersionKey)) == std::to_string(kCheckpointVersion)) {
    LOCKSTEP_TRY_ASSIGN(const std::vector<uint64_t> hashes,
                        HashesOfBlocks(bytes, 0, HashBlocks(bytes), PartsReader(data)));
    checksum = ChecksumOf(file.header, place, hashes);
  } else {
    checksum = ChecksumOf(file.header, place, data);
  }
  const std::string computed = HexOf(checksum);
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

Status RestoreTensors(std::span<const StoredTensor> from, std::span<const TensorPiece> into) {
  std::unordered_map<std::string_view, const StoredTensor*> by_name;
  for (const auto& tensor : from) by_name.emplace(tensor.name, &tensor);
  std::vector<const StoredTensor*> sources;
  sources.reserve(into.size());
  for (const TensorPiece& piece : into) {
    const StoredType type = StoredTypeOf(piece.tensor.dtype());
    const auto found = by_name.find(piece.name);
    const std::string wanted = NameOf(type) + (" " + piece.whole.ToString());
    LOCKSTEP_CHECK(piece.begin >= 0 && piece.begin + piece.tensor.size() <= piece.whole.size(),
                   piece.name.c_str());
    if (found == by_name.end()) {
      std::vector<std::string> names;
      for (const auto& known : from) names.push_back(known.name);
      const std::string nearest = NearestName(piece.name, names);
      std::string message = "tensor " + Quoted(piece.name) + " " + wanted + " is not in the file";
      if (!nearest.empty()) {
        message += "; the nearest name there is " + Quoted(nearest) + " " +
                   by_name.at(nearest)->Describe();
      }
      return Status::NotFound(message + "; was it saved from another model?");
    }
    const StoredTensor& source = *found->second;
    if (source.type != type || source.shape != piece.whole) {
      return Status::Invalid("tensor " + Quoted(piece.name) + " is " + source.Describe() +
                             " in the file, the model needs " + wanted +
                             "; was it saved from another model?");
    }
    sources.push_back(&source);
  }
  for (size_t i = 0; i < into.size(); ++i) {
    const Tensor& tensor = into[i].tensor;
    if (tensor.bytes() == 0) continue;
    const size_t skipped = static_cast<size_t>(into[i].begin) * SizeOf(sources[i]->type);
    std::memcpy(tensor.data(), sources[i]->data.data() + skipped, tensor.bytes());
  }
  return Status::Ok();
}

Status RestoreTensors(std::span<const StoredTensor> from, std::span<const NamedTensor> into) {
  return RestoreTensors(from, std::vector<TensorPiece>(into.begin(), into.end()));
}

Status RestoreTensors(const Checkpoint& from, std::span<const NamedTensor> into) {
  return RestoreTensors(from.tensors, into);
}

}  // namespace lockstep
