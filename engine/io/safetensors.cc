#include "engine/io/safetensors.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "engine/base/integers.h"
#include "engine/io/file.h"
#include "engine/io/file_kind.h"
#include "engine/io/text.h"

namespace lockstep::inline v0_1 {
namespace {

constexpr std::string_view kMetadataKey = "__metadata__";
constexpr size_t kLengthBytes = 8;

// Takes the header's JSON event by event. Only what the format knows is accepted, so nesting is at
// most three deep, duplicates are seen (a document tree would hide them), and nothing is stored
// that a tensor does not need.
class HeaderReader {
 public:
  explicit HeaderReader(SafetensorsHeader& header) : header_(header) {}

  Status TakeStatus() { return std::move(status_); }

  bool key(std::string& key) {
    if (where_ == Where::kTop) {
      if (!names_.insert(key).second) return Fail("has " + Quoted(key) + " twice");
      in_metadata_ = key == kMetadataKey;
      if (!in_metadata_) {
        header_.entries.emplace_back().name = std::move(key);
        begin_.reset();
        end_.reset();
        seen_ = 0;
      }
      return true;
    }
    if (where_ == Where::kMetadata) {
      const auto [place, is_new] = header_.metadata.try_emplace(key);
      if (!is_new) return Fail("has the metadata key " + Quoted(key) + " twice");
      value_ = &place->second;
      return true;
    }
    field_ = key == "dtype"          ? kType
             : key == "shape"        ? kShape
             : key == "data_offsets" ? kOffsets
                                     : kNone;
    if (field_ == kNone) return FailTensor("has an unknown field " + Quoted(key));
    if (seen_ & field_) return FailTensor("has its " + key + " twice");
    seen_ |= field_;
    return true;
  }

  bool start_object(size_t) {
    if (where_ == Where::kStart) {
      where_ = Where::kTop;
    } else if (where_ == Where::kTop) {
      where_ = in_metadata_ ? Where::kMetadata : Where::kTensor;
    } else {
      return Misplaced("an object");
    }
    return true;
  }

  bool end_object() {
    if (where_ == Where::kTensor) {
      if (seen_ != (kType | kShape | kOffsets)) {
        return FailTensor("lacks its dtype, shape or data_offsets");
      }
      if (!FinishTensor()) return false;
    }
    where_ = where_ == Where::kTop ? Where::kStart : Where::kTop;
    return true;
  }

  bool start_array(size_t) {
    if (where_ != Where::kTensor || field_ == kType) return Misplaced("a list");
    where_ = field_ == kShape ? Where::kShape : Where::kOffsets;
    extents_.clear();
    return true;
  }

  bool end_array() {
    if (where_ == Where::kOffsets && !end_) return FailTensor("needs two data_offsets");
    where_ = Where::kTensor;
    if (field_ == kShape) shape_ = extents_;
    return true;
  }

  bool string(std::string& text) {
    if (where_ == Where::kMetadata) {
      *value_ = std::move(text);
      return true;
    }
    if (where_ != Where::kTensor || field_ != kType) return Misplaced("a text");
    const std::optional<StoredType> type = StoredTypeFromName(text);
    if (!type) return FailTensor("has the unknown dtype " + Quoted(text));
    header_.entries.back().type = *type;
    return true;
  }

  bool number_unsigned(uint64_t number) {
    if (where_ != Where::kShape && where_ != Where::kOffsets) return Misplaced("a number");
    if (number > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) {
      return FailTensor("has a number that is too large: " + std::to_string(number));
    }
    const auto value = static_cast<int64_t>(number);
    if (where_ == Where::kShape) {
      if (extents_.size() == Shape::kMaxRank) {
        return FailTensor("has more than " + std::to_string(Shape::kMaxRank) + " dimensions");
      }
      extents_.push_back(value);
    } else {
      if (end_) return FailTensor("has more than two data_offsets");
      (begin_ ? end_ : begin_) = value;
    }
    return true;
  }

