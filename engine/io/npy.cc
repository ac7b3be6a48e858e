#include "engine/io/npy.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/base/integers.h"
#include "engine/io/file.h"
#include "engine/io/file_kind.h"

namespace lockstep::inline v0_1 {
namespace {

constexpr std::string_view kMagic = "\x93NUMPY";
// Headers of plain arrays have about a hundred bytes; only records with many fields need more.
constexpr size_t kHeaderLimit = size_t{1} << 20;

struct NpyHeader {
  StoredType type = StoredType::kF32;
  Shape shape;
  bool fortran_order = false;
  int64_t data_offset = 0;
  int64_t data_bytes = 0;
};

struct NpyType {
  std::string_view code;
  StoredType type;
};
constexpr NpyType kTypes[] = {
    {"f8", StoredType::kF64}, {"f4", StoredType::kF32}, {"f2", StoredType::kF16},
    {"i8", StoredType::kI64}, {"i4", StoredType::kI32}, {"i2", StoredType::kI16},
    {"i1", StoredType::kI8},  {"u8", StoredType::kU64}, {"u4", StoredType::kU32},
    {"u2", StoredType::kU16}, {"u1", StoredType::kU8},  {"b1", StoredType::kBool},
};

Status Damaged(const std::string& what) {
  return Status::Corrupt("the NPY header " + what + "; the file is damaged or of another kind");
}

// Reads the Python literal {'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), } and no more
// of Python than that.
class HeaderReader {
 public:
  explicit HeaderReader(std::string_view text) : rest_(text) {}

  Status Read(NpyHeader& header) {
    std::string_view type;
    bool has_type = false, has_order = false, has_shape = false;
    if (!Take('{')) return Damaged("does not begin with '{'");
    while (!Take('}')) {
      std::string_view key;
      if (!TakeString(key) || !Take(':')) return Damaged("is not a Python dictionary");
      if (key == "descr" && !has_type) {
        has_type = true;
        if (!TakeString(type)) {
          if (!Take('[')) return Damaged("has a wrong descr");
          return Status::Invalid(
              "the NPY array holds records; save each field as an array of its own");
        }
      } else if (key == "fortran_order" && !has_order) {
        has_order = true;
        if (!TakeBool(header.fortran_order)) return Damaged("has a wrong fortran_order");
      } else if (key == "shape" && !has_shape) {
        has_shape = true;
        LOCKSTEP_TRY(TakeShape());
      } else {
        return Damaged("has the unexpected key " + Quoted(key));
      }
      if (!Take(',')) {
        if (Take('}')) break;
        return Damaged("is not a Python dictionary");
      }
    }
    if (!has_type || !has_order || !has_shape) {
      return Damaged("lacks descr, fortran_order or shape");
    }
    SkipSpace();
    if (!rest_.empty()) return Damaged("has something behind the dictionary");
    return Finish(type, header);
  }