  bool number_integer(int64_t number) {
    return Misplaced(("the number " + std::to_string(number)).c_str());
  }
  bool number_float(double, const std::string&) { return Misplaced("a fraction"); }
  bool null() { return Misplaced("null"); }
  bool boolean(bool) { return Misplaced("a boolean"); }
  bool binary(std::vector<uint8_t>&) { return Misplaced("binary data"); }

  // The parser's own text may quote the file at length: the place is enough.
  template <class Exception>
  bool parse_error(size_t position, const std::string&, const Exception&) {
    return Fail("is not valid JSON at its byte " + std::to_string(position));
  }

 private:
  enum class Where { kStart, kTop, kMetadata, kTensor, kShape, kOffsets };
  enum Field : unsigned { kNone = 0, kType = 1, kShape = 2, kOffsets = 4 };

  bool Fail(const std::string& what) {
    status_ = Status::Corrupt("the safetensors header " + what +
                              "; the file is damaged or of another kind");
    return false;
  }
  bool FailTensor(const std::string& what) {
    return Fail("is wrong: tensor " + Quoted(header_.entries.back().name) + " " + what);
  }
  bool Misplaced(const char* what) {
    const std::string text = std::string("has ") + what + " where none belongs";
    if (where_ == Where::kMetadata) return Fail(text + " (metadata values are texts)");
    const bool in_tensor = !header_.entries.empty() && where_ != Where::kStart && !in_metadata_;
    return in_tensor ? FailTensor(text) : Fail(text);
  }

  bool FinishTensor() {
    auto& entry = header_.entries.back();
    const std::optional<int64_t> bytes = ByteCount(entry.type, shape_);
    if (!bytes) return FailTensor("is larger than any file can be");
    entry.shape = Shape(std::span<const int64_t>(shape_));
    entry.offset = *begin_;
    entry.bytes = *bytes;
    if (*end_ < *begin_ || *end_ - *begin_ != *bytes) {
      return FailTensor("of " + std::string(NameOf(entry.type)) + " " + entry.shape.ToString() +
                        " needs " + std::to_string(*bytes) + " bytes, its data_offsets are " +
                        std::to_string(*begin_) + " to " + std::to_string(*end_));
    }
    return true;
  }

  SafetensorsHeader& header_;
  Status status_;
  Where where_ = Where::kStart;
  bool in_metadata_ = false;
  std::unordered_set<std::string> names_;
  std::string* value_ = nullptr;  // of the metadata key just read
  Field field_ = kNone;           // of the tensor, just read
  unsigned seen_ = 0;             // fields of the tensor
  std::vector<int64_t> extents_, shape_;
  std::optional<int64_t> begin_, end_;
};

Status CheckPlaces(const SafetensorsHeader& header, int64_t data_bytes) {
  int64_t end = 0;
  for (const auto& entry : header.entries) {
    if (entry.offset != end) {
      return Status::Corrupt("tensor " + Quoted(entry.name) + " begins at byte " +
                             std::to_string(entry.offset) + " of the data, expected " +
                             std::to_string(end) + "; tensors must neither overlap nor leave gaps");
    }
    // Written so that a damaged header cannot make it overflow.
    if (entry.bytes > data_bytes - end) {
      return Status::Corrupt("tensor " + Quoted(entry.name) + " needs " +
                             std::to_string(entry.bytes) + " bytes from byte " +
                             std::to_string(end) + " of the data, which has " +
                             std::to_string(data_bytes) + "; the file was cut short");
    }
    end += entry.bytes;
  }
  if (end != data_bytes) {
    return Status::Corrupt("the data has " + std::to_string(data_bytes) +
                           " bytes, the tensors of the header need " + std::to_string(end) +
                           "; the file was changed or is of another kind");
  }
  return Status::Ok();
}

// Says what a file is that begins otherwise than these do, if that is known.
Status CheckKind(const InputFile& file) {
  std::string begin(std::min(static_cast<size_t>(file.size()), kFileKindBytes), '\0');
  LOCKSTEP_TRY(file.ReadAt(0, begin.data(), begin.size()));
  const std::string_view kind = FileKind(begin);
  if (kind.empty() || (begin.size() > kLengthBytes && begin[kLengthBytes] == '{'))
    return Status::Ok();
  const std::string text = file.path() + ": is " + std::string(kind) + ", not a safetensors file";
  const bool of_torch = kind.find("PyTorch") != std::string_view::npos;
  return Status::Corrupt(
      of_torch
          ? text +
                "; in Python, safetensors.torch.save_file(model.state_dict(), \"w.safetensors\")"
                " makes one of it"
          : text);
}

Result<SafetensorsHeader> ReadHeader(const InputFile& file) {
  LOCKSTEP_TRY(CheckKind(file));
  if (file.size() < static_cast<int64_t>(kLengthBytes)) {
    return Status::Corrupt(file.path() + ": has " + std::to_string(file.size()) +
                           " bytes, too few for a safetensors file");
  }
  std::string text(kLengthBytes, '\0');
  LOCKSTEP_TRY(file.ReadAt(0, text.data(), kLengthBytes));
  uint64_t length;
  std::memcpy(&length, text.data(), kLengthBytes);
  const int64_t behind = file.size() - static_cast<int64_t>(kLengthBytes);
  if (length > static_cast<uint64_t>(std::min(behind, kSafetensorsHeaderLimit))) {
    return Status::Corrupt(file.path() + ": the header claims " + std::to_string(length) +
                           " bytes, the file has " + std::to_string(file.size()) +
                           "; it was cut short or is not a safetensors file");
  }
  text.resize(kLengthBytes + length);
  LOCKSTEP_TRY(file.ReadAt(kLengthBytes, text.data() + kLengthBytes, length));
  Result<SafetensorsHeader> header = ParseSafetensorsHeader(
      std::string_view(text).substr(kLengthBytes), behind - static_cast<int64_t>(length));
  if (!header.ok()) return header.status().At(file.path());
  header->text = std::move(text);
  return header;
}

size_t Aligned(size_t bytes) {
  return static_cast<size_t>(RoundUp(static_cast<int64_t>(bytes), AlignedBytes::kAlignment));
}

Status CheckNames(const SafetensorsHeader& header) {
  std::unordered_set<std::string_view> names;
  for (const auto& tensor : header.entries) {
    if (tensor.name == kMetadataKey || !IsUtf8(tensor.name)) {
      return Status::Invalid("a tensor cannot be named " + Quoted(tensor.name) +
                             " in a safetensors file; choose another name");
    }
    if (!names.insert(tensor.name).second) {
      return Status::Invalid("two tensors are named " + Quoted(tensor.name) +
                             "; names must be unique");
    }
  }
  for (const auto& [key, value] : header.metadata) {
    if (!IsUtf8(key) || !IsUtf8(value)) {
      return Status::Invalid("metadata " + Quoted(key) + " is not UTF-8 text");
    }
  }
  return Status::Ok();
}

}  // namespace

Result<SafetensorsHeader> ParseSafetensorsHeader(std::string_view text, int64_t data_bytes) {
  if (text.empty() || text.front() != '{') {
    return Status::Corrupt("the header does not begin with '{'; this is not a safetensors file");
  }
  SafetensorsHeader header;
  HeaderReader reader(header);
  if (!nlohmann::json::sax_parse(text.begin(), text.end(), &reader)) return reader.TakeStatus();
  // Empty tensors come before the one that begins at the same byte.
  std::stable_sort(header.entries.begin(), header.entries.end(), [](const auto& a, const auto& b) {
    return std::pair(a.offset, a.bytes) < std::pair(b.offset, b.bytes);
  });
  LOCKSTEP_TRY(CheckPlaces(header, data_bytes));
  return header;
}

Result<SafetensorsHeader> ReadSafetensorsHeader(const std::string& path) {
  LOCKSTEP_TRY_ASSIGN(const InputFile file, InputFile::Open(path));
  return ReadHeader(file);
}

const StoredTensor* SafetensorsFile::Find(std::string_view name) const {
  for (const auto& tensor : tensors) {
    if (tensor.name == name) return &tensor;
  }
  return nullptr;
}

Result<SafetensorsFile> ReadSafetensors(const std::string& path) {
  LOCKSTEP_TRY_ASSIGN(const InputFile file, InputFile::Open(path));
  LOCKSTEP_TRY_ASSIGN(SafetensorsHeader header, ReadHeader(file));
  size_t total = 0;
  for (const auto& entry : header.entries) total += Aligned(static_cast<size_t>(entry.bytes));
  SafetensorsFile result;
  result.memory = AlignedBytes::Allocate(total);
  if (result.memory.data() == nullptr) {
    return Status::Io(file.path() + ": no memory for " + std::to_string(total) +
                      " bytes of tensors");
  }
  std::byte* next = result.memory.data();
  result.tensors.reserve(header.entries.size());
  for (auto& entry : header.entries) {
    const auto bytes = static_cast<size_t>(entry.bytes);
    LOCKSTEP_TRY(file.ReadAt(static_cast<int64_t>(header.text.size()) + entry.offset, next, bytes));
    result.tensors.emplace_back(std::move(entry.name), entry.type, entry.shape,
                                std::span<const std::byte>(next, bytes));
    next += Aligned(bytes);
  }
  result.metadata = std::move(header.metadata);
  result.header = std::move(header.text);
  return result;
}

Result<int64_t> LayOutSafetensors(SafetensorsHeader& header) {
  LOCKSTEP_TRY(CheckNames(header));
  std::stable_sort(header.entries.begin(), header.entries.end(),
                   [](const auto& a, const auto& b) { return SizeOf(a.type) > SizeOf(b.type); });

  std::string& text = header.text;
  text.assign(kLengthBytes, '\0');
  text += '{';
  if (!header.metadata.empty()) {
    text += JsonString(kMetadataKey) + ":{";
    for (const auto& [key, value] : header.metadata) {
      text += JsonString(key) + ":" + JsonString(value) + ",";
    }
    text.back() = '}';
    text += ',';
  }
  int64_t offset = 0;
  for (SafetensorsHeader::Entry& entry : header.entries) {
    text += JsonString(entry.name) + ":{\"dtype\":\"" + NameOf(entry.type) + "\",\"shape\":[";
    for (const int64_t extent : entry.shape.dims()) text += std::to_string(extent) + ",";
    if (entry.shape.rank() > 0) text.pop_back();
    entry.offset = offset;
    entry.bytes = entry.shape.size() * static_cast<int64_t>(SizeOf(entry.type));
    text += "],\"data_offsets\":[" + std::to_string(offset) + ",";
    offset += entry.bytes;
    text += std::to_string(offset) + "]},";
  }
  if (text.back() == ',') text.pop_back();
  text += '}';
  text.resize(Aligned(text.size()), ' ');
  const uint64_t length = text.size() - kLengthBytes;
  if (length > static_cast<uint64_t>(kSafetensorsHeaderLimit)) {
    return Status::Invalid("the safetensors header would have " + std::to_string(length) +
                           " bytes, the limit is " + std::to_string(kSafetensorsHeaderLimit) +
                           "; shorten names or metadata");
  }
  std::memcpy(text.data(), &length, kLengthBytes);
  return offset;
}

Status WriteSafetensors(const std::string& path, std::span<const StoredTensor> tensors,
                        const Metadata& metadata) {
  SafetensorsHeader header;
  header.metadata = metadata;
  std::unordered_map<std::string_view, std::span<const std::byte>> data;
  for (const StoredTensor& tensor : tensors) {
    header.entries.push_back({.name = tensor.name, .type = tensor.type, .shape = tensor.shape});
    data.emplace(tensor.name, tensor.data);
  }
  LOCKSTEP_TRY(LayOutSafetensors(header).status().At(path));
  std::vector<std::span<const std::byte>> parts = {std::as_bytes(std::span(header.text))};
  for (const SafetensorsHeader::Entry& entry : header.entries) parts.push_back(data.at(entry.name));
  return WriteFileAtomically(path, parts);
}

Status WriteSafetensors(const std::string& path, std::span<const NamedConstTensor> tensors,
                        const Metadata& metadata) {
  const std::vector<StoredTensor> stored(tensors.begin(), tensors.end());
  return WriteSafetensors(path, stored, metadata);
}

}  // namespace lockstep