 private:
  void SkipSpace() {
    const size_t next = rest_.find_first_not_of(" \t\r\n");
    rest_.remove_prefix(std::min(next, rest_.size()));
  }
  bool Take(char expected) {
    SkipSpace();
    if (rest_.empty() || rest_.front() != expected) return false;
    rest_.remove_prefix(1);
    return true;
  }
  bool TakeString(std::string_view& text) {
    SkipSpace();
    if (rest_.empty() || (rest_.front() != '\'' && rest_.front() != '"')) return false;
    const size_t end = rest_.find(rest_.front(), 1);
    if (end == std::string_view::npos) return false;
    text = rest_.substr(1, end - 1);
    rest_.remove_prefix(end + 1);
    return true;
  }
  bool TakeBool(bool& value) {
    SkipSpace();
    value = rest_.starts_with("True");
    if (!value && !rest_.starts_with("False")) return false;
    rest_.remove_prefix(value ? 4 : 5);
    return true;
  }
  Status TakeShape() {
    if (!Take('(')) return Damaged("has a wrong shape");
    while (!Take(')')) {
      SkipSpace();
      int64_t extent;
      const auto [end, error] = std::from_chars(rest_.data(), rest_.data() + rest_.size(), extent);
      if (error != std::errc() || extent < 0) return Damaged("has a wrong shape");
      rest_.remove_prefix(static_cast<size_t>(end - rest_.data()));
      if (rest_.starts_with('L')) rest_.remove_prefix(1);  // written by Python 2
      if (extents_.size() == Shape::kMaxRank) {
        return Status::Invalid("the NPY array has more than " + std::to_string(Shape::kMaxRank) +
                               " dimensions; reshape it before saving");
      }
      extents_.push_back(extent);
      if (!Take(',')) {
        if (Take(')')) break;
        return Damaged("has a wrong shape");
      }
    }
    return Status::Ok();
  }
  Status Finish(std::string_view type, NpyHeader& header) {
    const auto known = std::find_if(std::begin(kTypes), std::end(kTypes), [&](const NpyType& t) {
      return type.size() == 3 && type.substr(1) == t.code;
    });
    if (known == std::end(kTypes) ||
        std::string_view("<>|=").find(type[0]) == std::string_view::npos) {
      return Status::Invalid("the NPY array has the type " + Quoted(type) +
                             "; only numbers and booleans are read: convert it with "
                             "array.astype('<f4') before saving");
    }
    if (type[0] == '>' && SizeOf(known->type) > 1) {
      return Status::Invalid("the NPY array is big endian (" + Quoted(type) +
                             "); convert it with array.astype('<" + std::string(known->code) +
                             "') before saving");
    }
    header.type = known->type;
    const std::optional<int64_t> bytes = ByteCount(known->type, extents_);
    if (!bytes) return Damaged("has a shape that is larger than any file can be");
    header.shape = Shape(std::span<const int64_t>(extents_));
    header.data_bytes = *bytes;
    return Status::Ok();
  }

  std::string_view rest_;
  std::vector<int64_t> extents_;
};

// `begin`: the first bytes of a file of `size` bytes, the whole header at least where it is within
// the limit.
Status ParseHeader(std::string_view begin, int64_t size, NpyHeader& header) {
  if (!begin.starts_with(kMagic) || begin.size() < kMagic.size() + 2) {
    const std::string_view kind = begin.starts_with(kMagic) ? "" : FileKind(begin);
    return Status::Corrupt((kind.empty()
                                ? std::string("does not begin as NPY files do")
                                : "is " + std::string(kind) + ", not a NumPy array (NPY)") +
                           "; was it saved with numpy.save?");
  }
  const auto byte = [&](size_t i) { return static_cast<size_t>(static_cast<uint8_t>(begin[i])); };
  const size_t version = byte(kMagic.size());
  if (version < 1 || version > 3) {
    return Damaged("has the unknown version " + std::to_string(version));
  }
  const size_t length_bytes = version == 1 ? 2 : 4;
  const size_t start = kMagic.size() + 2 + length_bytes;
  if (begin.size() < start) return Damaged("is cut short");
  size_t length = 0;
  for (size_t i = length_bytes; i-- > 0;) length = length << 8 | byte(kMagic.size() + 2 + i);
  if (length > kHeaderLimit || length > begin.size() - start) {
    return Damaged("claims " + std::to_string(length) + " bytes");
  }
  LOCKSTEP_TRY(HeaderReader(begin.substr(start, length)).Read(header));
  header.data_offset = static_cast<int64_t>(start + length);
  if (header.data_bytes != size - header.data_offset) {
    return Status::Corrupt(
        "an NPY array of " + std::string(NameOf(header.type)) + " " + header.shape.ToString() +
        " needs " + std::to_string(header.data_bytes) + " bytes behind its header, the file has " +
        std::to_string(size - header.data_offset) + "; it was cut short or is damaged");
  }
  return Status::Ok();
}

// From first index fastest to last index fastest.
void Transpose(const std::byte* from, std::byte* into, const Shape& shape, size_t element) {
  std::array<int64_t, Shape::kMaxRank> index{}, stride{};
  int64_t step = 1;
  for (int i = 0; i < shape.rank(); ++i) {
    stride[static_cast<size_t>(i)] = step;
    step *= shape[i];
  }
  int64_t source = 0;
  for (int64_t left = shape.size(); left > 0; --left, into += element) {
    std::memcpy(into, from + static_cast<size_t>(source) * element, element);
    for (int i = shape.rank() - 1; i >= 0; --i) {
      const auto at = static_cast<size_t>(i);
      source += stride[at];
      if (++index[at] < shape[i]) break;
      source -= stride[at] * shape[i];
      index[at] = 0;
    }
  }
}

// `fill(into)` provides the data as the file holds it.
template <class Fill>
Result<NpyArray> MakeArray(const NpyHeader& header, Fill fill) {
  const auto bytes = static_cast<size_t>(header.data_bytes);
  NpyArray array;
  array.memory = AlignedBytes::Allocate(bytes);
  if (array.memory.data() == nullptr) {
    return Status::Io("no memory for an array of " + std::to_string(bytes) + " bytes");
  }
  LOCKSTEP_TRY(fill(array.memory.data()));
  if (header.fortran_order && header.shape.rank() > 1) {
    AlignedBytes transposed = AlignedBytes::Allocate(bytes);
    if (transposed.data() == nullptr) {
      return Status::Io("no memory to transpose an array of " + std::to_string(bytes) + " bytes");
    }
    Transpose(array.memory.data(), transposed.data(), header.shape, SizeOf(header.type));
    array.memory = std::move(transposed);
  }
  array.tensor =
      StoredTensor("", header.type, header.shape, {array.memory.data(), array.memory.size()});
  return array;
}

const NpyType* TypeToWrite(StoredType type) {
  const auto* known = std::find_if(std::begin(kTypes), std::end(kTypes),
                                   [&](const NpyType& t) { return t.type == type; });
  return known == std::end(kTypes) ? nullptr : known;
}

}  // namespace

Result<NpyArray> ParseNpy(std::span<const std::byte> file) {
  NpyHeader header;
  LOCKSTEP_TRY(ParseHeader({reinterpret_cast<const char*>(file.data()), file.size()},
                           static_cast<int64_t>(file.size()), header));
  return MakeArray(header, [&](std::byte* into) {
    const auto data = file.subspan(static_cast<size_t>(header.data_offset));
    std::copy(data.begin(), data.end(), into);
    return Status::Ok();
  });
}

Result<NpyArray> ReadNpy(const std::string& path) {
  LOCKSTEP_TRY_ASSIGN(const InputFile file, InputFile::Open(path));
  std::string begin(std::min(static_cast<size_t>(file.size()), kHeaderLimit + kMagic.size() + 6),
                    '\0');
  LOCKSTEP_TRY(file.ReadAt(0, begin.data(), begin.size()));
  NpyHeader header;
  LOCKSTEP_TRY(ParseHeader(begin, file.size(), header).At(path));
  Status read;
  Result<NpyArray> array = MakeArray(header, [&](std::byte* into) {
    read = file.ReadAt(header.data_offset, into, static_cast<size_t>(header.data_bytes));
    return read;
  });
  if (!read.ok()) return read;  // names the path already
  if (!array.ok()) return array.status().At(path);
  return array;
}

Status WriteNpy(const std::string& path, const StoredTensor& tensor) {
  const NpyType* type = TypeToWrite(tensor.type);
  if (type == nullptr) {
    return Status::Invalid(path + ": NPY has no type " + NameOf(tensor.type) +
                           "; convert the tensor to f32 before");
  }
  std::string shape;
  for (const int64_t extent : tensor.shape.dims()) shape += std::to_string(extent) + ", ";
  if (tensor.shape.rank() > 1) shape.resize(shape.size() - 2);
  if (tensor.shape.rank() == 1) shape.pop_back();  // (3,)
  const std::string dictionary = std::string("{'descr': '") + (SizeOf(type->type) > 1 ? '<' : '|') +
                                 std::string(type->code) + "', 'fortran_order': False, 'shape': (" +
                                 shape + "), }";
  // Magic, version, length, dictionary, blanks and a newline, in all a multiple of 64.
  constexpr size_t kStart = 10;
  const auto total =
      static_cast<size_t>(RoundUp(static_cast<int64_t>(kStart + dictionary.size() + 1), 64));
  std::string header = std::string(kMagic) + '\x01' + '\0';
  header += static_cast<char>((total - kStart) & 0xFF);
  header += static_cast<char>((total - kStart) >> 8);
  header += dictionary;
  header.resize(total - 1, ' ');
  header += '\n';
  const std::span<const std::byte> parts[] = {std::as_bytes(std::span(header)), tensor.data};
  return WriteFileAtomically(path, parts);
}

Status WriteNpy(const std::string& path, ConstTensor tensor) {
  return WriteNpy(path, StoredTensor(NamedConstTensor("", tensor)));
}

}  // namespace lockstep
